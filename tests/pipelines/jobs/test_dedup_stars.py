"""The star algorithm on workers gives the clusters of the union-find."""

import numpy as np
import pytest
from dedup_runs import make, row

from filters.duplicates import Edges, cluster
from pipelines.engine import PLAIN, Engine
from pipelines.jobs.dedup import CLUSTERS_FILE, Scale, dedup
from pipelines.jobs.dedup_stars import clusters_by_stars
from pipelines.run.parts import read_table


@pytest.mark.parametrize("runner", [PLAIN, "FnApiRunner"])
@pytest.mark.parametrize("kind", ["random", "chain"])
def test_workers_and_one_process_agree(tmp_path, runner, kind):
    run = make(tmp_path / "run", [[row(1)]])
    random = np.random.default_rng(0).integers(0, 200, (150, 2))
    pairs = random if kind == "random" else np.stack([np.arange(60), np.arange(1, 61)], axis=1)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    edges = [Edges.of(pairs[::2, 0], pairs[::2, 1], np.zeros(len(pairs[::2])))]
    edges.append(Edges.of(pairs[1::2, 0], pairs[1::2, 1], np.zeros(len(pairs[1::2]))))
    found = clusters_by_stars(run, Engine(runner), edges, 200, files=3)
    assert (found == cluster(200, edges)).all()
    assert run.store.list("duplicates/stars") == []


def test_dedup_takes_them_for_more_edges_than_one_worker_holds(tmp_path):
    rows = [row(number, seed=number // 5) for number in range(40)]
    one, other = (make(tmp_path / name, [rows]) for name in "ab")
    dedup(one)
    dedup(other, Engine(PLAIN), Scale(edges=1))
    assert read_table(one.store, CLUSTERS_FILE).equals(read_table(other.store, CLUSTERS_FILE))
