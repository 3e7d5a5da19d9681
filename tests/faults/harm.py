"""Runs commands in processes that can be harmed: killed at a chosen change of the run's files, cheaply.

The processes are forked from a server that has imported Assay once, so that fifty kills cost fifty runs and not fifty
imports. The kill is a real SIGKILL of the whole process; what it counts are the interpreter's own audit events, so
nothing of Assay is replaced.
"""

import contextlib
import json
import multiprocessing
import os
import re
import resource
import signal
import sys
from pathlib import Path
from typing import NamedTuple

from filters.errors import AssayError

PRELOADED = [
    "harm",
    "pipelines.commands.run",
    "pipelines.jobs.finish",
    "pipelines.jobs.apply",
    "pipelines.jobs.replay",
]
PRELOADED += ["dashboards.report", "torch", "cv2", "apache_beam", "pipelines.worker"]
CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.link", "os.symlink", "shutil.rmtree", "os.rmdir"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Done(NamedTuple):
    """How a command ended: exit code (negative for a signal), what it printed, the files that it changed, in order.

    `changes` are paths below the watched folder, one for each change; `outside` names what it changed elsewhere;
    `peak` is its memory in MiB.
    """

    code: int
    out: str
    err: str
    changes: list[str]
    outside: list[str]
    peak: float

    @property
    def json(self):
        return json.loads(self.out)

    def line(self):
        """The one line of its error, without a traceback."""
        lines = [line for line in self.err.splitlines() if line.startswith("assay: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err, self.err
        return lines[0]


def server():
    """The server that commands are forked from; its path is this process's."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


class Started(NamedTuple):
    """A command that runs: its process, and the folder of what it prints."""

    process: multiprocessing.process.BaseProcess
    scratch: Path

    def ended(self, seconds=None):
        """How it ended; None where it has not after `seconds`."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            return None
        told = json.loads((self.scratch / "told").read_text() or '{"changes": [], "outside": [], "peak": 0}')
        return Done(self.process.exitcode, *((self.scratch / name).read_text() for name in ("out", "err")), **told)


def start(scratch, *arguments, stop=None, watched=None, flaky=None, hosts=None):
    """Start `assay ARGUMENTS`, to be killed at change number `stop` (from 1) of a file below `watched`.

    `flaky`: (share, seed, pace) of the calls to `flaky://` that fail, and how much of each pause after one is waited.
    `hosts`: addresses by name of a server on this machine from which `assay run` downloads what its list names.
    """
    scratch = Path(scratch)
    scratch.mkdir(parents=True, exist_ok=True)
    for name in ("out", "err", "told"):
        (scratch / name).write_text("")
    words = [str(argument) for argument in arguments]
    watched = str(watched) if watched else None
    process = server().Process(target=_work, args=(words, str(scratch), stop, watched, flaky, hosts))
    process.start()
    return Started(process, scratch)


def command(scratch, *arguments, **settings):
    """Run `assay ARGUMENTS` to its end; the settings are those of `start`."""
    return start(scratch, *arguments, **settings).ended()


def _work(arguments, scratch, stop, watched, flaky, hosts):
    from pipelines.commands.main import invoke

    if flaky:
        _flaky_store(*flaky)
    for name, stream in (("out", 1), ("err", 2)):
        os.dup2(os.open(f"{scratch}/{name}", os.O_WRONLY | os.O_TRUNC), stream)
    told = {"changes": [], "outside": []}
    if watched:
        sys.addaudithook(lambda event, found: _count(event, found, watched, told, stop))
    code = (downloaded(arguments, hosts) if hosts else 0) or invoke(arguments)
    sys.stdout.flush()
    told = {**told, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    Path(scratch, "told").write_text(json.dumps(told))
    sys.exit(code)


def _count(event, found, watched, told, stop):
    if event not in CHANGES or not isinstance(found[0], str | bytes | os.PathLike):
        return
    if event == "open" and not (found[2] or 0) & WRITES:
        return
    path = os.fsdecode(found[1 if event == "os.symlink" else 0])
    if event in ("os.rename", "os.link"):  # where to
        _note_outside(event, os.fsdecode(found[1]), watched, told)
    if not inside(path, watched):
        _note_outside(event, path, watched, told)
        return
    told["changes"].append(os.path.relpath(path, watched))
    if len(told["changes"]) == stop:
        os.kill(os.getpid(), signal.SIGKILL)


def _note_outside(event, path, watched, told):
    if not inside(path, watched) and not path.startswith("/dev/"):
        told["outside"].append(f"{event} {path}")


def inside(path, folder):
    """Tell whether a path, with no steps upwards in it, is that of a folder or of what lies in it."""
    return (path == folder or path.startswith(f"{folder}/")) and ".." not in path.split("/")


def downloaded(arguments, hosts):
    """Download for `run RECIPE --out FOLDER` as it would itself, but from these hosts, which no recipe can name."""
    from pipelines.engine import Engine, exit_code, explain
    from pipelines.fetch.addresses import Network
    from pipelines.jobs.fetch import fetch
    from pipelines.jobs.match import pin_registry
    from pipelines.run.directory import create_run
    from pipelines.run.lock import locked
    from pipelines.run.recipe import load_recipe
    from pipelines.run.storage import Store

    out = arguments[arguments.index("--out") + 1]
    workers = int(arguments[arguments.index("--workers") + 1]) if "--workers" in arguments else 1
    try:
        with locked(Store(out)):
            run = create_run(out, load_recipe(Path(arguments[1])))
            run.store.sweep()
            pin_registry(run)
            engine = Engine(workers=workers) if workers > 1 else Engine("plain")
            fetch(run, engine, Network(hosts, frozenset({"127.0.0.1"})))
    except AssayError as error:  # told as the command line tells it
        print(f"assay: {explain(error)}", file=sys.stderr)
        return exit_code(error)
    return 0


def _flaky_store(share, seed, pace):
    import fsspec

    from pipelines.run import steady

    os.environ["ASSAY_TEST_HARM"] = f"flaky:{share}:{seed}"
    sys.path.insert(0, str(Path(__file__).resolve().parent / "pyhooks"))
    fsspec.register_implementation("flaky", "flaky_store.FlakyStore")
    steady.PAUSES = tuple(pause * pace for pause in steady.PAUSES)


def stages(changes):
    """The numbers of the changes, from 1, by the artefact they belong to; notes go with what came before them.

    All that follows the note of a commit carries it out and belongs to it.
    """
    found, now = {}, "start"
    for number, path in enumerate(changes, 1):
        parts = [part for part in Path(path).parts if part != ".pending" and not re.fullmatch("[0-9a-f]{16}", part)]
        first = parts[0] if parts else "start"
        if now == "commit":
            pass
        elif first.startswith(".tmp-"):
            now = Path(first).stem.rpartition("-")[2]
        elif not first.startswith("."):
            now = Path(first).stem
        found.setdefault(now, []).append(number)
    return found


def left_overs(folder):
    """Temporary files, unfinished changes and notes of attempts that a clean end must not leave."""
    found = [path for path in Path(folder).rglob("*") if path.is_file()]
    return [str(p) for p in found if ".tmp-" in p.name or ".pending" in p.parts or ".trying" in p.parts]


@contextlib.contextmanager
def small_disk(folder, size):
    """A disk of `size` bytes at `folder`; None where mounting is not allowed."""
    import subprocess

    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(["mount", *options], check=False, stderr=subprocess.DEVNULL).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)
