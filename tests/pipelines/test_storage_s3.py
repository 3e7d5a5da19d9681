"""Whole jobs on a real S3 server: the same dataset as on a disk, and every command that reads one."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from beam_services import beam_services, free_port
from making import assay_command, sample, write_recipe, write_tar
from s3_server import BUCKET, child_environment, in_this_process, printed_json, s3_server

from pipelines.commands.main import invoke
from pipelines.registry.store import create_registry
from pipelines.run.directory import open_run
from pipelines.run.storage import Store

RUN = f"s3://{BUCKET}/runs/first"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("moto")) as found:
        yield found


@pytest.fixture(scope="module")
def patch():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def made(server, patch, tmp_path_factory):
    """12 samples by three artists, made into a dataset on S3 through the environment's variables alone."""
    folder = tmp_path_factory.mktemp("s3")
    for shard in range(2):
        write_tar(folder / "in" / f"{shard}.tar", *[sample(10 * shard + i) for i in range(6)])
    create_registry(str(folder / "registry.sqlite")).close()
    recipe = write_recipe(
        folder,
        folder / "in",
        shards={"samples": 8},
        rules={"sharpness": {"keep_top": 0.9}},
        rights={"registry": str(folder / "registry.sqlite")},
    )
    command = assay_command("run", recipe, "--out", RUN, "--runner", "plain", "--json")
    done = subprocess.run(command, capture_output=True, text=True, env=child_environment(server))
    assert done.returncode == 0, done.stderr
    in_this_process(patch, server)
    return recipe, json.loads(done.stdout)


def test_the_dataset_is_that_of_a_disk_and_of_memory(made, tmp_path, capsys):
    recipe, told = made
    for out in (tmp_path / "run", "memory://assay/run"):
        assert invoke(["run", str(recipe), "--out", str(out), "--runner", "plain", "--json"]) == 0
        assert printed_json(capsys)["content_hash"] == told["content_hash"]


def made_elsewhere(recipe, name, server, *words):
    """The content hash of a run on S3 by other workers than the driver."""
    command = assay_command("run", recipe, "--out", f"s3://{BUCKET}/runs/{name}", "--json", *words)
    done = subprocess.run(command, capture_output=True, text=True, env=child_environment(server))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["content_hash"]


@pytest.mark.e2e
def test_worker_processes_make_the_same_dataset_on_s3(made, server):
    recipe, told = made
    assert made_elsewhere(recipe, "workers", server, "--workers", 2) == told["content_hash"]


@pytest.mark.e2e
def test_portable_workers_make_the_same_dataset_on_s3(made, server, tmp_path):
    recipe, told = made
    with beam_services(tmp_path, child_environment(server)) as services:
        words = ["--runner", "PortableRunner", *services.external]
        assert made_elsewhere(recipe, "portable", server, *words) == told["content_hash"]


def test_status_tells_stage_parts_rows_and_rate(made, capsys):
    assert invoke(["status", RUN, "--json"]) == 0
    status = printed_json(capsys)
    assert (status["stage"], status["samples"], status["scored"]) == ("done", 12, 12)
    assert status["balanced"] is True
    assert status["rate"] > 0
    assert set(status["seconds_per_sample"]) >= {"read", "decode", "model"}


def test_status_of_an_unfinished_run_tells_how_many_parts_are_done(made, capsys):
    recipe, _ = made
    out = f"s3://{BUCKET}/runs/unfinished"
    assert invoke(["ingest", str(recipe), "--out", out, "--runner", "plain"]) == 0
    store = Store(out)
    for name, stage, parts in (
        ("samples/part-00001.done.json", "score", {"done": 0, "all": 2}),
        (None, "ingest", {"done": 1, "all": 2}),
    ):
        capsys.readouterr()
        assert invoke(["status", out, "--json"]) == 0
        status = printed_json(capsys)
        assert (status["stage"], status["parts"]) == (stage, parts)
        if name:
            store.delete(name)


def test_verify_check_report_and_audit_read_it(made, capsys):
    assert invoke(["manifest", "verify", RUN]) == 0
    assert invoke(["check", RUN]) == 0
    assert invoke(["report", RUN]) == 0
    assert invoke(["audit", RUN, "--json"]) == 0
    assert Store(RUN).read("report.html").startswith(b"<!")


@pytest.mark.e2e
def test_replay_decides_again_from_one_bucket_folder_to_another(made, capsys):
    out = f"s3://{BUCKET}/runs/replayed"
    assert invoke(["replay", RUN, "--set", "rules.sharpness.keep_top=0.5", "--out", out, "--json"]) == 0
    assert invoke(["balance", out, "--runner", "plain"]) == 0
    assert invoke(["manifest", "verify", out]) == 0
    capsys.readouterr()
    assert invoke(["status", out, "--json"]) == 0
    status = printed_json(capsys)
    assert status["samples"] == 12
    assert status["kept"] < 10


