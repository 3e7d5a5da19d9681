"""Portable jobs over real gRPC: a job service and worker processes of their own, as on a cluster."""

import json
import logging
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from beam_services import ENVIRONMENT, beam_services, free_port
from making import assay_command, sample, write_recipe, write_tar
from portable_work import Hungry, Work

from filters.errors import BadInput
from pipelines.commands.main import invoke
from pipelines.engine import Engine, StageError, part_pipeline, run_parts
from pipelines.run.directory import open_run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    with beam_services(tmp_path_factory.mktemp("beam")) as found:
        yield found


def processes(folder):
    return {int(path.read_text()) for path in folder.iterdir() if path.name.isdigit()}


def test_parts_run_in_processes_of_the_pool_and_the_runner_counts_them(services, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="assay")
    run_parts(Engine("PortableRunner", tuple(services.external)), "test", Work(tmp_path), range(3))
    assert len(list(tmp_path.glob("[0-9]"))) == 3
    assert os.getpid() not in processes(tmp_path)
    assert caplog.messages[-1] == "test: 3 failures, 3 parts, 9 samples, by the runner's counters"
    told = [line for line in services.pool_log.read_text().splitlines() if "test part" in line]
    assert len(told) == 3
    assert all(line.endswith("1 failures (UNDECODABLE 1)") for line in told)


def test_loopback_runs_in_the_driver_and_logs_each_part(services, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="assay")
    run_parts(Engine("PortableRunner", tuple(services.loopback)), "test", Work(tmp_path), range(2))
    assert processes(tmp_path) == {os.getpid()}
    lines = [line for line in caplog.messages if line.startswith("test part")]
    assert sorted(line.partition(",")[0] for line in lines) == ["test part 0: 3 samples", "test part 1: 3 samples"]
    assert all(line.endswith("1 failures (UNDECODABLE 1)") for line in lines)


@pytest.mark.parametrize("kind", ["external", "loopback"])
def test_an_error_that_a_user_can_act_on_crosses_as_one_line(services, tmp_path, kind):
    engine = Engine("PortableRunner", tuple(getattr(services, kind)))
    with pytest.raises(StageError) as caught:
        run_parts(engine, "test", Work(tmp_path, bad=True), range(2))
    assert str(caught.value) == "part 1: the file is broken; get it again – «ü»"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("missing", ["job", "pool"])
def test_a_service_that_is_not_there_is_told_in_one_line(services, tmp_path, missing):
    nobody = f"localhost:{free_port()}"
    there = services._replace(**{missing: nobody})
    engine = Engine("PortableRunner", (*there.external, "--job_server_timeout=2"))
    with pytest.raises(BadInput, match=r"answer.*; assay doctor with the same options tells more") as caught:
        run_parts(engine, "test", Work(tmp_path), range(2))
    assert len(str(caught.value).splitlines()) == 1


DRIVER = """
import signal, sys
from pathlib import Path
from filters.errors import AssayError
from pipelines.engine import Engine, interrupt, run_parts
from portable_work import Work
signal.signal(signal.SIGINT, interrupt)
try:
    run_parts(Engine("PortableRunner", tuple(sys.argv[2:])), "test", Work(Path(sys.argv[1]), seconds=2), range(60))
except KeyboardInterrupt:
    sys.exit(130)
"""


def job_states(address):
    """The states of a job service's jobs by name, asked over gRPC as any other client would."""
    import grpc
    from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

    with grpc.insecure_channel(address) as channel:
        stub = beam_job_api_pb2_grpc.JobServiceStub(channel)
        jobs = stub.GetJobs(beam_job_api_pb2.GetJobsRequest()).job_info
        return {job.job_id: beam_job_api_pb2.JobState.Enum.Name(job.state) for job in jobs}


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.faults)])
def test_a_driver_that_is_told_to_end_cancels_its_job(tmp_path, number):
    (tmp_path / "parts").mkdir()
    with beam_services(tmp_path) as own:
        command = [sys.executable, "-c", DRIVER, str(tmp_path / "parts"), *own.external]
        driver = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 120
        while not list((tmp_path / "parts").iterdir()) and time.monotonic() < deadline and driver.poll() is None:
            time.sleep(0.1)
        driver.send_signal(number)
        _, words = driver.communicate(timeout=60)
        assert driver.returncode == 130, words
        assert "Traceback" not in words
        assert set(job_states(own.job).values()) == {"CANCELLED"}


