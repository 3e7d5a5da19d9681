"""What an SVG says of itself: the RDF (`cc:Work`) in its metadata, read from a hostile file without harm.

Vocabulary: Dublin Core elements and the Creative Commons schema, in both namespaces that were in use.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from defusedxml.common import EntitiesForbidden
from defusedxml.ElementTree import DefusedXMLParser, ParseError

#: Bytes of an SVG that are read: five times the largest in the openclipart packages.
MAX_SVG_BYTES = 8 << 20
#: Characters that all entity references of one SVG may expand to. Adobe Illustrator's need some thousand.
MAX_EXPANSION = 1 << 20
#: The fields that `read_rdf` returns, each None where it is absent or blank, and `keywords`.
FIELDS = ("title", "description", "creator", "licence", "rights", "date")


class MetadataError(ValueError):
    """The RDF of one SVG cannot be read. The message is the same on every machine: it goes into the data."""


def read_rdf(svg: Path) -> dict[str, Any]:
    """Read the first `cc:Work` of an SVG: `FIELDS`, and `keywords` as a list.

    Title, description and date come as they stand, white space included. Internal entities are expanded within
    `MAX_EXPANSION` characters; nothing outside the file is ever read.

    Raises:
        MetadataError: too large, not well-formed, entities that are external, nested or too long, or no RDF.
        OSError: the file cannot be read.
    """
    work = next((element for element in _parse(svg).iter() if _local(element.tag) == "Work"), None)
    if work is None:
        raise MetadataError("the SVG has no RDF description")
    return {
        "title": _verbatim(work, "title"),
        "description": _verbatim(work, "description"),
        "keywords": _texts(work, "subject", "li"),
        "creator": "; ".join(_texts(work, "creator", "title")) or None,
        "licence": _licence(work),
        "rights": "; ".join(_texts(work, "rights", "title")) or None,
        "date": _verbatim(work, "date"),
    }


class _SvgParser(DefusedXMLParser):
    """Expands entities that stand in the file itself; refuses external, parameter, nested and exploding ones."""

    def __init__(self, references: int) -> None:
        super().__init__()
        self._references = references

    def defused_entity_decl(
        self,
        name: str,
        is_parameter_entity: bool,
        value: str | None,
        base: str | None,
        sysid: str,
        pubid: str | None,
        notation_name: str | None,
    ) -> None:
        """Let a declaration pass that stays harmless even if every reference in the file were to it."""
        if value is None or is_parameter_entity or "&" in value or len(value) * self._references > MAX_EXPANSION:
            raise EntitiesForbidden(name, value, base, sysid, pubid, notation_name)


def _parse(svg: Path) -> Element:
    with svg.open("rb") as file:
        data = file.read(MAX_SVG_BYTES + 1)
    if len(data) > MAX_SVG_BYTES:
        raise MetadataError(f"the SVG is larger than {MAX_SVG_BYTES >> 20} MiB")
    # A reference has an ampersand in every encoding that the parser knows, and without nesting grows the text by
    # no more than the longest value: so this count bounds the expansion.
    parser = _SvgParser(references=data.count(b"&"))
    try:
        parser.feed(data)
        root: Element = parser.close()
    except EntitiesForbidden as error:
        raise MetadataError("the SVG declares an entity that is external, nested or too long") from error
    except (ParseError, ValueError, LookupError) as error:
        # The parser's own words differ between its versions. ValueError and LookupError: unknown encodings.
        raise MetadataError("the SVG is not well-formed XML") from error
    return root


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _children(work: Element, name: str) -> list[Element]:
    return [child for child in work if _local(child.tag) == name]


def _verbatim(work: Element, name: str) -> str | None:
    text = "".join("".join(child.itertext()) for child in _children(work, name)[:1])
    return text if text.strip() else None


def _texts(work: Element, name: str, leaf: str) -> list[str]:
    """Return the non-blank texts of all `leaf` elements under the `name` elements, or of these themselves.

    Outer white space goes: these are names that are compared, and it belongs to the XML's layout.
    """
    found = [[e for e in child.iter() if _local(e.tag) == leaf] or [child] for child in _children(work, name)]
    texts = ["".join(e.itertext()).strip() for elements in found for e in elements]
    return [text for text in texts if text]


def _licence(work: Element) -> str | None:
    for licence in _children(work, "license"):
        resource = next((value for key, value in licence.attrib.items() if _local(key) == "resource"), "")
        if stated := resource.strip() or "".join(licence.itertext()).strip():
            return stated
    return None
