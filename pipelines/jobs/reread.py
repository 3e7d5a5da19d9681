"""Reading an input shard again after it was ingested, with proof that it is still the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa

from filters.errors import BadInput
from filters.reasons import Reason, Stage
from pipelines.jobs.ingest import read_limits
from pipelines.progress import Meter
from pipelines.run.recipe import Recipe
from pipelines.sources.base import Record, ShardRef
from pipelines.sources.registry import make_source

#: Stands for the hash of a picture that ingest has seen and of which nothing may be kept.
WITHHELD = "withheld"


def known_hashes(samples: pa.Table) -> list[str | None]:
    """Return what `same_records` compares: the pictures' SHA-256 of a samples part, by rows."""
    rows = samples.select(["sha256", "failure"]).to_pylist()
    return [WITHHELD if row["failure"] == Reason.KNOWN_HARMFUL.value else row["sha256"] for row in rows]


def same_records(recipe: Recipe, shard: ShardRef, hashes: list[str | None], meter: Meter) -> Iterator[Record]:
    """Yield the shard's records, one for each row that was ingested, in order.

    `hashes` come from `known_hashes`. Raises `BadInput` where a picture or the number of records differs: scores
    and shards must belong to the bytes that the ledger names. A picture that was withdrawn from the input since,
    for its rights, is no difference; it comes without its bytes.
    """
    records = make_source(recipe.input).records(shard, read_limits(recipe))
    changed = BadInput(f"{shard.url}: {shard.name} has changed since it was ingested; run assay ingest again")
    count = 0
    while True:
        with meter.time("read"):
            record = next(records, None)
            if record is None:
                break
            found = None if record.image is None else hashlib.sha256(record.image).hexdigest()
        if count == len(hashes) or not (found == hashes[count] or _withheld(record, hashes[count])):
            raise changed
        yield record if found == hashes[count] else replace(record, image=None)
        count += 1
    if count != len(hashes):
        raise changed


def _withheld(record: Record, known: str | None) -> bool:
    withdrawn = record.image is None and record.failure is not None and record.failure.stage is Stage.RIGHTS
    return known == WITHHELD or withdrawn
