"""Croissant 1.1 with RAI 1.0: JSON-LD that describes the shards so that a loader can stream their records.

Every string is a value and never a key or an identifier: identifiers are made from the shards' own names. Fields of
the vocabulary that nothing states say so in words, where the vocabulary takes text, and are left out where it does
not.
"""

from __future__ import annotations

from typing import Any

from audit.documents import answers as a
from audit.documents import answers_rights as r
from audit.documents.croissant_check import problems
from audit.documents.facts import Fact, Facts, Shard
from audit.documents.form import Answer, Document, Part, Question, line, missing, questions, words
from audit.documents.licences import spdx_id
from audit.documents.text import clean, json_bytes
from filters.errors import AssayError

CROISSANT = "http://mlcommons.org/croissant/1.1"
RAI = "http://mlcommons.org/croissant/RAI/1.0"

#: Media types by the suffix that a picture has in a shard; mlcroissant opens pictures declared as PNG or JPEG.
MEDIA = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "tif": "image/tiff",
    "bmp": "image/bmp",
    "avif": "image/avif",
}
_SUFFIX = {"jpeg": "jpg", "mpo": "jpg", "tiff": "tif"}
#: From `…/UID.png` to UID.
_UID = r"^(?:.*/)?([0-9a-f]{32})\.[a-z0-9]+$"

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def _limits(facts: Facts) -> Fact[Answer]:
    """Give the provider's limits, and before them what the check and the gates say."""
    told, alarms = facts.said("limitations"), r.alarms(facts)
    if not alarms:
        return told.then(lambda text: text)
    return Fact((*alarms, *((told.value,) if told.value else ())), f"assay check, gates; {told.source}")


def _type(facts: Facts) -> Fact[Answer]:
    if facts.crawl.value is not None:
        return facts.crawl.then(lambda _: ("Web Scraping",))
    return facts.said("collection").then(lambda _: ("Others",))


def _tools(facts: Facts) -> Fact[Answer]:
    return facts.processing.then(lambda p: tuple(f"{scorer}: {model}" for scorer, model in p.models.items()))


def _collection(facts: Facts) -> Fact[Answer]:
    told = facts.said("collection")
    if told.value:
        return told.then(lambda text: text)
    return Fact(r.crawler(facts).value, facts.crawl.source) if facts.crawl.value else Fact(None, told.source)


def _citation(facts: Facts) -> Fact[Answer]:
    return a.citation(facts).then(lambda text: text)


def _version(facts: Facts) -> Fact[Answer]:
    return a.version(facts).then(lambda text: text)


TEXTS = Part(
    "Dataset",
    (
        Question("description", "what it is", a.stated("description")),
        Question("creator", "who made it", a.stated("name")),
        Question("url", "its page", a.stated("url")),
        Question("license", "licence of the compilation", a.stated("licence")),
        Question("datePublished", "day of publication", a.stated("published")),
        Question("version", "MAJOR.MINOR.PATCH", _version),
        Question("citeAs", "how to cite it", _citation),
        Question("inLanguage", "languages of the captions", a.languages),
    ),
)
RAI_PART = Part(
    "Responsible AI",
    (
        Question("rai:dataCollection", "how it was collected", _collection),
        Question("rai:dataCollectionType", "kind of collection", _type),
        Question("rai:dataCollectionMissingData", "what records lack", a.missing_data),
        Question("rai:dataCollectionRawData", "what was read", a.origin),
        Question("rai:dataCollectionTimeframe", "begin and end of collection", r.collected),
        Question("rai:dataPreprocessingProtocol", "what was done to the samples", a.processing),
        Question("rai:dataManipulationProtocol", "opt-outs and what was dropped", r.measures),
        Question("rai:machineAnnotationTools", "programs that computed scores", _tools),
        Question("rai:dataUseCases", "what it can be used for", a.stated("use_cases")),
        Question("rai:dataLimitations", "what it should not be used for, and its limits", _limits),
        Question("rai:dataBiases", "what the bias audit found", r.biases),
        Question("rai:dataSocialImpact", "what its use may do to people", a.stated("social_impact")),
        Question("rai:personalSensitiveInformation", "personal information", a.stated("personal_information")),
        Question("rai:dataReleaseMaintenancePlan", "how it is kept up", a.maintenance),
    ),
)
#: Texts of which the vocabulary takes one and not a list.
_SINGLE = (
    "rai:dataCollection",
    "rai:dataCollectionMissingData",
    "rai:dataCollectionRawData",
    "rai:dataManipulationProtocol",
    "rai:dataSocialImpact",
    "rai:dataReleaseMaintenancePlan",
)
PARTS = (TEXTS, RAI_PART)


