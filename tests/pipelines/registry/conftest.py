"""Registries for the tests: files, and a real PostgreSQL server where it can be had."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from filters.optout.matching import COLUMNS
from pipelines.registry import Registry, create_registry

_SECONDS = 180


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """An empty registry in a file."""
    with create_registry(str(tmp_path / "registry.sqlite")) as made:
        yield made


def _programs() -> Path:
    """Return the folder of PostgreSQL's server programs, installed from Debian's package where root may."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            pytest.skip("no PostgreSQL server, and only root can install Debian's package postgresql")
        command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "postgresql"]
        try:
            done = subprocess.run(
                command, capture_output=True, timeout=_SECONDS, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"Debian's package postgresql was not installed within {_SECONDS} s")
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if done.returncode or not found:
            pytest.skip("Debian's package postgresql cannot be installed here")
    return found[-1].parent


def _user() -> Callable[[], None] | None:
    """Return what a child does to stop being root, whom PostgreSQL refuses."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return lambda entry=entry: (os.setgid(entry.pw_gid), os.setuid(entry.pw_uid))[0]
    pytest.skip("no user but root to run PostgreSQL as")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A fresh PostgreSQL server on 127.0.0.1; its URL without a database."""
    pytest.importorskip("pg8000", reason="no pg8000: install assay-data[postgres]")
    programs, become = _programs(), _user()
    folder = Path(tempfile.mkdtemp(prefix="assay-postgres-"))
    folder.chmod(0o777)
    data, port = folder / "data", _free_port()
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    secret = folder / "secret"
    secret.write_text("se:cret@1")
    secret.chmod(0o644)
    made = subprocess.run(
        [
            programs / "initdb",
            "-D",
            data,
            "-U",
            "assay",
            "-E",
            "UTF8",
            "-A",
            "scram-sha-256",
            "--pwfile",
            secret,
            "-N",
        ],
        **{"preexec_fn": become, "env": environment, "cwd": folder},
        capture_output=True,
        text=True,
    )
    if made.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"initdb fails here: {made.stderr.strip().splitlines()[-1:]}")
    log = (folder / "log").open("wb")
    server = subprocess.Popen(
        [programs / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", folder, "-F"],
        **{"preexec_fn": become, "env": environment, "cwd": folder},
        stdout=log,
        stderr=log,
    )
    try:
        _await(server, port, folder / "log")
        yield f"postgresql://assay:se%3Acret%401@127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGQUIT)  # waits for no client and writes no checkpoint
        server.wait(60)
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def _await(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(600):
        if server.poll() is not None:
            pytest.skip(f"PostgreSQL does not start here: {log.read_text()[-300:]}")
        if "ready to accept connections" in log.read_text():
            return
        time.sleep(0.1)
    pytest.fail(f"PostgreSQL on port {port} was not ready within a minute")


@pytest.fixture
def postgres_url(postgres_server: str, request: pytest.FixtureRequest) -> str:
    """The URL of an empty database of its own."""
    import pg8000.dbapi

    port = int(postgres_server.rpartition(":")[2])
    connection = pg8000.dbapi.connect(
        user="assay", password="se:cret@1", host="127.0.0.1", port=port, database="postgres"
    )
    connection.autocommit = True
    name = f"test_{abs(hash(request.node.nodeid)) % 10**9}"
    connection.cursor().execute(f"CREATE DATABASE {name}")
    connection.close()
    return f"{postgres_server}/{name}"


@pytest.fixture
def samples_of() -> Callable[..., pa.Table]:
    """A function that makes a samples table from the columns given; the others are empty."""

    def make(**columns: list[str | None]) -> pa.Table:
        count = len(next(iter(columns.values())))
        columns.setdefault("uid", [f"{at:032x}" for at in range(count)])
        return pa.table({name: pa.array(columns.get(name, [None] * count), pa.string()) for name in COLUMNS})

    return make
