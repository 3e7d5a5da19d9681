"""What `assay doctor --runner …` asks of a cluster: do driver, Flink, job service, workers and storage see each other?

The last check is a small job, the canary: each worker leaves a note under `--out`, which the driver reads back.
"""

from __future__ import annotations

import os
import platform
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from filters import __version__
from filters.cores import available_cores
from filters.errors import AssayError, BadInput, first_line
from pipelines.beam_options import not_reached, option_problems
from pipelines.commands.canary import Canary, Note, read_notes
from pipelines.engine import Engine, run_parts
from pipelines.portable import flink_address, flink_answer
from pipelines.run.storage import Store

_LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]", "::1")

#: Parts of the canary where nobody tells how many workers there are.
_PARTS = 4


@dataclass(frozen=True)
class Check:
    """One line of the doctor."""

    name: str
    ok: bool
    detail: str


def cluster_checks(engine: Engine, canary: Canary, out: str | None, seconds: float) -> list[dict[str, Any]]:
    """Return all checks of the cluster that `engine` names; the canary runs only where the others passed.

    `seconds` bound the canary's run.
    """
    found = [*_options(engine)]
    if all(check.ok for check in found):
        options = _parsed(engine)
        found += [*_flink(engine, options), *_endpoint(options), *_pool(engine, options), *_storage(out)]
    if all(check.ok for check in found):
        found += _canary(engine, canary, out, _parts(found, engine), seconds)
    else:
        found.append(Check("canary", False, "not sent: the checks before it did not pass"))
    return [asdict(check) for check in found]


def _parsed(engine: Engine) -> Any:
    from apache_beam.options.pipeline_options import PipelineOptions

    return PipelineOptions(list(engine.options))


def _options(engine: Engine) -> list[Check]:
    """Look at the Beam options alone."""
    from apache_beam.options.pipeline_options import FlinkRunnerOptions, PortableOptions

    try:
        problems = option_problems(engine.runner, engine.options)
    except BadInput as error:
        return [Check("options", False, str(error))]
    options = _parsed(engine)
    endpoint = options.view_as(PortableOptions).job_endpoint
    if engine.runner == "FlinkRunner" and flink_address(options) is None and not endpoint:
        master = options.view_as(FlinkRunnerOptions).flink_master
        problems.append(f"--flink_master={master} starts a Flink of its own; name the cluster's http://HOST:8081")
    words = " ".join(engine.options) or "none"
    return [Check("options", False, problem) for problem in problems] or [Check("options", True, words)]


def _flink(engine: Engine, options: Any) -> list[Check]:
    """Ask Flink's REST interface what it has, and compare its version with the option and the jar."""
    from apache_beam.options.pipeline_options import FlinkRunnerOptions

    address = flink_address(options)
    if engine.runner != "FlinkRunner" or address is None:
        return []
    try:
        overview = flink_answer(address, "/overview")
    except BadInput as error:
        return [Check("flink", False, f"{error}; is the JobManager up, and is this its REST address?")]
    version = str(overview.get("flink-version", "?"))
    managers, slots = int(overview.get("taskmanagers", 0)), int(overview.get("slots-total", 0))
    detail = f"{address}: Flink {version}, {managers} TaskManagers, {slots} slots"
    found = [Check("flink", slots > 0, detail + ("" if slots else "; no slot: no TaskManager has reached it"))]
    flink = options.view_as(FlinkRunnerOptions)
    if version.rsplit(".", 1)[0] != flink.flink_version:
        problem = f"the cluster runs Flink {version}, --flink_version says {flink.flink_version}"
        found.append(Check("flink version", False, problem))
    jar = flink.flink_job_server_jar
    if jar and "://" not in jar:
        there = os.path.exists(jar)
        found.append(Check("flink jar", there, jar if there else f"{jar}: no such file on this machine"))
    return found


def _endpoint(options: Any) -> list[Check]:
    from apache_beam.options.pipeline_options import PortableOptions

    endpoint = options.view_as(PortableOptions).job_endpoint
    if not endpoint or endpoint == "embed":
        return []
    return [_reached("job endpoint", endpoint, "start the job service there, or correct --job_endpoint")]


def _pool(engine: Engine, options: Any) -> list[Check]:
    """Reach for the worker pool, where its address means the same here as for the cluster."""
    from apache_beam.options.pipeline_options import PortableOptions

    portable = options.view_as(PortableOptions)
    if portable.environment_type != "EXTERNAL":
        kind = portable.environment_type or "DOCKER"
        return [Check("workers", True, f"{kind}: the runner starts them itself")]
    address = str(portable.environment_config)
    cluster = flink_address(options) if engine.runner == "FlinkRunner" else f"//{portable.job_endpoint}"
    host = (cluster or "").partition("//")[2].rpartition(":")[0]
    if address.rpartition(":")[0] in _LOCAL_HOSTS and host not in _LOCAL_HOSTS:
        return [Check("workers", True, f"{address} is each TaskManager's own; the canary tells")]
    return [_reached("workers", address, "start the worker pool there, or correct --environment_config")]


