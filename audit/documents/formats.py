"""The formats of `assay export`, by name: what makes each and which table of questions it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from audit.documents import ab2013, croissant, cyclonedx, datasheet, eu_summary, spdx
from audit.documents.facts import Facts
from audit.documents.form import Document, Part


@dataclass(frozen=True)
class Format:
    """One format: what asks for it, the questions it answers, and the documents that it makes, the main one first.

    `make` takes the facts and what stands before the names of shards (Croissant only).
    """

    about: str
    parts: tuple[Part, ...]
    make: Callable[[Facts, str], tuple[Document, ...]]


FORMATS: dict[str, Format] = {
    "croissant": Format(
        "Croissant 1.1 with RAI 1.0 (MLCommons): for loaders and search engines",
        croissant.PARTS,
        lambda facts, prefix: (croissant.document(facts, prefix),),
    ),
    "eu-summary": Format(
        "EU AI Act, Article 53(1)(d): public summary of training content, after the Commission's template",
        eu_summary.PARTS,
        lambda facts, _: (eu_summary.markdown_document(facts), eu_summary.json_document(facts)),
    ),
    "ab2013": Format(
        "California AB 2013 (Civil Code 3111): documentation of training data",
        ab2013.PARTS,
        lambda facts, _: (ab2013.document(facts),),
    ),
    "cyclonedx": Format(
        "CycloneDX 1.6 ML-BOM: bill of materials",
        cyclonedx.PARTS,
        lambda facts, _: (cyclonedx.document(facts),),
    ),
    "spdx": Format(
        "SPDX 3.0.1, dataset profile: bill of materials",
        spdx.PARTS,
        lambda facts, _: (spdx.document(facts),),
    ),
    "datasheet": Format(
        "Datasheet for users, after the themes of Gebru et al.",
        datasheet.PARTS,
        lambda facts, _: (datasheet.document(facts),),
    ),
}
