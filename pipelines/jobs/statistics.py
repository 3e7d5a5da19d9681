"""Corpus statistics: how often each caption and each word stands in the corpus. Combined by Beam."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from filters.scorers.captions import CaptionStatistics, count_captions
from pipelines.engine import PLAIN, Engine, load_beam, run_pipeline
from pipelines.run.directory import Run
from pipelines.run.parts import Marker, PartWriter, fingerprint, finished, read_table
from pipelines.run.schema import CAPTION_COUNTS, WORD_COUNTS

VERSION = "1"
_NAME = "statistics/all"
_CAPTIONS = "statistics/captions.parquet"
_WORDS = "statistics/words.parquet"

#: One count that crosses the shuffle: ("c", caption hash in hex) or ("w", word), and how many samples.
Count = tuple[tuple[str, str], int]


def count_part(run: Run, index: int) -> list[Count]:
    """Count the captions and words of one part's readable samples."""
    table = run.table("samples", index, ["caption", "failure"])
    captions = table.filter(table.column("failure").is_null()).column("caption").to_pylist()
    hashes, words = count_captions(captions)
    return [*((("c", f"{h:016x}"), n) for h, n in hashes.items()), *((("w", w), n) for w, n in words.items())]


def statistics(run: Run, engine: Engine) -> Marker:
    """Write the two tables of counts; a caption that stands once is left out."""
    parts = run.parts("samples")
    content = [run.marker("samples", i).facts["content"] for i in parts]
    # what counts as the same caption is Unicode's, whose version is Python's
    wanted = fingerprint("statistics", VERSION, unicodedata.unidata_version, content)
    done = finished(run.store, _NAME, wanted)
    if done:
        return done
    counts = _combined(run, engine, parts)
    captions = sorted((int(key, 16), n) for (kind, key), n in counts if kind == "c" and n > 1)
    words = sorted((key, n) for (kind, key), n in counts if kind == "w")
    writer = PartWriter(run.store, _NAME, wanted)
    writer.add_table(_CAPTIONS, _table(captions, CAPTION_COUNTS))
    writer.add_table(_WORDS, _table(words, WORD_COUNTS))
    return writer.commit(len(captions) + len(words))


def _combined(run: Run, engine: Engine, parts: list[int]) -> list[Count]:
    if engine.runner == PLAIN:
        totals: dict[tuple[str, str], int] = {}
        for index in parts:
            for key, n in count_part(run, index):
                totals[key] = totals.get(key, 0) + n
        return list(totals.items())
    beam = load_beam()

    @beam.typehints.with_input_types(int)
    @beam.typehints.with_output_types(tuple[tuple[str, str], int])
    class CountPart(beam.DoFn):  # type: ignore[misc,name-defined]
        def process(self, index: int) -> Iterable[Count]:
            return count_part(run, index)

    folder = run.store

    def write(rows: list[Count]) -> None:
        body = "".join(f"{kind}\t{key}\t{n}\n" for (kind, key), n in rows)
        folder.write("statistics/counts.tsv", body.encode())

    def build(pipeline: Any) -> None:
        _ = (
            pipeline
            | "parts" >> beam.Create(parts)
            | "spread" >> beam.Reshuffle()
            | "count" >> beam.ParDo(CountPart())
            | "sum" >> beam.CombinePerKey(sum)
            | "gather" >> beam.combiners.ToList()
            | "write" >> beam.Map(write)
        )

    run_pipeline(engine, "statistics", build)
    lines = run.store.read("statistics/counts.tsv").decode().splitlines()
    run.store.delete("statistics/counts.tsv")
    fields = (line.split("\t") for line in lines)
    return [((kind, key), int(n)) for kind, key, n in fields]


def _table(rows: list[tuple[Any, int]], schema: pa.Schema) -> pa.Table:
    keys, counts = [key for key, _ in rows], [n for _, n in rows]
    return pa.Table.from_arrays([pa.array(keys, schema[0].type), pa.array(counts, pa.int64())], schema=schema)


def load_statistics(run: Run) -> CaptionStatistics:
    """Read the counts back for the caption scorer."""
    captions = read_table(run.store, _CAPTIONS)
    words = read_table(run.store, _WORDS)
    return CaptionStatistics(
        hashes=captions.column("hash").to_numpy().astype(np.uint64),
        counts=captions.column("count").to_numpy().astype(np.int64),
        words=dict(zip(words.column("word").to_pylist(), words.column("count").to_pylist(), strict=True)),
    )