def test_only_stages_with_a_large_model_ask_for_an_accelerator(tmp_path):
    import apache_beam as beam

    def hints(work, accelerator):
        pipeline = beam.Pipeline()
        part_pipeline(Engine(accelerator=accelerator), "test", work, [0])(pipeline)
        environments = pipeline.to_runner_api().components.environments.values()
        return [value.decode() for found in environments for value in found.resource_hints.values()]

    assert hints(Hungry(tmp_path), "type:nvidia-l4;count:1") == ["type:nvidia-l4;count:1"]
    assert hints(Work(tmp_path), "type:nvidia-l4;count:1") == []
    assert hints(Hungry(tmp_path), None) == []


def small_recipe(folder):
    for shard in range(2):
        write_tar(folder / "in" / f"{shard}.tar", *[sample(10 * shard + i) for i in range(6)])
    return write_recipe(folder, folder / "in", shards={"samples": 8}, rules={"aspect_ratio": {"high": 3}})


def content_hash(recipe, out, *more):
    done = subprocess.run(
        assay_command("run", recipe, "--out", out, "--json", *more), capture_output=True, text=True, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["content_hash"]


def test_a_stage_writes_the_same_files_on_portable_workers(services, tmp_path):
    recipe = small_recipe(tmp_path)
    for name, words in (("plain", ["plain"]), ("external", ["PortableRunner", *services.external])):
        assert invoke(["ingest", str(recipe), "--out", str(tmp_path / name), "--runner", *words]) == 0
    runs = [open_run(str(tmp_path / name)) for name in ("plain", "external")]
    assert runs[0].parts("samples") == runs[1].parts("samples") == [0, 1]
    for part in (0, 1):
        plain, external = (run.marker("samples", part) for run in runs)
        assert plain == external
        assert len(plain.files) >= 2


@pytest.mark.e2e
def test_every_stage_makes_the_same_dataset_on_portable_workers(services, tmp_path):
    recipe = small_recipe(tmp_path)
    expected = content_hash(recipe, tmp_path / "local")
    for kind in ("external", "loopback"):
        options = getattr(services, kind)
        assert content_hash(recipe, tmp_path / kind, "--runner", "PortableRunner", *options) == expected


@pytest.fixture
def drawings(openclipart, tmp_path):
    """300 real drawings of three shards, in three shards."""
    folder = tmp_path / "drawings"
    folder.mkdir()
    for number in range(3):
        with (
            tarfile.open(openclipart / f"openclipart-{2 * number:05d}.tar") as source,
            tarfile.open(folder / f"{number}.tar", "w") as target,
        ):
            for member in source.getmembers()[:300]:  # picture, words, facts
                target.addfile(member, source.extractfile(member))
    return folder


@pytest.mark.e2e
@pytest.mark.timeout(1200)
def test_the_demo_s_recipe_makes_the_same_dataset_on_portable_workers(services, drawings, tmp_path):
    """All stages with all models on real drawings: in a loop, in this process, and in processes of the pool."""
    words = ["--set", f"input.path={drawings}", "--set", "shards.samples=100"]
    runs = {"plain": ["plain"], "local": ["FnApiRunner"], "external": ["PortableRunner", *services.external]}
    found = {
        name: content_hash(ROOT / "examples/openclipart.yaml", tmp_path / name, *words, "--runner", *runner)
        for name, runner in runs.items()
    }
    assert len(set(found.values())) == 1, found
    opened = open_run(str(tmp_path / "external"))
    assert opened.rows("scores") == opened.rows("ledger") == 300
    assert len(opened.parts("scores")) == 3
