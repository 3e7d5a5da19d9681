"""Makes runs with chosen hashes and embeddings by the real writers, for the tests of dedup and decide."""

import hashlib

import numpy as np
import pyarrow as pa
import yaml

from filters.scorers.colours import ColourScorer
from filters.scorers.pixels import PixelScorer
from pipelines.jobs.decide import decide
from pipelines.run.directory import create_run
from pipelines.run.parts import PartWriter, part_name
from pipelines.run.recipe import parse_recipe
from pipelines.run.schema import SAMPLES, SIGNALS, embeddings_schema, scores_schema

MODEL = "made@sha256:0123"
FIELDS = [
    pa.field("phash", pa.uint64()),
    pa.field("pdq", pa.binary(32)),
    pa.field("pdq_quality", pa.int16()),
    *ColourScorer().fields,
    *PixelScorer().fields,
    pa.field("similarity", pa.float32()),
    pa.field("concept", pa.string()),
]


def uid(number):
    """The uid of row `number`."""
    return hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()


def row(number, seed=None, **changes):
    """One sample that is like no other; `seed` gives it the picture of another number."""
    random = np.random.default_rng(number if seed is None else seed)
    found = {
        "uid": uid(number),
        "key": f"k{number}",
        "shard": "in.tar",
        "caption": f"thing {number}",
        "licence": "CC0",
        "width": 100,
        "height": 100,
        "format": "png",
        "nbytes": 100,
        "sha256": random.bytes(32).hex(),
        "phash": int(random.integers(0, 2**63)),
        "pdq": random.bytes(32),
        "pdq_quality": 100,
        "pixels": random.bytes(16),
        "similarity": 0.5,
        "concept": "thing",
        "image": random.normal(size=32),
    }
    return {**found, **changes}


def near(base, bits, **changes):
    """A row whose pHash and PDQ differ from another's by so many bits, and nothing else agrees."""
    code = int.from_bytes(base["pdq"], "little") ^ ((1 << bits) - 1)
    phash = base["phash"] ^ ((1 << bits) - 1)
    return {**row(base["key"].__hash__() % 2**31), "phash": phash, "pdq": code.to_bytes(32, "little"), **changes}


def recipe(**duplicates):
    """A recipe of rules that drop nothing, with these settings of `duplicates`."""
    body = {
        "name": "made",
        "input": {"kind": "webdataset", "path": "nowhere"},
        "scorers": ["size", "hashes", "pdq", "colours", "pixels", "caption", "similarity"],
        "duplicates": duplicates,
    }
    return parse_recipe(yaml.safe_dump(body), "recipe", [])


def make(folder, parts, made=None, **duplicates):
    """Write a run of these parts (lists of rows), not yet deduplicated."""
    run = create_run(str(folder), made or recipe(**duplicates))
    add(run, parts)
    return run


def add(run, parts, start=0):
    """Write further parts."""
    for index, rows in enumerate(parts, start):
        writer = PartWriter(run.store, part_name("samples", index, ""), "made")
        columns = {field.name: [one.get(field.name) for one in rows] for field in SAMPLES}
        writer.add_table(part_name("samples", index), pa.Table.from_pydict(columns, schema=SAMPLES))
        writer.add_table(part_name("signals", index), pa.Table.from_pylist(signals(rows), schema=SIGNALS))
        writer.commit(
            len(rows), {"shard": f"{index}.tar", "content": f"{index}", "failures": {}, "signals_content": ""}
        )
        writer = PartWriter(run.store, part_name("scores", index, ""), "made")
        schema = scores_schema(FIELDS)
        columns = {field.name: [one.get(field.name) for one in rows] for field in schema}
        writer.add_table(part_name("scores", index), pa.Table.from_pydict(columns, schema=schema))
        vectors = np.array([np.zeros(32) if one["image"] is None else one["image"] for one in rows], dtype=np.float16)
        flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 32)
        table = pa.Table.from_arrays(
            [pa.array([one["uid"] for one in rows]), flat, flat], schema=embeddings_schema(32)
        )
        writer.add_table(part_name("embeddings", index), table)
        writer.commit(len(rows), {"failures": {}, "models": {"similarity": MODEL}, "skipped": 0})


def signals(rows):
    """A denial for each row with `denied`."""
    fixed = {"channel": "xmp", "source": "file", "raw": "no", "verdict": "deny", "spec": "s", "detail": "no"}
    return [{"uid": one["uid"], **fixed, "unreadable": False} for one in rows if one.get("denied")]


def ledger(run):
    """Decide, and return the ledger's rows by uid."""
    decide(run)
    return {one["uid"]: one for table in run.tables("ledger") for one in table.to_pylist()}
