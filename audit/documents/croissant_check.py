"""A strict check of a Croissant document: what a loader lets pass and a reader of the document relies on.

mlcroissant 1.1.1 loads a document without a name, and a record set whose column does not exist, without a word; so
the project's own documents are held to this profile before they are written. It checks the document alone: whether
the files have the hashes that it states is for a loader to see.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from filters.iso_time import read_day

_VERSION = re.compile(r"(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)(?:\+[0-9A-Za-z-]+)?\Z", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}\Z", re.ASCII)
_MEDIA = re.compile(r"[a-z]+/[a-z0-9.+-]+\Z", re.ASCII)
_SIZE = re.compile(r"\d+ B\Z", re.ASCII)
#: Identifiers: what the document's own names are made of, and nothing that a loader would read as an address.
_IDENT = re.compile(r"[A-Za-z0-9_./-]+\Z", re.ASCII)

#: Properties that a dataset must have, with the type of their value.
REQUIRED: Mapping[str, type | tuple[type, ...]] = {
    "@context": dict,
    "@type": str,
    "conformsTo": list,
    "name": str,
    "description": str,
    "creator": dict,
    "license": list,
    "url": str,
    "version": str,
    "datePublished": str,
    "citeAs": str,
    "distribution": list,
    "recordSet": list,
}
#: Properties of RAI 1.0 that the profile asks for; each says something, if only that nothing is stated.
RAI = (
    "rai:dataCollection",
    "rai:dataCollectionType",
    "rai:dataCollectionMissingData",
    "rai:dataCollectionRawData",
    "rai:dataPreprocessingProtocol",
    "rai:dataManipulationProtocol",
    "rai:machineAnnotationTools",
    "rai:dataUseCases",
    "rai:dataLimitations",
    "rai:dataBiases",
    "rai:dataSocialImpact",
    "rai:personalSensitiveInformation",
    "rai:dataReleaseMaintenancePlan",
)
_OPTIONAL = ("dateCreated", "identifier", "inLanguage", "rai:dataCollectionTimeframe")
_TYPES = ("sc:Text", "sc:ImageObject", "sc:Integer", "sc:Float", "sc:URL", "sc:Boolean", "sc:Date")
_KINDS = {"distribution": ("cr:FileObject", "cr:FileSet"), "recordSet": ("cr:RecordSet",)}


def problems(document: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a Croissant 1.1 document, in words; empty where nothing is."""
    found = [f"{name}: missing" for name in REQUIRED if name not in document]
    found += [
        f"{name}: has the wrong type"
        for name, kind in REQUIRED.items()
        if name in document and not isinstance(document[name], kind)
    ]
    if found:
        return found
    known = {*REQUIRED, *RAI, *_OPTIONAL}
    found += [f"{name}: unknown property" for name in document if name not in known]
    found += _dataset(document)
    found += [f"{name}: says nothing" for name in RAI if not _says(document.get(name))]
    found += [f"{place}: has a control character" for place, text in _texts(document, "") if _controls(text)]
    return [*found, *_structure(document)]


def _dataset(document: Mapping[str, Any]) -> Iterator[str]:
    for part in ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"):
        if part not in document["conformsTo"]:
            yield f"conformsTo: {part} is not in it"
    if document["@type"] != "sc:Dataset":
        yield "@type: is not sc:Dataset"
    if not _VERSION.match(document["version"]):
        yield "version: is not MAJOR.MINOR.PATCH"
    for name in ("datePublished", "dateCreated", *(["rai:dataCollectionTimeframe"])):
        values = document.get(name, [])
        for value in [values] if isinstance(values, str) else values:
            if not _day(value):
                yield f"{name}: {value!r} is no day"
    for name in ("name", "description", "url", "citeAs", "license"):
        if not _says(document[name]):
            yield f"{name}: says nothing"
    if not _says(document["creator"].get("name")):
        yield "creator: has no name"


def _structure(document: Mapping[str, Any]) -> Iterator[str]:
    """Check files, file sets and record sets: identifiers, hashes, and that every reference leads somewhere."""
    nodes: dict[str, str] = {}
    for section, kinds in _KINDS.items():
        for node in document[section]:
            ident = str(node.get("@id"))
            if node.get("@type") not in kinds:
                yield f"{ident}: type {node.get('@type')!r} does not belong in {section}"
            if not _IDENT.match(ident) or ident in nodes:
                yield f"{ident}: is no identifier, or there twice"
            nodes[ident] = str(node.get("@type"))
    for node in document["distribution"]:
        yield from _file(node) if node.get("@type") == "cr:FileObject" else _file_set(node, nodes)
    for node in document["recordSet"]:
        yield from _record_set(node, nodes)


def _file(node: Mapping[str, Any]) -> Iterator[str]:
    ident = node.get("@id")
    if not _SHA256.match(str(node.get("sha256"))):
        yield f"{ident}: has no SHA-256"
    if not _SIZE.match(str(node.get("contentSize"))):
        yield f"{ident}: has no size in bytes"
    if not _MEDIA.match(str(node.get("encodingFormat"))):
        yield f"{ident}: has no media type"
    address = str(node.get("contentUrl", ""))
    if not address or address.startswith(("/", "file:")) or "\\" in address:
        yield f"{ident}: contentUrl is neither relative nor on the web"


def _file_set(node: Mapping[str, Any], nodes: Mapping[str, str]) -> Iterator[str]:
    ident = node.get("@id")
    holders = [str(item.get("@id")) for item in node.get("containedIn", [])]
    if not holders or any(nodes.get(holder) != "cr:FileObject" for holder in holders):
        yield f"{ident}: containedIn names no file of the document"
    if not node.get("includes") or not node.get("encodingFormat"):
        yield f"{ident}: says not which files, or of which type"


def _record_set(node: Mapping[str, Any], nodes: Mapping[str, str]) -> Iterator[str]:
    ident = node.get("@id")
    fields = node.get("field", [])
    names = [str(item.get("@id")) for item in fields]
    if not fields or len(set(names)) != len(names):
        yield f"{ident}: has no fields, or one twice"
    if node.get("key", {}).get("@id") not in names:
        yield f"{ident}: its key is none of its fields"
    for item in fields:
        name, source = item.get("@id"), item.get("source", {})
        if not str(name).startswith(f"{ident}/") or item.get("dataType") not in _TYPES:
            yield f"{name}: is outside its record set, or has no known type"
        if nodes.get(str(source.get("fileSet", {}).get("@id"))) != "cr:FileSet":
            yield f"{name}: its source is no file set of the document"
        if source.get("extract", {}).get("fileProperty") not in ("filename", "content"):
            yield f"{name}: extracts nothing that a file has"
        pattern = source.get("transform", {}).get("regex")
        if pattern is not None and re.compile(pattern).groups != 1:
            yield f"{name}: its pattern has not one group"


def _says(value: object) -> bool:
    if isinstance(value, str):
        return bool(value.strip())
    return isinstance(value, list) and bool(value) and all(_says(item) for item in value)


def _day(text: object) -> bool:
    try:
        return isinstance(text, str) and bool(read_day(text))
    except ValueError:
        return False


def _texts(value: object, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _texts(item, f"{place}[{number}]")


def _controls(text: str) -> bool:
    return any(unicodedata.category(character) in ("Cc", "Cs") for character in text)
