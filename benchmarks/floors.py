"""Run the benchmarks that `benchmarks/floors.yaml` names, and hold their figures against its floors.

    python -m benchmarks.floors [--full] [--only NAME ...] [--keep] [--peers FOLDER] [--floors FILE] [--out runs/bench]

Prints a JSON line a figure (also into OUT/figures.jsonl) and writes OUT/bench.md, a page with machine, commands,
figures and peers. OUT/NAME.jsonl is what each command printed; `--keep` takes it where the same command of the same
commit wrote it, so that a run can be split. FOLDER holds an environment for each peer (`img2dataset/bin/python`, ...);
peers that are not there are named as not measured. Ends with 1 where a floor is broken, 2 for bad input.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from benchmarks.floors_file import Command, Floor, Floors, load_floors, looked_up
from benchmarks.floors_page import page
from benchmarks.metered import ROOT, metered
from filters.errors import BadInput

#: States of a figure; the first three are broken floors.
BROKEN, ABSENT, FAILED = "broken", "no such figure", "command failed"
HELD, MISSED, REACHED, SKIPPED = "met", "missed", "aim reached", "not measured"
NOT_MET = (BROKEN, ABSENT, FAILED)


@dataclass(frozen=True)
class Taken:
    """What a command printed, and what it took."""

    command: str
    lines: list[dict[str, object]]
    error: str | None
    wall: float
    cpu: float
    when: str
    code: str
    load: float


@dataclass(frozen=True)
class Judged:
    """One figure held against its floor."""

    name: str
    figure: str
    field: str
    value: object
    bound: str
    aim: float | None
    state: str
    peer: str | None
    stand: str | None
    detail: str
    command: str


def judged(name: str, floor: Floor, taken: Taken) -> Judged:
    """Hold what a command printed against one floor."""
    found = [line for line in taken.lines if floor.figure in (line.get("figure"), line.get("name"))]
    line = found[-1] if found else {}
    value = looked_up(line, floor.field)
    state, detail = HELD, _spread(line, floor.field)
    if line.get("skipped"):
        state, detail = SKIPPED, str(line["skipped"])
    elif line.get("failed"):
        state, detail = FAILED, str(line["failed"])
    elif taken.error is not None and value is None:
        state, detail = FAILED, taken.error
    elif value is None and floor.optional and not found:
        state, detail = SKIPPED, "the benchmark did not print it: its data is not here"
    elif value is None:
        state, detail = ABSENT, f"{floor.figure!r} has no {floor.field}" if found else "the command did not print it"
    elif not floor.holds(value, line):
        state = BROKEN
    elif floor.missed:
        state = REACHED if floor.reached(value) else MISSED
    stand = _stand(value) if floor.peer and state not in (SKIPPED, FAILED, ABSENT) else None
    bound, said = floor.bound(), str(line.get("command") or taken.command)
    return Judged(name, floor.figure, floor.field, value, bound, floor.aim, state, floor.peer, stand, detail, said)


def failed(name: str, taken: Taken) -> Judged:
    """Return the row of a command that printed every figure and then failed: a benchmark's own check."""
    bound, detail = "ends with 0", taken.error or ""
    return Judged(name, "the command", "exit", None, bound, None, FAILED, None, None, detail, taken.command)


def _spread(line: dict[str, object], field: str) -> str:
    """Return the range of a value's rounds, where the line tells it."""
    for low, high in ((f"{field}_lowest", f"{field}_highest"), ("lowest", "highest")):
        if low in line and high in line:
            return f"{line[low]} to {line[high]}"
    return ""


def _stand(ratio: object) -> str | None:
    """Say where Assay stands by a ratio of theirs over ours; a tenth either way is level."""
    if isinstance(ratio, bool) or not isinstance(ratio, int | float):
        return None
    return "ahead" if ratio > 1.1 else "behind" if ratio < 0.9 else "level"


def code_version() -> str:
    """Return the commit, with a mark where files differ from it; `unknown` without git."""
    said = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return said.stdout.strip() or "unknown"


