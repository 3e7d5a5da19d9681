"""A real Flink session cluster on this machine: one JobManager and one TaskManager, by deploy/flink's configuration.

Flink is the `apache-flink-libraries` package where that is installed, or the folder `$ASSAY_FLINK_HOME`.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import yaml
from beam_services import ENVIRONMENT, ended, free_port

ROOT = Path(__file__).resolve().parents[2]
SLOTS = 2

#: Flink's shell scripts work these out; there are none here.
MEMORY = {
    "taskmanager.cpu.cores": "1.0",
    "taskmanager.memory.framework.heap.size": "128m",
    "taskmanager.memory.framework.off-heap.size": "128m",
    "taskmanager.memory.task.heap.size": "256m",
    "taskmanager.memory.task.off-heap.size": "0",
    "taskmanager.memory.managed.size": "128m",
    "taskmanager.memory.network.min": "64m",
    "taskmanager.memory.network.max": "64m",
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "192m",
    "taskmanager.memory.jvm-overhead.max": "192m",
}


def flink_home() -> Path | None:
    """The folder that holds Flink's lib/, None where there is none."""
    given = os.environ.get("ASSAY_FLINK_HOME")
    if given:
        return Path(given)
    package = importlib.util.find_spec("pyflink")
    return Path(package.origin or "").parent if package and package.origin else None


def missing() -> str | None:
    """Why no Flink can be started here, None where one can."""
    home = flink_home()
    if home is None or not list((home / "lib").glob("flink-dist-*.jar")):
        return "no Flink: install apache-flink-libraries, or name its folder in ASSAY_FLINK_HOME"
    return None if shutil.which("java") else "no Flink: java is not installed"


def deployed() -> dict[str, object]:
    """The configuration that deploy/flink gives to a cluster."""
    document = yaml.safe_load((ROOT / "deploy/flink/flink-config.yaml").read_text())
    return yaml.safe_load(document["data"]["config.yaml"])


class Flink(NamedTuple):
    """Flink's REST address."""

    rest: str

    def get(self, path: str) -> dict:
        with urllib.request.urlopen(self.rest + path, timeout=20) as answer:
            return json.load(answer)


@contextmanager
def _java(log: Path, options: str, *arguments: str):
    jars = os.pathsep.join(str(jar) for jar in sorted((flink_home() / "lib").glob("*.jar")))
    command = ["java", "-Xmx512m", *options.split(), "-cp", jars, *arguments]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env=ENVIRONMENT)
    with ended(process):
        yield process


@contextmanager
def flink_cluster(folder: Path):
    """Run a JobManager and a TaskManager until the block ends."""
    port = free_port()
    settings = {
        **deployed(),
        "jobmanager.rpc.address": "localhost",
        "jobmanager.rpc.port": free_port(),
        "blob.server.port": free_port(),
        "taskmanager.rpc.port": free_port(),
        "taskmanager.host": "localhost",
        "taskmanager.numberOfTaskSlots": SLOTS,
        "rest.port": port,
        "io.tmp.dirs": str(folder),
        "web.upload.dir": str(folder),
        **MEMORY,
    }
    for name in ("taskmanager.memory.process.size", "jobmanager.memory.process.size"):
        del settings[name]
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    options = str(settings["env.java.opts.all"])
    runtime = "org.apache.flink.runtime"
    where = ["--configDir", str(folder)]
    with ExitStack() as stack:
        entries = {
            "jm": [f"{runtime}.entrypoint.StandaloneSessionClusterEntrypoint"],
            "tm": [f"{runtime}.taskexecutor.TaskManagerRunner"],
        }
        found = [
            stack.enter_context(_java(folder / f"{name}.log", options, *entry, *where))
            for name, entry in entries.items()
        ]
        flink = Flink(f"http://127.0.0.1:{port}")
        deadline = time.monotonic() + 180
        while not _slots(flink):
            ended = [process.returncode for process in found if process.poll() is not None]
            logs = "\n".join((folder / f"{name}.log").read_text()[-2000:] for name in entries)
            assert not ended, f"Flink ended with {ended}: {logs}"
            assert time.monotonic() < deadline, f"no TaskManager after 180 s: {logs}"
            time.sleep(0.5)
        yield flink


def _slots(flink: Flink) -> int:
    try:
        return int(flink.get("/overview")["slots-total"])
    except OSError:
        return 0
