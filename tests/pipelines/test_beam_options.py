"""Words for Beam that nobody knows, and jobs that could not start, are one line each before anything is sent."""

import socket
import subprocess
import sys

import pytest
from beam_services import free_port
from making import sample, write_recipe, write_tar

from filters.errors import BadInput
from pipelines.beam_options import option_problems, unknown_words
from pipelines.commands.main import invoke
from pipelines.engine import Engine, run_parts

JAR = "--spark_job_server_jar=/none/beam.jar"


@pytest.mark.parametrize(
    ("words", "unknown"),
    [
        (["--wrokers", "2", "nonsense"], ["--wrokers", "2", "nonsense"]),
        (["--parallelism=3", "b", "--direct_num_workers", "2"], ["b"]),
        (["--paral=3"], ["--paral=3"]),
        (["-h"], ["-h"]),
        (["--project", "p", "--experiments", "a", "--experiments", "b", "--flink_submit_uber_jar"], []),
    ],
)
def test_words_that_beam_does_not_know_are_found(words, unknown):
    assert unknown_words(words) == unknown


@pytest.fixture
def recipe(tmp_path):
    write_tar(tmp_path / "in" / "0.tar", sample(1))
    return str(write_recipe(tmp_path, tmp_path / "in"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--wrokers", "2", "nonsense"], "neither assay nor Beam knows: --wrokers 2 nonsense; meant --workers?"),
        (["--runner", "plain", "--sett", "a=1"], "neither assay nor Beam knows: --sett a=1; meant --set?"),
        (["--runner", "plain", "--parallelism=3"], "--runner plain takes no further options: --parallelism=3"),
        (["--parallelism=three"], "Beam does not understand --parallelism: invalid int value: 'three'"),
    ],
)
@pytest.mark.parametrize("command", ["ingest", "run"])
def test_a_mistyped_option_is_refused_before_anything_is_written(recipe, tmp_path, capfd, command, words, told):
    assert invoke([command, recipe, "--out", str(tmp_path / "run"), *words]) == 2
    assert capfd.readouterr().err == f"assay: {told}\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", [["score"], ["dedup"], ["balance"], ["audit"], ["optout", "match"]])
def test_every_command_that_takes_a_runner_refuses_them(recipe, tmp_path, capfd, command):
    run = str(tmp_path / "run")
    assert invoke(["ingest", recipe, "--out", run, "--runner", "plain"]) == 0
    capfd.readouterr()
    assert invoke([*command, run, "--wrokers", "2"]) == 2
    assert capfd.readouterr().err == "assay: neither assay nor Beam knows: --wrokers 2; meant --workers?\n"


@pytest.mark.parametrize(
    ("runner", "words", "problem"),
    [
        ("DataflowRunner", ["--temp_location=gs://bucket/t", "--region=r"], "Missing required option: project"),
        ("SparkRunner", [], "--spark_job_server_jar=PATH is missing"),
        ("SparkRunner", [JAR], "/none/beam.jar: no such file on this machine"),
        ("SparkRunner", [JAR, "--spark_submit_uber_jar"], "needs --spark_rest_url"),
        ("FlinkRunner", ["--flink_submit_uber_jar"], "--flink_job_server_jar=PATH is missing"),
        ("PrismRunner", [], "--prism_location=PATH"),
        ("PortableRunner", [], "PortableRunner needs --job_endpoint=HOST:PORT"),
    ],
)
def test_a_job_that_cannot_start_is_refused_in_one_line(monkeypatch, runner, words, problem):
    def no_network(*_, **__):
        raise AssertionError("a job that cannot start has reached for the network")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    with pytest.raises(BadInput) as caught:
        run_parts(Engine(runner, tuple(words)), "test", None, [0])
    assert problem in str(caught.value)
    assert str(caught.value).startswith(f"--runner {runner}: ")
    assert len(str(caught.value).splitlines()) == 1


def test_a_spark_master_that_nobody_reaches_is_told():
    port = free_port()
    problems = option_problems("SparkRunner", [JAR, f"--spark_master_url=spark://127.0.0.1:{port}"])
    assert [problem for problem in problems if f"127.0.0.1:{port}: cannot be reached" in problem]
    with socket.create_server(("127.0.0.1", port)):
        problems = option_problems("SparkRunner", [JAR, f"--spark_master_url=spark://127.0.0.1:{port}"])
    assert not [problem for problem in problems if "reached" in problem]


def test_beam_comes_without_a_word_on_standard_error():
    command = [sys.executable, "-c", "from pipelines.engine import load_beam; load_beam()"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stderr == ""
