"""Recall and precision of duplicate detection on the quality set of `benchmarks.dedup`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from filters.duplicates_likeness import Bounds, Likeness
from filters.evaluation_dedup import evaluate_pairs
from pipelines.commands.evaluate_dedup import measured, read_truth, settings
from pipelines.jobs.dedup_columns import features_of, hashes_of

#: The embedding's bound when it is measured alone: the one of best F1 for builtin:mini on the small set.
COSINE = 0.95


def quality_figures(folder: Path, truth: Path) -> dict[str, dict[str, Any]]:
    """Return recall and precision of pairs by method, and recall of copies by transformation."""
    default, model = settings(None)
    labels = read_truth(truth)
    table, vectors, groups, failed = measured(folder, labels, model, 0)
    hashes = hashes_of(table)
    off = Bounds(exact=False)
    ways = {
        "pHash 4": replace(off, phash=4),
        "PDQ 31": replace(off, pdq=31),
        "dihedral PDQ 31": replace(off, pdq=31, dihedral=True),
        f"embedding {COSINE} ({model})": replace(off, cosine=COSINE),
        "default": default,
    }
    names = np.array([name.split("-", 1)[1].rsplit(".", 1)[0] for name in labels])
    originals = {group: row for row, group in enumerate(groups) if names[row] == "original"}
    found: dict[str, dict[str, Any]] = {}
    for way, bounds in ways.items():
        features = features_of(hashes, vectors, bounds)
        figures = evaluate_pairs(features, bounds, groups)["all"]
        heads = np.array([originals[group] for group in groups])
        near = Likeness(features, bounds).explain(np.arange(len(groups)), heads)[0] >= 0
        recall = {name: round(float(near[names == name].mean()), 3) for name in dict.fromkeys(names.tolist())}
        recall.pop("original")
        row = {"recall": figures.recall, "precision": figures.precision, "f1": figures.f1}
        found[f"quality {way}"] = {
            **{key: None if value is None else round(value, 4) for key, value in row.items()},
            "copies": round(float(near[names != "original"].mean()), 4),
            "by_transformation": recall,
            "pictures": len(groups),
            "failed": failed,
        }
    return found
