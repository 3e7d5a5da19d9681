"""Reading an input shard again after it was ingested, with proof that it is still the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from filters.errors import BadInput
from pipelines.jobs.ingest import read_limits
from pipelines.progress import Meter
from pipelines.run.recipe import Recipe
from pipelines.sources.base import Record, ShardRef
from pipelines.sources.registry import make_source


def same_records(recipe: Recipe, shard: ShardRef, hashes: list[str | None], meter: Meter) -> Iterator[Record]:
    """Yield the shard's records, one for each row that was ingested, in order.

    `hashes` are the SHA-256 of the rows' pictures. Raises `BadInput` where a picture or the number of
    records differs: scores and shards must belong to the bytes that the ledger names.
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
        if count == len(hashes) or found != hashes[count]:
            raise changed
        count += 1
        yield record
    if count != len(hashes):
        raise changed