@pytest.mark.e2e
def test_an_opt_out_leaves_the_shards_in_place(made, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder, out, registry = made[0].parent, f"s3://{BUCKET}/runs/retracted", str(tmp_path / "registry.sqlite")
    create_registry(registry).close()
    recipe = write_recipe(tmp_path, folder / "in", rights={"registry": registry})
    assert invoke(["run", str(recipe), "--out", out, "--runner", "plain"]) == 0
    before = open_run(out).rows("samples")
    assert invoke(["optout", "add", registry, "--creator", "artist 1"]) == 0
    assert invoke(["check", out]) == 3
    assert invoke(["optout", "apply", out]) == 0
    assert invoke(["check", out]) == 0
    assert invoke(["manifest", "verify", out]) == 0
    capsys.readouterr()
    assert invoke(["status", out, "--json"]) == 0
    status = printed_json(capsys)
    assert status["samples"] == before
    assert status["dropped"]["REGISTRY_OPT_OUT"] > 0
    assert status["balanced"] is True


@pytest.mark.parametrize("command", [["serve", f"s3://{BUCKET}/runs"]])
def test_what_needs_a_disk_says_so_in_one_line(made, command, capsys):
    assert invoke(command) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_bucket_that_is_not_there_is_told_in_one_line(made, capsys):
    recipe, _ = made
    assert invoke(["run", str(recipe), "--out", "s3://no-such-bucket/run", "--runner", "plain"]) == 2
    assert invoke(["status", "s3://no-such-bucket/run"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 2
    assert all("s3://no-such-bucket/run" in line for line in lines)


@pytest.mark.faults
@pytest.mark.parametrize("wrong", ["no server", "no keys"])
def test_a_server_that_is_not_there_and_keys_that_nobody_gave_are_told_in_one_line(server, wrong):
    environment = {**child_environment(server), "AWS_MAX_ATTEMPTS": "1", "AWS_EC2_METADATA_DISABLED": "true"}
    if wrong == "no keys":
        environment |= {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "HOME": "/nonexistent"}
    else:
        environment["FSSPEC_S3_ENDPOINT_URL"] = f"http://127.0.0.1:{free_port()}"
    done = subprocess.run(assay_command("status", RUN), capture_output=True, text=True, env=environment)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert RUN.removeprefix("s3://") in line
    assert ("connect" if wrong == "no server" else "credentials") in line


def test_a_block_that_fails_leaves_nothing(made):
    store = Store(f"s3://{BUCKET}/plain")

    def half():
        with store.create("half.bin") as path:
            path.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert not store.exists("half.bin")


UPLOAD = """
import sys
from pipelines.run.storage import Store
Store(sys.argv[1]).write("large.bin", bytes(400 << 20))
"""


@pytest.mark.faults
def test_a_killed_upload_in_several_pieces_leaves_no_object(server, patch):
    """Killed once the server has a piece and not yet all: the object is not there, and the next upload is whole."""
    in_this_process(patch, server)
    import fsspec

    url = f"s3://{BUCKET}/large"
    upload = subprocess.Popen([sys.executable, "-c", UPLOAD, url], env=child_environment(server))
    fs = fsspec.filesystem("s3")
    deadline = time.monotonic() + 200
    begun: list[object] = []
    while not begun and upload.poll() is None and time.monotonic() < deadline:
        begun = fs.call_s3("list_multipart_uploads", Bucket=BUCKET).get("Uploads", [])
        time.sleep(0.02)
    assert begun, "the upload was over, or never began in pieces"
    os.kill(upload.pid, signal.SIGKILL)
    assert upload.wait() == -signal.SIGKILL
    store = Store(url)
    fs.invalidate_cache()
    assert not store.exists("large.bin")
    assert store.list("") == []
    store.write("large.bin", b"whole")
    assert store.read("large.bin") == b"whole"


@pytest.mark.faults
def test_two_jobs_on_one_folder_do_no_harm(made, server):
    """There is no lock on S3: both may do the same parts, one may stop with one line; the dataset is the same."""
    recipe, told = made
    command = assay_command("run", recipe, "--out", f"s3://{BUCKET}/runs/twice", "--runner", "plain", "--json")
    environment = child_environment(server)
    jobs = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for job in jobs:
        _, words = job.communicate(timeout=280)
        assert job.returncode in (0, 2), words
        assert "Traceback" not in words
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["content_hash"] == told["content_hash"]
    assert invoke(["manifest", "verify", f"s3://{BUCKET}/runs/twice"]) == 0