def _reached(name: str, address: str, advice: str) -> Check:
    problem = not_reached(address)
    return Check(name, problem is None, f"{address}: {problem}; {advice}" if problem else f"{address}: answers")


def _storage(out: str | None) -> list[Check]:
    """Write, read and delete a small file from here."""
    if out is None:
        return [Check("storage", False, "not looked at: give --out URL, a place that driver and workers reach")]
    name = f".doctor-{secrets.token_hex(4)}"
    try:
        store = Store(out)
        store.write(name, b"assay")
        same = store.read(name) == b"assay"
        store.delete(name)
    except (AssayError, OSError, ImportError) as error:
        return [Check("storage", False, f"{out}: this machine cannot write there ({first_line(error)})")]
    return [Check("storage", same, f"{out}: " + ("written and read from here" if same else "reads back otherwise"))]


def _parts(found: list[Check], engine: Engine) -> int:
    """Return two parts a slot, so that each worker gets one; four where nobody knows."""
    from apache_beam.options.pipeline_options import FlinkRunnerOptions

    parallel = int(_parsed(engine).view_as(FlinkRunnerOptions).parallelism or 0)
    return max(_PARTS, 2 * parallel)


def _canary(engine: Engine, canary: Canary, out: str | None, parts: int, seconds: float) -> list[Check]:
    """Send the canary and compare what its workers have noted."""
    start = time.monotonic()
    try:
        with _within(seconds):
            run_parts(engine, "canary", canary, range(parts))
    except TimeoutError:
        problem = f"no end within {seconds:.0f} s: do the workers reach the cluster, and it them?"
        return [Check("canary", False, problem)]
    except AssayError as error:
        return [Check("canary", False, str(error))]
    except RuntimeError as error:  # what a runner raises for a failed job
        return [Check("canary", False, cause(error))]
    ran = Check("canary", True, f"{parts} parts in {time.monotonic() - start:.1f} s")
    if out is None or canary.folder is None:
        return [ran]
    notes = read_notes(canary)
    if len(notes) < parts:
        problem = (
            f"{out}: of {parts} notes that workers wrote, {len(notes)} are seen here; not the same place for both"
        )
        return [ran, Check("shared storage", False, problem)]
    return [ran, Check("shared storage", True, f"{out}: all {parts} notes of the workers read"), *compared(notes)]


def cause(error: BaseException) -> str:
    """Return the line of a failed job's text that tells why; such texts hold whole tracebacks."""
    lines = [line.strip() for line in str(error).replace("\\n", "\n").splitlines() if line.strip()]
    told = [line for line in lines if "Error: " in line or "StatusCode" in line or "details =" in line]
    words = (told or lines or [type(error).__name__])[-1][:300]
    if "No module named" in words:
        return f"{words}; the workers need this version of Assay installed (deploy/flink/Containerfile.worker)"
    return words


def compared(notes: list[Note]) -> list[Check]:
    """Compare the workers' versions with the driver's, and tell which models they could not load."""
    workers = {(note.host, note.process): note for note in notes}
    hosts = {note.host for note in notes}
    cores = sorted({note.cores for note in notes})
    found = [
        Check(
            "workers seen",
            True,
            f"{len(workers)} processes on {len(hosts)} hosts, {'/'.join(map(str, cores))} cores each"
            f" (here {available_cores()})",
        )
    ]
    here = {
        "python": platform.python_version(),
        "apache-beam": metadata.version("apache-beam"),
        "assay": __version__,
    }
    for name, own in here.items():
        others = sorted({note.versions.get(name, "none") for note in notes} - {own})
        # pickled work crosses bug-fix releases of Python, not minor ones
        matters = [other for other in others if name != "python" or other.split(".")[:2] != own.split(".")[:2]]
        words = f"workers have {', '.join(matters)}, the driver {own}; build their image anew" if matters else own
        found.append(Check(f"{name} of the workers", not matters, words))
    failed = sorted({f"{name}: {problem}" for note in notes for name, problem in note.failed.items()})
    found += [Check("models of the workers", False, problem) for problem in failed]
    if not failed:
        loaded = sorted({name for note in notes for name in note.loaded})
        found.append(Check("models of the workers", True, f"loaded: {', '.join(loaded) or 'none asked for'}"))
    return found


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in this, the main, thread when the block takes longer."""

    def late(signum: int, frame: object) -> None:
        raise TimeoutError

    old = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def canary_for(out: str | None, scorers: tuple[str, ...], recipe: Any | None, model: str) -> Canary:
    """Return the canary that loads `scorers`, or those of a recipe, and leaves its notes below `out`."""
    folder = None if out is None else f"{out.rstrip('/')}/.doctor-{secrets.token_hex(4)}"
    if recipe is None:
        return Canary(folder, scorers, model, None)
    return Canary(folder, tuple(recipe.scorers), recipe.similarity.model, recipe.heads)
