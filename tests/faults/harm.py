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

PRELOADED = [
    "harm",
    "pipelines.commands.run",
    "pipelines.jobs.finish",
    "pipelines.jobs.apply",
    "pipelines.jobs.replay",
]
PRELOADED += ["dashboards.report", "torch", "cv2", "apache_beam", "pipelines.worker"]
CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.link", "shutil.rmtree", "os.rmdir"}
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


def command(scratch, *arguments, stop=None, watched=None, flaky=None):
    """Run `assay ARGUMENTS`, killed at change number `stop` (from 1) of a file below `watched`.

    `flaky`: (share, seed, pace) of the calls to `flaky://` that fail, and how much of each pause after one is waited.
    """
    scratch = Path(scratch)
    scratch.mkdir(parents=True, exist_ok=True)
    for name in ("out", "err", "told"):
        (scratch / name).write_text("")
    words = [str(argument) for argument in arguments]
    process = server().Process(
        target=_work, args=(words, str(scratch), stop, str(watched) if watched else None, flaky)
    )
    process.start()
    process.join()
    told = json.loads((scratch / "told").read_text() or '{"changes": [], "outside": [], "peak": 0}')
    return Done(process.exitcode, (scratch / "out").read_text(), (scratch / "err").read_text(), **told)


def _work(arguments, scratch, stop, watched, flaky):
    from pipelines.commands.main import invoke

    if flaky:
        _flaky_store(*flaky)
    for name, stream in (("out", 1), ("err", 2)):
        os.dup2(os.open(f"{scratch}/{name}", os.O_WRONLY | os.O_TRUNC), stream)
    told = {"changes": [], "outside": []}
    if watched:
        sys.addaudithook(lambda event, found: _count(event, found, watched, told, stop))
    code = invoke(arguments)
    sys.stdout.flush()
    told = {**told, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    Path(scratch, "told").write_text(json.dumps(told))
    sys.exit(code)


def _count(event, found, watched, told, stop):
    if event not in CHANGES or not isinstance(found[0], str | bytes | os.PathLike):
        return
    if event == "open" and not (found[2] or 0) & WRITES:
        return
    path = os.fsdecode(found[0])
    if not path.startswith(watched):
        told["outside"] += [] if path.startswith("/dev/") else [f"{event} {path}"]
        return
    told["changes"].append(os.path.relpath(path, watched))
    if len(told["changes"]) == stop:
        os.kill(os.getpid(), signal.SIGKILL)


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
