"""The semantic search over files finds what the search in memory finds."""

import numpy as np
import pytest
from dedup_runs import make, row

from filters import semantic
from pipelines.engine import PLAIN, Engine
from pipelines.jobs import dedup_cells
from pipelines.jobs.dedup import EDGES_FILE, Scale, dedup
from pipelines.run.parts import read_table


def rows(count, copies):
    random = np.random.default_rng(0)
    found = [row(number) for number in range(count)]
    for number in range(copies):
        found[count - 1 - number]["image"] = found[number]["image"] + random.normal(size=32) * 0.1
    found[5]["image"] = found[6]["image"]
    found[7]["image"] = None
    return found


@pytest.mark.parametrize("runner", [PLAIN, "FnApiRunner"])
def test_files_and_memory_agree(tmp_path, monkeypatch, runner):
    monkeypatch.setattr(semantic, "SMALL", 100)
    monkeypatch.setattr(semantic, "CELL", 60)
    made = rows(600, 150)
    parts = [made[:250], made[250:251], made[251:]]
    memory, files = (
        make(tmp_path / name, parts, exact=False, phash_distance=None, pdq_distance=None, cosine=0.95) for name in "ab"
    )
    dedup(memory)
    dedup(files, Engine(runner), Scale(rows=0, vector_bytes=600 * 32))
    found = [read_table(run.store, EDGES_FILE).to_pylist() for run in (memory, files)]
    pairs = [{(edge["a"], edge["b"]) for edge in edges} for edges in found]
    assert (5, 6) in pairs[0] & pairs[1]
    assert len(pairs[0]) > 140
    assert len(pairs[0] ^ pairs[1]) <= 0.01 * len(pairs[0])
    left = [name for folder in (dedup_cells._PLACED, dedup_cells._FOUND) for name in files.store.list(folder)]
    assert left == []
