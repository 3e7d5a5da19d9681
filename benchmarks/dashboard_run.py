"""The synthetic run of `benchmarks.dashboard`: parts with the real schemas, drawn from a fixed seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.reasons import PRECEDENCE, Reason
from filters.rules import primary_codes, reason_lists
from pipelines.run.directory import Run, create_run
from pipelines.run.parts import PartWriter, part_name
from pipelines.run.recipe import parse_recipe
from pipelines.run.schema import LEDGER, SAMPLES, SIGNALS, groups_schema, scores_schema

RECIPE = "name: synthetic\ninput: {kind: webdataset, path: nowhere}\nrules: {nsfw: {high: 0.9}}\n"

SCORES = [
    pa.field(name, pa.float32(), metadata={"doc": "synthetic", "scorer": "synthetic"})
    for name in ("similarity", "aesthetic", "nsfw", "watermark", "technical_quality", "contrast", "sharpness")
] + [pa.field(name, pa.int32()) for name in ("min_side", "caption_words", "caption_characters")]

GROUPS = [("region", "synthetic"), ("gender_terms", "synthetic")]

#: Reasons of the synthetic ledger and the share of samples to which each applies.
DROPS = (
    (Reason.OPTED_OUT, 0.03),
    (Reason.LICENCE_MISSING, 0.05),
    (Reason.NETWORK_ERROR, 0.08),
    (Reason.IMAGE_TOO_SMALL, 0.1),
    (Reason.LOW_SIMILARITY, 0.2),
    (Reason.NSFW, 0.02),
    (Reason.NEAR_DUPLICATE, 0.12),
)

TEXT = (
    "a red old small large painting photo of the dog cat house tree river city market woman man child boat "
    "mountain sky night morning street window garden table blue green yellow with and under over near flower bird "
    "bridge church horse train road summer winter snow light shadow portrait landscape vintage poster"
)
WORDS = pa.array(TEXT.split())

#: Words of a caption; samples a cluster of duplicates has on average; share of samples with a signal; hosts.
_CAPTION, _CLUSTER, _SIGNALLED, _HOSTS = 9, 4, 0.3, 50_000

_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)


def make(folder: Path, samples: int, part_rows: int) -> Run:
    """Write a run of `samples` rows with samples, scores, groups, signals and ledger parts."""
    run = create_run(str(folder), parse_recipe(RECIPE, "recipe", []))
    random = np.random.default_rng(0)
    for index, start in enumerate(range(0, samples, part_rows)):
        write_part(run, index, min(part_rows, samples - start), samples, random)
    return run


def write_part(run: Run, index: int, rows: int, total: int, random: np.random.Generator) -> None:
    """Write one part of each artefact."""
    digits = random.integers(0, 16, (rows, 32), np.uint8)
    uids = pa.array(_DIGITS[digits].reshape(-1).view("S32")).cast(pa.string())
    masks = np.zeros(rows, np.uint64)
    for reason, share in DROPS:
        masks |= np.where(random.random(rows) < share, np.uint64(1) << np.uint64(PRECEDENCE[reason]), np.uint64(0))
    samples = _samples(uids, index, rows, total, random)
    _write(run, "samples", index, SAMPLES, samples, rows, {"shard": f"in-{index}", "failures": {}})
    scores = {"uid": uids}
    for field in SCORES:
        whole = pa.types.is_integer(field.type)
        drawn = random.integers(1, 4000, rows) if whole else random.beta(2, 3, rows)
        scores[field.name] = pa.array(drawn).cast(field.type)
    _write(run, "scores", index, scores_schema(SCORES), scores, rows, {"failures": {}, "models": {}})
    groups = {"uid": uids, **{name: _group(rows, random) for name, _ in GROUPS}}
    _write(run, "groups", index, groups_schema(GROUPS), groups, rows, {})
    _signals(run, index, uids, random)
    kept = masks == 0
    clustered = random.random(rows) < 0.25
    ledger = {
        "uid": uids,
        "decision": pa.array(np.where(kept, "kept", "dropped")).dictionary_encode(),
        "primary_reason": primary_codes(masks),
        "reasons": reason_lists(masks),
        "weight": pa.array(np.ones(rows, np.float32), mask=~kept),
        "cluster": pa.array(random.integers(0, max(1, total // (4 * _CLUSTER)), rows), mask=~clustered),
    }
    rule = {"name": "nsfw", "column": "nsfw", "reason": "NSFW", "high": 0.9}
    _write(run, "ledger", index, LEDGER, ledger, rows, {"kept": int(kept.sum()), "rules": [rule]})


def _samples(
    uids: pa.Array, index: int, rows: int, total: int, random: np.random.Generator
) -> dict[str, pa.Array | pa.ChunkedArray]:
    words = [WORDS.take(pa.array(random.integers(0, len(WORDS), rows))) for _ in range(_CAPTION)]
    last = pa.array(random.integers(0, 10, rows)).cast(pa.string())
    hosts, artists = random.zipf(1.3, rows) % _HOSTS, random.zipf(1.2, rows) % max(1, total // 5)
    return {
        "uid": uids,
        "key": _named(f"{index:05d}-", np.arange(rows)),
        "shard": pa.array([f"in-{index:05d}.tar"] * rows),
        "caption": pc.binary_join_element_wise(*words, last, " "),
        "domain": _named("host", hosts, ".example"),
        "creator": _named("artist ", artists),
        "licence": _named("CC-", random.integers(0, 5, rows)),
    }


def _named(before: str, numbers: np.ndarray, after: str = "") -> pa.Array:
    return pc.binary_join_element_wise(before, pa.array(numbers).cast(pa.string()), after, "")


def _group(rows: int, random: np.random.Generator) -> pa.Array:
    """Return lists with one of six values for a tenth of the rows, empty for the others."""
    picked = random.integers(0, 60, rows)
    ends = np.concatenate([[0], np.cumsum(picked < 6)])
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), _named("value ", picked[picked < 6]))


def _signals(run: Run, index: int, uids: pa.Array, random: np.random.Generator) -> None:
    mine = uids.filter(pa.array(random.random(len(uids)) < _SIGNALLED))
    rows = len(mine)
    deny = random.random(rows) < 0.2
    values = {
        "uid": mine,
        "channel": pa.array(np.where(random.random(rows) < 0.8, "robots.txt", "tdmrep")),
        "source": _named("https://host", random.zipf(1.3, rows) % _HOSTS, ".example/robots.txt"),
        "raw": pa.array(np.where(deny, "Disallow: /", "Allow: /")),
        "verdict": pa.array(np.where(deny, "deny", "allow")),
        "spec": pa.array(["RFC 9309"] * rows),
        "detail": pa.array(["synthetic"] * rows),
        "unreadable": pa.array(np.zeros(rows, bool)),
    }
    _write(run, "signals", index, SIGNALS, values, rows, {})


def _write(
    run: Run,
    name: str,
    index: int,
    schema: pa.Schema,
    values: dict[str, pa.Array | pa.ChunkedArray],
    rows: int,
    facts: dict[str, object],
) -> None:
    columns = [values.get(f.name, pa.nulls(rows, f.type)) for f in schema]
    columns = [c if c.type == f.type else c.cast(f.type) for c, f in zip(columns, schema, strict=True)]
    writer = PartWriter(run.store, part_name(name, index, ""), "synthetic")
    writer.add_table(part_name(name, index), pa.Table.from_arrays(columns, schema=schema))
    writer.commit(rows, facts)
