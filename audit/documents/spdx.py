"""SPDX 3.0.1, profiles core, software, dataset and simple licensing: JSON-LD with the dataset and its files.

The profile wants one declared and one concluded licence of the dataset. The declared one is what the provider states;
nobody here concludes anything, which SPDX writes as NoAssertion.
"""

from __future__ import annotations

from typing import Any

from audit.documents import answers as a
from audit.documents import answers_rights as r
from audit.documents.facts import Dataset, Facts, Shard
from audit.documents.form import Document, Part, Question, line, missing, questions, words
from audit.documents.licences import spdx_id, web_address
from audit.documents.text import clean, json_bytes

CONTEXT = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
NO_LICENCE = "https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoAssertionLicense"
_INFO = "_:creation"

PARTS = (
    Part(
        "Dataset package",
        (
            Question("description", "what it is", a.stated("description")),
            Question("suppliedBy", "who provides it", a.stated("name")),
            Question("releaseTime", "day of publication", a.stated("published")),
            Question("software_downloadLocation", "where it is to be had", a.stated("download")),
            Question("hasDeclaredLicense", "licence of the compilation", a.stated("licence")),
            Question("dataset_dataCollectionProcess", "how it was collected", a.stated("collection")),
            Question("dataset_dataPreprocessing", "what was done to the samples", a.processing),
            Question("dataset_datasetSize", "bytes", a.shards),
            Question("dataset_datasetUpdateMechanism", "how it is kept up", a.maintenance),
            Question(
                "dataset_hasSensitivePersonalInformation",
                "sensitive personal information",
                a.stated("personal_information"),
            ),
            Question("dataset_intendedUse", "what it can be used for", a.stated("use_cases")),
            Question("dataset_knownBias", "what the bias audit found", r.biases),
        ),
    ),
)


def document(facts: Facts) -> Document:
    """Return the SPDX document as JSON-LD."""
    d = facts.dataset.value
    if d is None:
        raise ValueError("an SPDX document needs the manifest")
    base = f"urn:assay:dataset:{d.content_hash}"
    files = [_file(base, shard, number) for number, shard in enumerate(facts.shards.value or ())]
    licences = _licences(base, facts)
    links = [
        *_contains(base, files),
        _link(base, "declared", "hasDeclaredLicense", [licences[0]["spdxId"] if licences else NO_LICENCE]),
        _link(base, "concluded", "hasConcludedLicense", [NO_LICENCE]),
    ]
    elements = [*_agents(base, facts), _tool(base, d), _package(base, d, facts), *files, *licences, *links]
    body = {
        "@context": CONTEXT,
        "@graph": [
            {
                "type": "CreationInfo",
                "@id": _INFO,
                "specVersion": "3.0.1",
                "created": _time(d.created_at),
                "createdBy": [f"{base}#provider"],
                "createdUsing": [f"{base}#assay"],
            },
            {
                "type": "SpdxDocument",
                "spdxId": f"{base}#document",
                "creationInfo": _INFO,
                "name": clean(d.name),
                "comment": clean(" ".join(r.alarms(facts)) or "assay check found nothing against it.", 8000),
                "profileConformance": ["core", "software", "dataset", "simpleLicensing"],
                "dataLicense": "https://spdx.org/licenses/CC0-1.0",
                "rootElement": [base],
                "element": [element["spdxId"] for element in elements],
            },
            *elements,
        ],
    }
    return Document("dataset.spdx.json", json_bytes(body), missing(questions(PARTS), facts))


def _element(kind: str, ident: str) -> dict[str, Any]:
    return {"type": kind, "spdxId": ident, "creationInfo": _INFO}


def _agents(base: str, facts: Facts) -> list[dict[str, Any]]:
    name = facts.provider.name
    return [{**_element("Organization", f"{base}#provider"), "name": clean(name or "not stated by the provider")}]


