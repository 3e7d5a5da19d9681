"""The doctor of a cluster: each thing that does not see the other has one line, and the canary tells where it ran."""

import json
import os
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import pytest
from beam_services import ENVIRONMENT, beam_services, free_port
from making import assay_command
from portable_work import Work
from test_portable import job_states

from pipelines.commands.canary import Canary, Note
from pipelines.commands.doctor_cluster import canary_for, cause, cluster_checks, compared
from pipelines.engine import Engine
from pipelines.portable import cancel_on_flink

SECONDS = 120.0
JAR = "--flink_job_server_jar=/none/beam.jar"


def failed(checks):
    return {check["name"]: check["detail"] for check in checks if not check["ok"] and check["name"] != "canary"}


def test_the_canary_tells_where_it_ran_and_whether_the_place_is_shared(tmp_path):
    with beam_services(tmp_path) as services:
        engine = Engine("PortableRunner", tuple(services.external))
        out = str(tmp_path / "out")
        checks = {
            check["name"]: check for check in cluster_checks(engine, canary_for(out, (), None, ""), out, SECONDS)
        }
        assert all(check["ok"] for check in checks.values()), checks
        assert checks["shared storage"]["detail"].endswith("all 4 notes of the workers read")
        assert checks["workers seen"]["detail"].startswith("1 processes on 1 hosts")

        # workers that never end their parts: the doctor waits no longer than it was told, and cancels the job
        found = cluster_checks(engine, Work(tmp_path, seconds=2), out, 3)
        assert found[-1]["detail"].startswith("no end within 3 s")
        assert sorted(job_states(services.job).values()) == ["CANCELLED", "DONE"]

        # a place that each worker process has of its own is not shared
        told = failed(cluster_checks(engine, canary_for("memory://own", (), None, ""), "memory://own", SECONDS))
        assert "of 4 notes that workers wrote, 0 are seen here" in told["shared storage"]


@pytest.mark.e2e
def test_the_models_are_loaded_by_the_workers(tmp_path):
    """As a user would: the command line, a job service, a pool of worker processes, a folder that both see."""
    with beam_services(tmp_path) as services:
        out = tmp_path / "out"
        command = assay_command("doctor", "--runner", "PortableRunner", *services.external, "--out", out, "--json")
        done = subprocess.run(command, capture_output=True, text=True, env={**ENVIRONMENT, "ASSAY_CORES": "1"})
        checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
        assert done.returncode == 0, done.stderr
        assert "processes on 1 hosts" in checks["workers seen"]["detail"]
        assert "similarity" in checks["models of the workers"]["detail"]
        assert checks["apache-beam of the workers"]["ok"]
        assert list(out.iterdir()) == []

        # a model that only the driver could have: the worker's own words, and the command fails
        engine = Engine("PortableRunner", tuple(services.external))
        canary = canary_for(str(out), ("similarity",), None, "file:/none/such.safetensors?arch=ViT-B-32")
        told = failed(cluster_checks(engine, canary, str(out), SECONDS))
        assert set(told) == {"models of the workers"}
        assert "/none/such.safetensors" in told["models of the workers"]


def test_what_cannot_be_reached_is_told_before_a_job_is_sent(tmp_path):
    nobody = f"localhost:{free_port()}"
    options = (f"--job_endpoint={nobody}", "--environment_type=EXTERNAL", f"--environment_config={nobody}")
    (tmp_path / "file").write_text("")
    out = str(tmp_path / "file" / "below")
    found = cluster_checks(Engine("PortableRunner", options), Canary(None), out, SECONDS)
    told = failed(found)
    assert set(told) == {"job endpoint", "workers", "storage"}
    assert nobody in told["workers"]
    assert "--environment_config" in told["workers"]
    assert found[-1]["detail"].startswith("not sent")


