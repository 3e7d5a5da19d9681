"""Measure the audit's tally: `python -m benchmarks.audit`; one JSON line, one process.

Rows are made with a fixed seed: captions of 8 to 14 words with people, occupations and places in some, hosts, creators
and reasons. They are cut into parts, grouped, counted and added up as the audit does; making them is not timed.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import time

import numpy as np
import pyarrow as pa

from audit.groups import Assigner, Group
from audit.sections import associations
from audit.sections_impact import impact
from audit.tally import Tally, tally
from filters.reasons import PRECEDENCE, Reason
from filters.rules import mask, reason_lists

TARGET_S = 60.0
PART = 10_000
GROUPS = [
    Group("gender", "terms", lexicon="gender_terms"),
    Group("age", "terms", lexicon="age_terms"),
    Group("religion", "terms", lexicon="religions"),
    Group("disability", "terms", lexicon="disability"),
    Group("skin_tone_words", "terms", lexicon="skin_tone_words"),
    Group("toxicity", "terms", lexicon="toxicity", overlap="each"),
    Group("occupations", "terms", lexicon="occupations", overlap="each"),
    Group("region", "place"),
    Group("country", "place", level="country"),
    Group("source_region", "domain"),
    Group("host", "domain", level="host"),
    Group("creator", "creator"),
    Group("language", "language"),
]
PAIRS = [("occupations", "gender"), ("region", "gender"), ("region", "age"), ("toxicity", "gender")]
_FILLER = [
    *("a", "photo", "of", "the", "in", "with", "old", "red", "house", "street", "at", "night", "stock", "vector"),
    *("illustration", "beautiful", "background", "summer", "portrait", "sitting", "on", "white", "table", "holding"),
    *("cup", "coffee", "2019", "HD", "free", "download", "sunset", "beach", "city", "mountain", "dog", "cat"),
]
_PEOPLE = ["woman", "man", "girl", "boy", "women", "men", "mother", "father", "teenager", "baby", "elderly", "couple"]
_JOBS = ["nurse", "doctor", "engineer", "teacher", "CEO", "lawyer", "farmer", "driver", "chef", "soldier"]
_PLACES = [
    "Kenya",
    "Nigeria",
    "Paris",
    "London",
    "Tokyo",
    "China",
    "Brazil",
    "Mexican",
    "American",
    "Indian",
    "Sydney",
]
_ENDS = ["com", "com", "com", "org", "net", "co.uk", "de", "fr", "jp", "ke", "br", "ca", "in", "io"]
_REASONS = [Reason.OPTED_OUT, Reason.IMAGE_TOO_SMALL, Reason.NSFW, Reason.LOW_AESTHETIC, Reason.LOW_SIMILARITY]


def part(source: random.Random) -> pa.Table:
    """Make one part of samples and ledger."""
    captions = []
    for _ in range(PART):
        words = source.choices(_FILLER, k=source.randint(8, 14))
        for choices, share in ((_PEOPLE, 0.3), (_JOBS, 0.1), (_PLACES, 0.2)):
            if source.random() < share:
                words[source.randrange(len(words))] = source.choice(choices)
        captions.append(" ".join(words) + (" – café" if source.random() < 0.1 else ""))
    found = [sorted((r for r in _REASONS if source.random() < 0.12), key=PRECEDENCE.__getitem__) for _ in captions]
    masks = np.array([mask(*reasons) for reasons in found], dtype=np.uint64)
    hosts = [f"site{int(source.paretovariate(0.7)) % 50_000}.{source.choice(_ENDS)}" for _ in captions]
    return pa.table(
        {
            "caption": captions,
            "domain": hosts,
            "creator": [f"creator {int(source.paretovariate(0.7)) % 20_000}" for _ in captions],
            "language": source.choices(["en", "de", "fr", None], (0.8, 0.08, 0.07, 0.05), k=PART),
            "decision": pa.array(np.where(masks == 0, "kept", "dropped")).dictionary_encode(),
            "reasons": reason_lists(masks),
        }
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    source = random.Random(6)
    start = time.process_time()
    assigner = Assigner(GROUPS)
    compiled = time.process_time() - start
    counted, rows, parts = 0.0, 0, []
    while rows < options.rows:
        table = part(source)
        start = time.process_time()
        parts.append(tally(table, assigner.assign(table), PAIRS))
        counted += time.process_time() - start
        rows += table.num_rows
    start = time.process_time()
    total = Tally.of(parts)
    merged = time.process_time() - start
    findings = [*associations(total, "occupations", "gender", "feminine", "masculine"), *impact(total, "region")]
    found = time.process_time() - start - merged
    seconds = compiled + counted + merged + found
    line = {
        "name": "audit_tally",
        "value": round(seconds, 2),
        "unit": "CPU s",
        "target": TARGET_S,
        "rows": rows,
        "rows_per_cpu_s": round(rows / seconds),
        "groups": len(GROUPS),
        "pairs": len(PAIRS),
        "count_s": round(counted, 2),
        "merge_s": round(merged, 2),
        "findings_s": round(found, 2),
        "findings": len(findings),
        "cells": len(total.counts),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "command": " ".join(["python -m benchmarks.audit", *sys.argv[1:]]),
    }
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
