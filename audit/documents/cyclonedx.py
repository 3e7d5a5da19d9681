"""CycloneDX 1.6 ML-BOM: the dataset as a data component, its shards with hashes, the models that scored it, and the
models that the provider trained on it.
"""

from __future__ import annotations

import uuid
from typing import Any

from audit.documents import answers as a
from audit.documents import answers_rights as r
from audit.documents.facts import Dataset, Facts, Shard
from audit.documents.form import Document, Part, Question, line, missing, questions, words
from audit.documents.licences import spdx_id, web_address
from audit.documents.text import clean, json_bytes

SPEC = "1.6"
#: Serial numbers are UUIDs of version 5 in this name space, made from the content hash.
_SPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:assay:cyclonedx")

PARTS = (
    Part(
        "Dataset",
        (
            Question("component.description", "what it is", a.stated("description")),
            Question("component.supplier", "who provides it", a.stated("name")),
            Question("component.licenses", "licence of the compilation", a.stated("licence")),
            Question("component.data.contents.url", "where it is to be had", a.stated("download")),
            Question("component.data.sensitiveData", "personal information", a.stated("personal_information")),
            Question("component.data.governance.owners", "owners of the data", a.stated("owners")),
            Question("component.properties.assay:biases", "what the bias audit found", r.biases),
        ),
    ),
    Part(
        "Models",
        (
            Question("machine-learning-model", "models trained on the dataset", a.stated("models")),
            Question("modelCard.considerations.useCases", "what it can be used for", a.stated("use_cases")),
            Question("modelCard.considerations.technicalLimitations", "its limits", a.stated("limitations")),
        ),
    ),
)


def document(facts: Facts) -> Document:
    """Return the bill of materials as JSON."""
    d = facts.dataset.value
    if d is None:
        raise ValueError("a bill of materials needs the manifest")
    ref = f"dataset:{d.content_hash}"
    scorers, trained = _scorers(facts), _trained(facts, ref)
    body = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC,
        "serialNumber": f"urn:uuid:{uuid.uuid5(_SPACE, d.content_hash)}",
        "version": 1,
        "metadata": _metadata(d, facts),
        "components": [_dataset(d, facts, ref), *scorers, *trained],
        "dependencies": [
            {"ref": ref, "dependsOn": [item["bom-ref"] for item in scorers]},
            *({"ref": item["bom-ref"], "dependsOn": [ref]} for item in trained),
        ],
    }
    return Document("bom.cdx.json", json_bytes(body), missing(questions(PARTS), facts))


def _metadata(d: Dataset, facts: Facts) -> dict[str, Any]:
    tools = [{"type": "application", "name": "assay-data", "version": clean(d.assay)}]
    tools += [
        {"type": "library", "name": clean(name), "version": clean(version)} for name, version in d.packages.items()
    ]
    found: dict[str, Any] = {"timestamp": d.created_at, "tools": {"components": tools}}
    if supplier := _supplier(facts):
        found["supplier"] = supplier
    return found


def _supplier(facts: Facts) -> dict[str, Any] | None:
    p = facts.provider
    if p.name is None:
        return None
    found: dict[str, Any] = {"name": clean(p.name)}
    if p.url and web_address(p.url):
        found["url"] = [p.url]
    if p.contact:
        found["contact"] = [{"email": p.contact} if _mail(p.contact) else {"name": clean(p.contact)}]
    return found


def _mail(text: str) -> bool:
    local, at, host = text.partition("@")
    return bool(at and local and "." in host) and not any(c.isspace() or c in "@<>()\"'," for c in local + host)


def _dataset(d: Dataset, facts: Facts, ref: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "data",
        "bom-ref": ref,
        "name": clean(d.name),
        "version": clean(a.version(facts).value),
        "description": clean(" ".join([*r.alarms(facts), line(a.stated("description")(facts))]), 8000),
        "licenses": _licences(facts),
        "data": [_data(d, facts)],
        "components": [item for shard in facts.shards.value or () for item in _shard(shard)],
        "properties": _properties(d, facts),
    }
    if supplier := _supplier(facts):
        found["supplier"] = supplier
    return found


def _data(d: Dataset, facts: Facts) -> dict[str, Any]:
    p = facts.provider
    data: dict[str, Any] = {
        "type": "dataset",
        "name": clean(d.name),
        "sensitiveData": words(a.stated("personal_information")(facts)),
    }
    if p.download and web_address(p.download):
        data["contents"] = {"url": p.download}
    if p.owners:
        data["governance"] = {"owners": [{"organization": {"name": clean(owner)}} for owner in p.owners]}
    return data