@pytest.mark.parametrize(
    ("runner", "options", "words"),
    [
        ("PortableRunner", [], "needs --job_endpoint"),
        ("FlinkRunner", [JAR], "starts a Flink of its own"),
        ("FlinkRunner", ["--flink_master=x:1", JAR, "--paralelism=3"], "Beam does not know --paralelism"),
        ("FlinkRunner", ["--flink_master=x:1", "--parallelism=three"], "does not understand --parallelism"),
        ("PortableRunner", ["--job_endpoint=x:1", "--environment_type=EXTERNAL"], "needs --environment_config"),
    ],
)
def test_options_that_cannot_work_are_told_first(runner, options, words):
    told = failed(cluster_checks(Engine(runner, tuple(options)), Canary(None), None, SECONDS))
    assert set(told) == {"options"}
    assert words in told["options"]


class Rest(NamedTuple):
    """A server of HTTP answers like Flink's, and what was asked of it."""

    address: str
    asked: list[str]


@contextmanager
def flink_rest(overview, jobs=()):
    """Answers as Flink's documented REST interface does; a real Flink is asked in test_flink.py."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(f"GET {self.path}")
            body = {"/overview": overview, "/jobs/overview": {"jobs": list(jobs)}}[self.path]
            self.answer(200, body)

        def do_PATCH(self):
            asked.append(f"PATCH {self.path}")
            self.answer(202, {})

        def answer(self, status, body):
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Rest(f"http://127.0.0.1:{server.server_port}", asked)
    finally:
        server.shutdown()
        server.server_close()


def test_flink_without_workers_of_another_version_or_without_the_jar_is_told():
    with flink_rest({"taskmanagers": 0, "slots-total": 0, "flink-version": "1.20.3"}) as flink:
        options = (f"--flink_master={flink.address}", JAR)
        told = failed(cluster_checks(Engine("FlinkRunner", options), Canary(None), None, SECONDS))
    assert "no TaskManager has reached it" in told["flink"]
    assert told["flink version"] == "the cluster runs Flink 1.20.3, --flink_version says 2.2"
    assert told["flink jar"] == "/none/beam.jar: no such file on this machine"


def test_no_flink_at_the_address_is_told():
    options = (f"--flink_master=127.0.0.1:{free_port()}", JAR)
    told = failed(cluster_checks(Engine("FlinkRunner", options), Canary(None), None, SECONDS))
    assert "is the JobManager up" in told["flink"]
    assert told["storage"].startswith("not looked at: give --out URL")


def test_only_the_driver_s_own_running_job_is_cancelled_on_flink():
    jobs = [
        {"jid": "a1", "name": "assay-score-1234", "state": "RUNNING"},
        {"jid": "a2", "name": "assay-score-1234", "state": "FINISHED"},
        {"jid": "b1", "name": "assay-score-9999", "state": "RUNNING"},
    ]
    with flink_rest({}, jobs) as flink:
        assert cancel_on_flink(flink.address, "assay-score-1234") == ["a1"]
        assert flink.asked == ["GET /jobs/overview", "PATCH /jobs/a1?mode=cancel"]


def test_workers_of_other_versions_are_told_but_a_bug_fix_release_of_python_is_fine():
    import platform
    from importlib import metadata

    from filters import __version__

    same = {"python": platform.python_version(), "apache-beam": metadata.version("apache-beam"), "assay": __version__}
    minor = ".".join(platform.python_version().split(".")[:2])

    def check(**versions):
        return failed(
            [vars(found) for found in compared([Note("one", 1, 2, same), Note("two", 1, 2, {**same, **versions})])]
        )

    assert check() == {}
    assert check(python=f"{minor}.99") == {}
    assert set(check(python="3.99.1")) == {"python of the workers"}
    told = check(**{"apache-beam": "2.60.0", "assay": "0.0.1"})
    assert set(told) == {"apache-beam of the workers", "assay of the workers"}
    assert "2.60.0" in told["apache-beam of the workers"]


def test_the_cause_is_found_in_a_runner_s_long_text():
    text = (
        "Pipeline job-1 failed in state FAILED: Traceback\n  File\nModuleNotFoundError: No module named 'pipelines'\n"
    )
    assert cause(RuntimeError(text)).startswith("ModuleNotFoundError: No module named 'pipelines'; the workers need")


def test_places_of_a_cluster_make_no_sense_for_a_runner_of_this_machine(capsys):
    from pipelines.commands.main import invoke

    assert invoke(["doctor", "--out", os.devnull]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