def taken(command: Command, arguments: list[str], place: Path, keep: bool, full: bool) -> Taken:
    """Run a command, or take what it printed before; raises nothing where it fails."""
    shown = "python -m benchmarks." + " ".join(arguments)
    code, kept = code_version(), place.with_suffix(".taken.json")
    before = _kept(kept) if keep else None
    if before is not None and (before.command, before.code, before.error) == (shown, code, None):
        return before
    load = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as folder:
        whole = [sys.executable, "-m", f"benchmarks.{arguments[0]}", *arguments[1:]]
        limit = command.minutes * 60 * (10 if full else 1)
        usage = metered(whole, Path(folder), {"PYTHONPATH": str(ROOT)}, limit)
    error = None
    if usage.status:
        said = f"ended after {limit:.0f} s" if usage.status == 124 else f"exit {usage.status}"
        error = f"{said}: {usage.errors.strip()[-300:]}"
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    found = Taken(shown, lines_of(usage.output), error, round(usage.wall, 1), round(usage.cpu, 1), now, code, load)
    place.write_text("".join(json.dumps(line) + "\n" for line in found.lines), encoding="utf-8")
    kept.write_text(json.dumps(asdict(found)), encoding="utf-8")
    return found


def _kept(path: Path) -> Taken | None:
    """Return what an earlier run wrote; None where there is nothing, or nothing of this form."""
    try:
        return Taken(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def lines_of(text: str) -> list[dict[str, object]]:
    """Return the JSON objects among lines; a benchmark may print other words too."""
    found = []
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
    return [line for line in found if isinstance(line, dict)]


def machine() -> dict[str, object]:
    """Say what this machine is, without its name."""
    models = []
    if Path("/proc/cpuinfo").is_file():
        rows = Path("/proc/cpuinfo").read_text().splitlines()
        models = [row.partition(":")[2].strip() for row in rows if row.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load": [round(value, 1) for value in os.getloadavg()],
    }


def chosen(floors: Floors, only: list[str] | None, full: bool) -> dict[str, Command]:
    """Return the commands to run. Raises `BadInput` for an unknown name."""
    for name in only or ():
        if name not in floors.commands:
            raise BadInput(f"--only {name}: is none of {', '.join(floors.commands)}")
    every = floors.commands.items()
    return {name: command for name, command in every if (name in only if only else full or command.only != "full")}


def run(options: argparse.Namespace) -> int:
    """Run, judge, print, write; return the exit code."""
    floors = load_floors(options.floors)
    commands = chosen(floors, options.only, options.full)
    size = "full" if options.full else "quick"
    options.out.mkdir(parents=True, exist_ok=True)
    where, found, all_taken = machine(), [], {}
    for name, command in commands.items():
        arguments = command.arguments(options.full, str(options.peers))
        print(f"{name}: python -m benchmarks.{' '.join(arguments)}", file=sys.stderr, flush=True)
        all_taken[name] = taken(command, arguments, options.out / f"{name}.jsonl", options.keep, options.full)
        rows = [judged(name, floor, all_taken[name]) for floor in command.floors if floor.at in (None, size)]
        if all_taken[name].error and all(row.state != FAILED for row in rows):
            rows.insert(0, failed(name, all_taken[name]))
        for row in rows:
            print(json.dumps(asdict(row)), flush=True)
        found += rows
    (options.out / "figures.jsonl").write_text("".join(json.dumps(asdict(row)) + "\n" for row in found))
    left_out = [name for name in floors.commands if name not in commands]
    (options.out / "bench.md").write_text(page(where, size, found, all_taken, left_out), encoding="utf-8")
    broken = [row for row in found if row.state in NOT_MET]
    counts = {state: sum(row.state == state for row in found) for state in sorted({row.state for row in found})}
    print(f"{options.out / 'bench.md'}: {counts}", file=sys.stderr)
    for row in broken:
        print(
            f"{row.state}: {row.name}: {row.figure} {row.field} = {row.value}, {row.bound}. {row.detail}",
            file=sys.stderr,
        )
    return 1 if broken else 0


def main() -> None:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the sizes of README.md; hours")
    parser.add_argument("--only", action="append", metavar="NAME", help="one command of the file; may be given again")
    parser.add_argument("--keep", action="store_true", help="take what an earlier run of the same commit printed")
    parser.add_argument("--peers", type=Path, default=ROOT / "runs/peers", help="folder of the peers' environments")
    parser.add_argument("--floors", type=Path, default=ROOT / "benchmarks/floors.yaml")
    parser.add_argument("--out", type=Path, default=ROOT / "runs/bench")
    try:
        sys.exit(run(parser.parse_args()))
    except BadInput as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
