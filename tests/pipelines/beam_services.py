"""Starts Beam's own portable services on this machine: a job service, and a pool of worker processes."""

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve()
#: Workers must find these tests' modules, as they would find installed ones, and start the same Python by name.
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(HERE.parents[2]), str(HERE.parent)]),
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    "OMP_NUM_THREADS": "1",
}


class Services(NamedTuple):
    """Addresses HOST:PORT of the job service and of the worker pool; the log of the pool and of its workers."""

    job: str
    pool: str
    pool_log: Path

    @property
    def external(self) -> list[str]:
        """Options for workers in processes of the pool."""
        return [f"--job_endpoint={self.job}", "--environment_type=EXTERNAL", f"--environment_config={self.pool}"]

    @property
    def loopback(self) -> list[str]:
        """Options for workers in the driver's process."""
        return [f"--job_endpoint={self.job}", "--environment_type=LOOPBACK"]


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def wait_for(address: str, process: subprocess.Popen, seconds: float = 120) -> None:
    """Return when something listens at HOST:PORT; fail where the process ends first."""
    host, _, port = address.partition(":")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the service at {address} ended with {process.returncode}"
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"nothing listens at {address} after {seconds} s")


@contextmanager
def ended(process: subprocess.Popen):
    """End the process with the block: asked to, and killed where it has not after 20 seconds."""
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def running(address: str, *arguments: str, log: Path, environment: dict[str, str] | None = None):
    """Run a Python module as a server until the block ends."""
    with log.open("wb") as stream:
        server = subprocess.Popen(
            [sys.executable, "-m", *arguments], env=environment or ENVIRONMENT, stdout=stream, stderr=stream
        )
    with ended(server):
        wait_for(address, server)
        yield server


@contextmanager
def beam_services(folder: Path, environment: dict[str, str] | None = None):
    """Run both services until the block ends; `environment` is that of the workers."""
    job, pool = free_port(), free_port()
    runners = "apache_beam.runners"
    with (
        running(
            f"localhost:{job}", f"{runners}.portability.local_job_service_main", "-p", str(job), log=folder / "job.log"
        ),
        running(
            f"localhost:{pool}",
            f"{runners}.worker.worker_pool_main",
            f"--service_port={pool}",
            log=folder / "pool.log",
            environment=environment,
        ),
    ):
        yield Services(f"localhost:{job}", f"localhost:{pool}", folder / "pool.log")
