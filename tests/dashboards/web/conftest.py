"""One small real run behind the real application, asked through its whole stack."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

pytest.importorskip("fastapi", reason="the dashboard extra is not installed")

from run_making import make_run, sample_rows
from web_clients import HOSTILE, client_for


def caption(i):
    return {5: HOSTILE, 6: "x" * 100_000 + " end", 7: "שלום \u200f" + "drawing"}.get(i, f"Drawing {i} of a thing")


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """A folder with one finished run of 600 samples in three parts, and one beside it of another recipe."""
    folder = tmp_path_factory.mktemp("runs")
    domain = {"domain": lambda i: f"host{i % 5}.example"}
    make_run(folder / "made", sample_rows(600, caption=caption, **domain), part_rows=250)
    recipe = "name: other\ninput: {kind: webdataset, path: nowhere}\nrules: {min_side: {low: 200}}\n"
    make_run(folder / "other", sample_rows(120, seed=3), recipe=recipe, part_rows=100)
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def client(root, cache):
    with client_for(root, cache) as client:
        yield client


@pytest.fixture(scope="session")
def made(root):
    """The run's rows as its own parquet has them: samples, scores and ledger side by side."""
    from pipelines.run.directory import open_run

    run = open_run(str(root / "made"))
    rows = []
    for part in run.parts("ledger"):
        tables = [run.table(name, part).to_pylist() for name in ("samples", "scores", "ledger")]
        for samples, scores, ledger in zip(*tables, strict=True):
            rows.append({**samples, **{k: v for k, v in scores.items() if k not in samples}, **ledger})
    return rows


@pytest.fixture
def everything(client):
    """All pages of a list of samples, one after the other."""

    def pages(query, size=37):
        found, after = [], ""
        while True:
            body = client.get(f"/api/runs/made/samples?{query}&size={size}&after={after}").json()
            found += body["samples"]
            after = body["after"]
            if not after:
                assert len(found) == body["total"]
                return found

    return pages