def document(facts: Facts, prefix: str = "") -> Document:
    """Return `croissant.json`. `prefix` stands before the names of shards: "" where it lies in the run's folder.

    The provider's `download` address, where there is one, takes its place. Raises `AssayError` where the document
    would not pass the strict check, which the facts of no run should bring about.
    """
    body = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": [CROISSANT, RAI],
        **_described(facts),
        **_responsible(facts),
        "distribution": _distribution(facts, facts.provider.download or prefix),
        "recordSet": _record_sets(facts),
    }
    if found := problems(body):
        raise AssayError(
            f"croissant.json would not be valid: {'; '.join(found[:3])}; this is a defect, please report it"
        )
    return Document("croissant.json", json_bytes(body), missing(questions(PARTS), facts))


def _described(facts: Facts) -> dict[str, Any]:
    """Return the dataset's own properties; loaders warn where version, licence, citation or date are absent."""
    d = facts.dataset.value
    if d is None:
        raise ValueError("a Croissant document needs the manifest")
    organisation = facts.said("name").value or "not stated by the provider"
    found: dict[str, Any] = {
        "name": clean(d.name),
        "description": _description(facts),
        "creator": {"@type": "sc:Organization", "name": clean(organisation)},
        "url": clean(facts.provider.url or f"urn:assay:dataset:{d.content_hash}"),
        "identifier": f"sha256:{d.content_hash}",
        "version": clean(a.version(facts).value),
        "citeAs": clean(a.citation(facts).value, 2000),
        "dateCreated": d.created_at[:10],
        "datePublished": clean(facts.provider.published or d.created_at[:10]),
        "license": _licence(facts),
    }
    material = facts.material.value
    if material and material.languages:
        found["inLanguage"] = [clean(code, 20) for code in list(material.languages)[: a.MOST_ROWS] if code]
    return found


def _description(facts: Facts) -> str:
    told = facts.said("description").value
    parts = [*r.alarms(facts), told or "", *words(a.amount(facts)), *words(a.made(facts))]
    if facts.provider.published is None:
        parts.append("No day of publication is stated: datePublished is the day on which the manifest was written.")
    if facts.provider.licence is None:
        parts.append(
            "No licence of the compilation is stated: license lists those that the records state, each record its own."
        )
    if facts.provider.url is None:
        parts.append("No address is stated: url is a name made of the content hash.")
    return clean(" ".join(part for part in parts if part), 8000)


def _licence(facts: Facts) -> list[str]:
    """Return the compilation's licence; without one those of the records."""
    if facts.provider.licence:
        return [_licence_name(facts.provider.licence)]
    material = facts.material.value
    stated = [name for name in (material.licences if material else {}) if name]
    return [_licence_name(name) for name in stated[: a.MOST_ROWS]] or ["not stated"]


def _licence_name(licence: str) -> str:
    known = spdx_id(licence)
    return f"https://spdx.org/licenses/{known}" if known else clean(licence)


def _responsible(facts: Facts) -> dict[str, Any]:
    """Return the RAI properties; text that nothing states says so."""
    found: dict[str, Any] = {}
    for question in RAI_PART.questions:
        fact = question.answer(facts)
        if question.ident == "rai:dataCollectionTimeframe":
            if days := _timeframe(facts):
                found[question.ident] = days
        else:
            found[question.ident] = line(fact) if question.ident in _SINGLE else words(fact)
    return found


