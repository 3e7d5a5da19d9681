"""Match probability is measured on the run itself, and a rule on it becomes a bound on the similarity."""

import json

import numpy as np
import pytest

from pipelines.commands.main import invoke
from pipelines.jobs.calibrate import calibrate, load_calibration
from pipelines.run.directory import open_run


def test_the_run_carries_its_calibration_and_the_manifest_names_it(real_run):
    run = open_run(str(real_run.folder))
    found = load_calibration(run.store)
    assert found.matched > 150
    assert found.mismatched > 2 * found.matched
    assert 0.5 < found.auc < 1.0
    manifest = json.loads((real_run.folder / "manifest.json").read_text())
    assert manifest["content"]["calibration"]["slope"] == found.slope
    before = (real_run.folder / "statistics" / "calibration.json").stat().st_mtime_ns
    calibrate(run)
    assert (real_run.folder / "statistics" / "calibration.json").stat().st_mtime_ns == before


def test_a_bound_on_the_probability_keeps_exactly_what_is_that_probable(real_run, tmp_path):
    out = str(tmp_path / "new")
    settings = ["rules={match_probability: {low: 0.6}}", "balance=null", "duplicates=null"]
    overrides = [word for setting in settings for word in ("--set", setting)]
    assert invoke(["replay", str(real_run.folder), "--out", out, *overrides]) == 0
    run = open_run(out)
    calibration = load_calibration(run.store)
    similarity = np.concatenate([t.column("similarity").to_numpy() for t in run.tables("scores", ["similarity"])])
    low = [row["primary_reason"] == "LOW_SIMILARITY" for t in run.tables("ledger") for row in t.to_pylist()]
    scored = np.isfinite(similarity)
    licensed = np.array([r["primary_reason"] is None or r["primary_reason"] == "LOW_SIMILARITY"
                         for t in run.tables("ledger") for r in t.to_pylist()])  # fmt: skip
    expected = calibration.probability(similarity) < 0.6
    both = scored & licensed
    assert (np.array(low)[both] == expected[both]).mean() > 0.99
    rules = run.marker("ledger", 0).facts["rules"]
    assert rules[-1]["column"] == "similarity"
    assert rules[-1]["low"] == pytest.approx(calibration.bound(0.6), abs=1e-5)
