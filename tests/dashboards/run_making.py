"""Makes run directories by the real writers: samples, scores, thumbnails; then the real dedup and decide."""

import hashlib
import io
import tarfile

import numpy as np
import pyarrow as pa
from PIL import Image

from filters.scorers.thumbnail import thumbnail
from filters.scoring import Picture
from pipelines.jobs.balance import write_index
from pipelines.jobs.decide import decide
from pipelines.jobs.dedup import dedup
from pipelines.jobs.finish import finish
from pipelines.run.directory import create_run
from pipelines.run.parts import PartWriter, part_name
from pipelines.run.recipe import parse_recipe
from pipelines.run.schema import SAMPLES, SCORES_HEAD, SIGNALS, scores_schema, sidecar_schema

SCORE_FIELDS = [
    pa.field("min_side", pa.int32(), metadata={"doc": "shorter side in pixels", "scorer": "size"}),
    pa.field("caption_words", pa.int32(), metadata={"doc": "words", "scorer": "caption"}),
    pa.field("phash", pa.uint64(), metadata={"doc": "64-bit hash", "scorer": "hashes"}),
    pa.field("nsfw", pa.float32(), metadata={"doc": "NSFW probability", "scorer": "nsfw"}),
    pa.field("similarity", pa.float32(), metadata={"doc": "cosine", "scorer": "similarity"}),
]

RECIPE = """
name: made
input: {kind: webdataset, path: nowhere}
rules:
  min_side: {low: 64}
  nsfw: {high: 0.7}
  similarity: {keep_top: 0.8}
licences: {allow: [CC0]}
duplicates: {phash_distance: 2}
balance: {by: creator, cap: 40}
"""


def noise_thumbnail(seed):
    """A thumbnail about as large in bytes as one can get."""
    pixels = np.random.default_rng(seed).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    return thumbnail(Picture(Image.fromarray(pixels)))


def plain_thumbnail(seed):
    """A small thumbnail of one colour."""
    colour = tuple(int(v) for v in np.random.default_rng(seed).integers(0, 255, 3))
    return thumbnail(Picture(Image.new("RGB", (96, 64), colour)))


def sample_rows(count, seed=0, **changes):
    """Rows of samples and scores that fail every rule now and then. `changes`: column name -> function of i."""
    random = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        row = {
            "uid": hashlib.blake2b(f"{seed}-{i}".encode(), digest_size=16).hexdigest(),
            "key": f"k{i:06d}",
            "shard": "in.tar",
            "caption": f"drawing {i} of a thing",
            "creator": f"artist {i % 7}",
            "licence": ("CC0", "CC0", "CC0", "GPL", None)[i % 5] if i % 3 == 0 else "CC0",
            "width": 96,
            "height": 64,
            "format": "png",
            "nbytes": 100,
            "sha256": hashlib.sha256(str(i - 1 if i % 11 == 1 else i).encode()).hexdigest(),
            "failure": "DECODE_ERROR" if i % 17 == 3 else None,
            "failure_detail": "cut off" if i % 17 == 3 else None,
            "min_side": int(random.integers(40, 400)),
            "caption_words": 5,
            "phash": int(random.integers(0, 2**63)),
            "nsfw": float(random.beta(0.3, 2)),
            "similarity": float(random.normal(0.2, 0.1)),
        }
        row.update({name: make(i) for name, make in changes.items()})
        if row["failure"]:
            row.update({field.name: None for field in SCORE_FIELDS})
        rows.append(row)
    return rows


def make_run(folder, rows, recipe=RECIPE, part_rows=1000, picture=plain_thumbnail, finished=True):
    """Write a run with these rows and decide it; `finished`: with a shard part and the manifest."""
    run = create_run(str(folder), parse_recipe(recipe, "recipe", []))
    pictures = [picture(seed) for seed in range(24)]
    for index, start in enumerate(range(0, len(rows), part_rows)):
        write_part(run, index, rows[start : start + part_rows], pictures)
    dedup(run)
    decide(run)
    if finished:
        write_shard(run)
        write_index(run)
        finish(run)
    return run


def write_part(run, index, rows, pictures):
    """Write samples, scores and thumbnails part `index`."""
    writer = PartWriter(run.store, part_name("samples", index, ""), "made")
    fields = {field.name: [row.get(field.name) for row in rows] for field in SAMPLES}
    writer.add_table(part_name("samples", index), pa.Table.from_pydict(fields, schema=SAMPLES))
    failures = {"DECODE_ERROR": sum(row["failure"] is not None for row in rows)}
    writer.add_table(part_name("signals", index), SIGNALS.empty_table())
    facts = {"shard": f"in-{index}.tar", "content": f"{index}", "failures": failures, "signals_content": "none"}
    writer.commit(len(rows), facts)

    writer = PartWriter(run.store, part_name("scores", index, ""), "made")
    schema = scores_schema(SCORE_FIELDS)
    blank = {field.name for field in SCORES_HEAD} - {"uid"}
    columns = {f.name: [None if f.name in blank else row[f.name] for row in rows] for f in schema}
    writer.add_table(part_name("scores", index), pa.Table.from_pydict(columns, schema=schema))
    with run.store.create(part_name("thumbnails", index, ".tar")) as path:
        with tarfile.open(path, "w") as archive:
            for i, row in enumerate(rows):
                if row["failure"] is None:
                    add(archive, f"{row['uid']}.webp", pictures[i % len(pictures)])
        writer.add_file(part_name("thumbnails", index, ".tar"), path)
    writer.commit(len(rows), {"failures": {}, "models": {"similarity": "made@sha256:0123", "nsfw": "made"}})


def write_shard(run):
    """Write one output shard with the number of kept rows; its tar holds nothing that the report reads."""
    kept = sum(run.marker("ledger", index).facts["kept"] for index in run.parts("ledger"))
    writer = PartWriter(run.store, "shards/shard-00000", "made")
    with run.store.create("shards/shard-00000.tar") as path:
        with tarfile.open(path, "w"):
            pass
        writer.add_file("shards/shard-00000.tar", path)
    writer.add_table("shards/shard-00000.parquet", sidecar_schema([]).empty_table())
    writer.commit(kept)


def add(archive, name, data):
    """Add one member to a tar."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))