def _timeframe(facts: Facts) -> list[str]:
    """Return first and last day of collection; the vocabulary takes dates only, so nothing where none is known."""
    c = facts.crawl.value
    days = (c.first, c.last) if c else (facts.provider.collected_from, facts.provider.collected_to)
    return [day[:10] for day in days if day]


def suffixes(facts: Facts) -> list[str]:
    """Return the suffixes that pictures have in the shards, sorted."""
    formats = facts.material.value.formats if facts.material.value else {}
    return sorted({_SUFFIX.get(name, name) for name in formats} & set(MEDIA))


def _distribution(facts: Facts, prefix: str) -> list[dict[str, Any]]:
    found = facts.shards.value or ()
    files = [item for shard in found for item in _files(shard, prefix)]
    tars = [{"@id": shard.name} for shard in found]
    names = suffixes(facts)
    sets = [
        ("pictures", "Pictures, their bytes as they came in.", [f"*.{n}" for n in names], [MEDIA[n] for n in names]),
        ("captions", "Captions, UTF-8 text.", ["*.txt"], ["text/plain"]),
        ("records", "What is known of each sample, its licence among it, as JSON.", ["*.json"], ["application/json"]),
    ]
    return files + [
        {
            "@type": "cr:FileSet",
            "@id": name,
            "name": name,
            "description": about,
            "containedIn": tars,
            "includes": includes,
            "encodingFormat": media,
        }
        for name, about, includes, media in sets
        if tars and includes
    ]


def _files(shard: Shard, prefix: str) -> list[dict[str, Any]]:
    base = f"{prefix.rstrip('/')}/" if prefix else ""
    return [
        {
            "@type": "cr:FileObject",
            "@id": name,
            "name": name.rpartition("/")[2],
            "description": about,
            "contentUrl": base + name,
            "contentSize": f"{nbytes} B",
            "encodingFormat": media,
            "sha256": sha256,
        }
        for name, about, nbytes, media, sha256 in (
            (shard.name, f"{shard.rows} samples.", shard.nbytes, "application/x-tar", shard.sha256),
            (shard.table, "Their scores.", shard.table_nbytes, "application/x-parquet", shard.table_sha256),
        )
    ]


def _record_sets(facts: Facts) -> list[dict[str, Any]]:
    """Return one record set for each file set, all with the uid as key: a loader joins them by it."""
    if not facts.shards.value or not suffixes(facts):
        return []
    total = sum(shard.rows for shard in facts.shards.value)
    return [
        _record_set("sample_pictures", "pictures", "image", "sc:ImageObject", f"The {total:,} pictures."),
        _record_set("sample_captions", "captions", "caption", "sc:Text", f"The {total:,} captions."),
        _record_set(
            "sample_records",
            "records",
            "record",
            "sc:Text",
            f"The {total:,} records as JSON, each with its own licence (`licence`), creator, address and SHA-256 of "
            "the picture, where they are known.",
        ),
    ]


def _record_set(ident: str, files: str, name: str, kind: str, about: str) -> dict[str, Any]:
    uid = {
        "@type": "cr:Field",
        "@id": f"{ident}/uid",
        "name": "uid",
        "description": "32 hex digits: BLAKE2b-128 over SHA-256 of the picture, caption and canonical address.",
        "dataType": "sc:Text",
        "source": {"fileSet": {"@id": files}, "extract": {"fileProperty": "filename"}, "transform": {"regex": _UID}},
    }
    content = {
        "@type": "cr:Field",
        "@id": f"{ident}/{name}",
        "name": name,
        "description": f"The {name} of the sample.",
        "dataType": kind,
        "source": {"fileSet": {"@id": files}, "extract": {"fileProperty": "content"}},
    }
    return {
        "@type": "cr:RecordSet",
        "@id": ident,
        "name": ident,
        "description": about,
        "key": {"@id": f"{ident}/uid"},
        "field": [uid, content],
    }
