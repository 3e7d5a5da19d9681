"""Wall time, processor time and memory of a command with all its descendants.

`metered(command, ...)` for other benchmarks; the module itself is the small process between (`python -m
benchmarks.metered FOLDER COMMAND...`). On Linux that process adopts what the command leaves behind, so that the
processor time of workers whose parent ended first is counted too. Elsewhere only what the command waited for counts.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: `prctl`'s PR_SET_CHILD_SUBREAPER (Linux, sys/prctl.h).
_SUBREAPER = 36
#: Seconds that processes which the command left behind get to end by themselves, then after being asked to.
_LINGER = 5.0
#: Where this is set every process compiles all that it imports, which doubles the start of both sides.
_NOT_HANDED_ON = "PYTHONDONTWRITEBYTECODE"


@dataclass(frozen=True)
class Usage:
    """What a command took: seconds on the wall, processor seconds of its tree, MB of its largest process."""

    status: int
    wall: float
    cpu: float
    peak_mb: float
    output: str
    errors: str


def metered(command: Sequence[str], folder: Path, env: Mapping[str, str] | None = None, limit: float = 3600) -> Usage:
    """Run a command; return what it took. What it prints goes to files in `folder`, and is returned.

    A command that takes more than `limit` seconds is killed with all of its processes, and has the status 124.
    """
    folder.mkdir(parents=True, exist_ok=True)
    report = folder / "usage.json"
    report.unlink(missing_ok=True)
    between = [sys.executable, "-S", str(Path(__file__)), str(folder), str(limit), *command]
    inherited = {name: value for name, value in os.environ.items() if name != _NOT_HANDED_ON}
    done = subprocess.run(between, env=inherited | dict(env or {}), cwd=ROOT)
    if not report.is_file():
        raise SystemExit(f"{command[0]}: could not be measured (exit {done.returncode})")
    found = json.loads(report.read_text())
    texts = [(folder / name).read_text(errors="replace") for name in ("stdout", "stderr")]
    return Usage(found["status"], found["wall"], found["cpu"], found["peak_mb"], *texts)


def _adopt_orphans() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0)


def _children() -> list[int]:
    """Return the processes whose parent this one is; none where there is no /proc."""
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    return [int(number) for number in path.read_text().split()] if path.is_file() else []


def _wait(pid: int, until: float) -> int | None:
    """Wait for `pid` and reap whatever else ends; return its status, None when the time is over."""
    while True:
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended == pid:
            return os.waitstatus_to_exitcode(status)
        if ended == 0:
            if time.monotonic() > until:
                return None
            time.sleep(0.02)


def _end_rest() -> None:
    """Wait for orphans; end those that stay, politely first."""
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        if number is not None:
            for child in _children():
                os.kill(child, number)
        until = time.monotonic() + _LINGER
        while time.monotonic() < until:
            try:
                ended, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if ended == 0:
                time.sleep(0.02)


def main() -> None:
    """Run the command of the arguments and write what it took."""
    folder, limit, command = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    _adopt_orphans()
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        start = time.monotonic()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True)
        status = _wait(child.pid, start + limit)
        if status is None:
            os.killpg(child.pid, signal.SIGKILL)
            _wait(child.pid, time.monotonic() + _LINGER)
            status = 124
        wall = time.monotonic() - start
    _end_rest()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    # kilobytes on Linux, bytes on macOS (getrusage(2) of each)
    peak = used.ru_maxrss / (1 if sys.platform == "linux" else 1024)
    took = {"status": status, "wall": wall, "cpu": used.ru_utime + used.ru_stime, "peak_mb": peak / 1024}
    (folder / "usage.json").write_text(json.dumps(took))


if __name__ == "__main__":
    main()