def _tool(base: str, d: Dataset) -> dict[str, Any]:
    return {**_element("Tool", f"{base}#assay"), "name": f"assay-data {clean(d.assay, 40)}"}


def _package(base: str, d: Dataset, facts: Facts) -> dict[str, Any]:
    p = facts.provider
    found: dict[str, Any] = {
        **_element("dataset_DatasetPackage", base),
        "name": clean(d.name),
        "description": clean(" ".join([*r.alarms(facts), line(a.stated("description")(facts))]), 8000),
        "summary": clean(a.citation(facts).value, 1000),
        "software_packageVersion": clean(a.version(facts).value),
        "software_primaryPurpose": "data",
        "software_copyrightText": "NOASSERTION",
        "builtTime": _time(d.created_at),
        "originatedBy": [f"{base}#provider"],
        "suppliedBy": f"{base}#provider",
        "verifiedUsing": [{"type": "Hash", "algorithm": "sha256", "hashValue": d.content_hash}],
        "comment": "The hash is that of the manifest's content, from which every file can be checked.",
        "dataset_datasetType": ["image", "text"],
        "dataset_dataCollectionProcess": _collection(facts),
        "dataset_dataPreprocessing": words(a.processing(facts)) + words(r.measures(facts)),
        "dataset_knownBias": words(r.biases(facts)) + words(r.gates(facts)),
        "dataset_datasetUpdateMechanism": line(a.maintenance(facts)),
        "dataset_intendedUse": line(a.stated("use_cases")(facts)),
        "dataset_hasSensitivePersonalInformation": _presence(facts),
    }
    if facts.shards.value:
        found["dataset_datasetSize"] = sum(s.nbytes + s.table_nbytes for s in facts.shards.value)
    if p.download and web_address(p.download):
        found["software_downloadLocation"] = p.download
    if p.url and web_address(p.url):
        found["software_homePage"] = p.url
    if p.published:
        found["releaseTime"] = f"{p.published}T00:00:00Z"
    return found


def _collection(facts: Facts) -> str:
    if facts.crawl.value is not None:
        return " ".join([*words(r.crawler(facts)), *words(r.crawl_window(facts))])
    return " ".join([line(a.stated("collection")(facts)), *words(a.origin(facts))[:1]])


def _presence(facts: Facts) -> str:
    told = facts.provider.personal_information
    return "noAssertion" if told is None else "yes" if told.answer else "no"


def _file(base: str, shard: Shard, number: int) -> dict[str, Any]:
    return {
        **_element("software_File", f"{base}#file-{number}"),
        "name": shard.name,
        "summary": f"{shard.rows:,} samples, {shard.nbytes:,} bytes",
        "contentType": "application/x-tar",
        "software_primaryPurpose": "data",
        "verifiedUsing": [{"type": "Hash", "algorithm": "sha256", "hashValue": shard.sha256}],
    }


def _licences(base: str, facts: Facts) -> list[dict[str, Any]]:
    """Return the declared licence where the provider states one that SPDX can name; its own words where not."""
    stated = facts.provider.licence
    if stated is None:
        return []
    known = spdx_id(stated)
    if known:
        expression = {"simplelicensing_licenseExpression": known}
        return [{**_element("simplelicensing_LicenseExpression", f"{base}#licence"), **expression}]
    text = {"name": clean(stated, 200), "simplelicensing_licenseText": clean(stated, 4000)}
    return [{**_element("simplelicensing_SimpleLicensingText", f"{base}#licence"), **text}]


def _contains(base: str, files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [_link(base, "contains", "contains", [item["spdxId"] for item in files])] if files else []


def _link(base: str, name: str, kind: str, to: list[str]) -> dict[str, Any]:
    return {**_element("Relationship", f"{base}#{name}"), "from": base, "relationshipType": kind, "to": to}


def _time(stamp: str) -> str:
    """Return an ISO 8601 time in UTC as SPDX writes it: seconds and Z."""
    return stamp[:19] + "Z"
