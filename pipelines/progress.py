"""Progress of a stage: counters on disk, so that any process and `assay status` can read them.

Counters are for people who wait. All counts that matter come from the ledger.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from pipelines.run.storage import Store

FOLDER = ".progress"
_INTERVAL = 0.5


@dataclass
class Meter:
    """Counts of one part in one stage; written to the run's `.progress` folder twice a second."""

    store: Store
    stage: str
    part: int
    samples: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.time)
    _written: float = 0.0

    @contextmanager
    def time(self, phase: str) -> Iterator[None]:
        """Add the block's wall time to the phase: read, decode, model or write."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add_time(phase, time.perf_counter() - start)

    def add_time(self, phase: str, seconds: float) -> None:
        """Add seconds of work to a phase."""
        self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds

    def count(self, samples: int = 1, failure: str | None = None) -> None:
        """Count finished samples, and a failure by its reason."""
        self.samples += samples
        if failure:
            self.failures[failure] += 1
        if time.monotonic() - self._written > _INTERVAL:
            self.flush()

    def flush(self) -> None:
        """Write the counters now. Progress that cannot be written is not worth an error."""
        self._written = time.monotonic()
        if not self.store.local:
            return
        body = {
            "samples": self.samples,
            "failures": self.failures,
            "seconds": self.seconds,
            "started": self.started,
            "written": time.time(),
        }
        folder = Path(self.store.root) / FOLDER
        try:
            folder.mkdir(parents=True, exist_ok=True)
            temporary = folder / f".tmp-{os.getpid()}-{self.stage}-{self.part}"
            temporary.write_text(json.dumps(body))
            temporary.replace(folder / f"{self.stage}-{self.part:05d}.json")
        except OSError as error:
            print(f"progress not written: {error}", file=sys.stderr)


@dataclass(frozen=True)
class Snapshot:
    """Sum of the meters of one stage. `seconds` add up over threads, `wall` is from first start to last news."""

    samples: int
    failures: dict[str, int]
    seconds: dict[str, float]
    wall: float

    @property
    def rate(self) -> float | None:
        """Samples a second of wall time, None before the first."""
        return self.samples / self.wall if self.samples and self.wall > 0 else None


def read_meters(store: Store, stage: str) -> Snapshot:
    """Add up the meters of a stage's parts."""
    samples, failures = 0, Counter[str]()
    seconds: dict[str, float] = {}
    started, written = [], []
    if store.local:
        for path in sorted((Path(store.root) / FOLDER).glob(f"{stage}-*.json")):
            try:
                body = json.loads(path.read_text())
            except (OSError, ValueError):
                continue
            samples += body["samples"]
            failures.update(body["failures"])
            for phase, value in body["seconds"].items():
                seconds[phase] = seconds.get(phase, 0.0) + value
            started.append(body["started"])
            written.append(body["written"])
    wall = max(written) - min(started) if started else 0.0
    return Snapshot(samples, dict(failures), seconds, wall)


def clear_meters(store: Store) -> None:
    """Forget the counters of earlier, perhaps killed, jobs."""
    if store.local:
        for path in (Path(store.root) / FOLDER).glob("*.json"):
            path.unlink(missing_ok=True)


def split_seconds(now: Snapshot) -> dict[str, float]:
    """Return read, decode, model and write seconds a sample; all scorers together are the model."""
    total: dict[str, float] = {}
    for phase, value in now.seconds.items():
        name = phase if phase in ("read", "decode", "write") else "model"
        total[name] = total.get(name, 0.0) + value
    order = [name for name in ("read", "decode", "model", "write") if name in total]
    return {name: total[name] / now.samples for name in order} if now.samples else {}


class _Rate(ProgressColumn):
    def render(self, task: Any) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:,.0f}/s")


@contextmanager
def shown(store: Store, stage: str, total: int | None, done: int = 0) -> Iterator[None]:
    """Show a stage's progress on a terminal's standard error, and one line at its end elsewhere.

    `done` are samples of parts that an earlier run has finished.
    """
    start = time.monotonic()
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        _summary(store, stage, console, time.monotonic() - start)
        return
    columns = (TextColumn("{task.description:<10}"), BarColumn(), TextColumn("{task.completed:,.0f}"), _Rate())
    stop = threading.Event()
    with Progress(*columns, TimeRemainingColumn(), TextColumn("{task.fields[note]}"), console=console) as bar:
        task = bar.add_task(stage, total=total, completed=done, note="")

        def watch() -> None:
            while not stop.wait(_INTERVAL):
                now = read_meters(store, stage)
                bar.update(task, completed=done + now.samples, note=_note(now))

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            now = read_meters(store, stage)
            bar.update(task, completed=done + now.samples, note=_note(now))


def _note(now: Snapshot) -> str:
    failures = " ".join(f"{reason} {count}" for reason, count in sorted(now.failures.items()))
    split = " ".join(f"{phase} {1000 * value:.1f}" for phase, value in split_seconds(now).items())
    return " · ".join(text for text in (f"{split} ms" if split else "", failures) if text)


def _summary(store: Store, stage: str, console: Console, seconds: float) -> None:
    now = read_meters(store, stage)
    if now.samples:
        rate = f"{now.samples:,} samples in {seconds:.1f} s ({now.samples / max(seconds, 1e-9):,.0f}/s)"
        console.print(f"{stage}: {rate} · {_note(now)}", highlight=False, soft_wrap=True)
