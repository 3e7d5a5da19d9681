"""Two jobs that start at once on one run: one does the work, the other is told who does."""

import re
import subprocess
import time

import pytest
from making import assay_command, sample, write_recipe, write_tar

from pipelines.run.directory import open_run
from pipelines.run.manifest import read_manifest, verify


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_of_two_runs_that_start_at_once_one_does_the_work_and_the_other_names_it(tmp_path):
    # enough pictures that the first is not done when the second, by chance, starts seconds later
    for shard in range(4):
        rows = (sample(200 * shard + number) for number in range(80))
        write_tar(tmp_path / "in" / f"{shard}.tar", *rows)
    recipe = write_recipe(tmp_path, tmp_path / "in", balance={"by": "creator", "cap": 40})
    begun = time.time()
    jobs = [
        subprocess.Popen(
            assay_command("run", recipe, "--out", tmp_path / "run", "--runner", "plain", "--json"),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    ends = {job.pid: (*job.communicate(timeout=500), job.returncode) for job in jobs}
    codes = {pid: code for pid, (_, _, code) in ends.items()}
    assert sorted(codes.values()) == [0, 2], ends
    winner, loser = sorted(codes, key=lambda pid: codes[pid])
    (line,) = ends[loser][1].strip().splitlines()
    pattern = (
        rf"assay: .*/run: another job works here \(process {winner} on \S+, for (\d+) s\); wait for it or stop it"
    )
    told = re.fullmatch(pattern, line)
    assert told, line
    assert int(told[1]) <= time.time() - begun
    alone = assay_command("run", recipe, "--out", tmp_path / "alone", "--runner", "plain", "--json")
    assert subprocess.run(alone, capture_output=True, check=False).returncode == 0
    one, other = open_run(str(tmp_path / "run")), open_run(str(tmp_path / "alone"))
    assert verify(one) == []
    assert read_manifest(one)["content_hash"] == read_manifest(other)["content_hash"]