def _licences(facts: Facts) -> list[dict[str, Any]]:
    """Return the compilation's licence and those that the records state, each once."""
    material = facts.material.value
    stated = [facts.provider.licence] if facts.provider.licence else []
    stated += [name for name in list(material.licences)[: a.MOST_ROWS] if name] if material else []
    found: dict[str, dict[str, Any]] = {}
    for text in stated:
        known = spdx_id(text)
        entry: dict[str, Any] = {"id": known} if known else {"name": clean(text)}
        if web_address(text):
            entry["url"] = text
        found.setdefault(known or text, {"license": entry})
    return list(found.values()) or [{"license": {"name": "not stated"}}]


def _shard(shard: Shard) -> list[dict[str, Any]]:
    return [
        {
            "type": "file",
            "bom-ref": f"file:{name}",
            "name": name,
            "mime-type": media,
            "hashes": [{"alg": "SHA-256", "content": sha256}],
            "properties": [
                {"name": "assay:samples", "value": str(shard.rows)},
                {"name": "assay:bytes", "value": str(nbytes)},
            ],
        }
        for name, media, sha256, nbytes in (
            (shard.name, "application/x-tar", shard.sha256, shard.nbytes),
            (shard.table, "application/vnd.apache.parquet", shard.table_sha256, shard.table_nbytes),
        )
    ]


def _properties(d: Dataset, facts: Facts) -> list[dict[str, str]]:
    """Return what CycloneDX has no field for: hash, counts, opt-outs, bias audit, gates, alarms."""
    found = [("content_hash", d.content_hash)]
    if counts := facts.counts.value:
        found += [("samples", str(counts.samples)), ("kept", str(counts.kept))]
        found += [(f"dropped:{code}", str(number)) for code, number in counts.dropped.items()]
    texts = (
        ("attention", list(r.alarms(facts))),
        ("rights", words(r.measures(facts))),
        ("rights:found", words(r.channels(facts))),
        ("retraction", words(r.retractions(facts))),
        ("biases", words(r.biases(facts))),
        ("gate", words(r.gates(facts))),
    )
    found += [(key, clean(text, 4000)) for key, lines in texts for text in lines]
    return [{"name": f"assay:{key}", "value": value} for key, value in found]


def _scorers(facts: Facts) -> list[dict[str, Any]]:
    models = facts.processing.value.models if facts.processing.value else {}
    return [
        {
            "type": "machine-learning-model" if "sha256:" in model else "application",
            "bom-ref": f"scorer:{clean(scorer, 60)}",
            "name": clean(scorer, 60),
            "version": clean(model, 200),
            "description": "Scored the samples of the dataset; it was not trained on them.",
        }
        for scorer, model in models.items()
    ]


def _trained(facts: Facts, ref: str) -> list[dict[str, Any]]:
    """Return the models that the provider names, each with a model card that refers to the dataset."""
    considered: dict[str, Any] = {}
    p = facts.provider
    if p.use_cases:
        considered["useCases"] = [clean(text, 4000) for text in p.use_cases]
    limits = [*r.alarms(facts), *(p.limitations or ())]
    if limits:
        considered["technicalLimitations"] = [clean(text, 4000) for text in limits]
    fairness = [
        {"groupAtRisk": clean(g.name), "harms": clean(g.words or g.state, 2000), "mitigationStrategy": _answered(g)}
        for g in facts.gates.value or ()
    ]
    if fairness:
        considered["fairnessAssessments"] = fairness
    card: dict[str, Any] = {"modelParameters": {"datasets": [{"ref": ref}]}}
    if considered:
        card["considerations"] = considered
    return [
        {
            "type": "machine-learning-model",
            "bom-ref": f"model:{number}",
            "name": clean(model.name),
            "description": clean("; ".join(x for x in (model.detail, model.url) if x) or "As the provider names it."),
            "modelCard": card,
        }
        for number, model in enumerate(p.models or ())
    ]


def _answered(gate: Any) -> str:
    if gate.waived_by:
        return clean(f"The gate did not pass and was waived by {gate.waived_by}: {gate.waived_why}", 2000)
    return f"The dataset was held to a gate; its outcome: {gate.state}."
