"""Progress of a stage: counters beside the run, so that any process and `assay status URL` can read them.

Counters are for people who wait. All counts that matter come from the ledger. On a local disk they are written twice a
second; on an object store, where each write costs a request, three times a minute and when a part is done.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from filters.errors import AssayError
from pipelines.part_report import opened
from pipelines.run.storage import Store

FOLDER = ".progress"
_INTERVAL = 0.5
_REMOTE_INTERVAL = 20.0

#: Seconds without a change in any counter after which a stage says so; models that are slow to load take less.
STILL = 300.0

#: What follows a stage's name in the file of a meter.
_METER = re.compile(r"[0-9]+\.json")


@dataclass
class Meter:
    """Counts of one part in one stage; written to the run's `.progress` folder now and then, and by `flush`."""

    store: Store
    stage: str
    part: int
    samples: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.time)
    _written: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        opened(self)

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
        if time.monotonic() - self._written > interval(self.store):
            self.flush()

    def flush(self) -> None:
        """Write the counters now. Progress that cannot be written is not worth an error."""
        self._written = time.monotonic()
        body = {
            "samples": self.samples,
            "failures": self.failures,
            "seconds": self.seconds,
            "started": self.started,
            "written": time.time(),
        }
        note_down(self.store, f"{FOLDER}/{self.stage}-{self.part:05d}.json", body)


def interval(store: Store) -> float:
    """Return the seconds between two looks at, or two writes of, counters on that store."""
    return _INTERVAL if store.local else _REMOTE_INTERVAL


def note_down(store: Store, name: str, body: dict[str, Any]) -> None:
    """Write a small JSON file that no result hangs on; where that fails it is told on standard error."""
    data = json.dumps(body).encode()
    try:
        if not store.local:
            store.write(name, data)
            return
        # no fsync, unlike a store's own write: a lost counter is no loss
        path = Path(store.root) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".tmp-{os.getpid()}-{path.stem}")
        temporary.write_bytes(data)
        temporary.replace(path)
    except (OSError, AssayError) as error:
        print(f"progress not written: {error}", file=sys.stderr)


def announce(store: Store, stage: str, parts: int) -> None:
    """Tell how many parts a stage has in all, for those of which no earlier stage's markers tell it."""
    note_down(store, f"{FOLDER}/{stage}.plan.json", {"parts": parts})


def planned(store: Store, stage: str) -> int | None:
    """Return how many parts a stage has in all by its plan; None where it has not begun."""
    body = _read(store, f"{FOLDER}/{stage}.plan.json")
    return body["parts"] if body and isinstance(body.get("parts"), int) else None


def _read(store: Store, name: str) -> dict[str, Any] | None:
    try:
        body = json.loads(store.read(name))
    except (OSError, ValueError, AssayError):
        return None  # not there, or another process is at it: nothing that a count hangs on
    return body if isinstance(body, dict) else None


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
    for name in store.list(FOLDER):
        if not _METER.fullmatch(name.rsplit("/", 1)[-1].removeprefix(f"{stage}-")):
            continue
        body = _read(store, name)
        if body is None:
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
    for name in store.list(FOLDER):
        store.delete(name)


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


@dataclass
class Stillness:
    """How long a stage's counters have stood still; `limit` in seconds."""

    stage: str
    limit: float
    _last: Snapshot | None = None
    _since: float = field(default_factory=time.monotonic)

    def line(self, now: Snapshot, clock: float) -> str | None:
        """Return a line for the user where nothing has moved for the limit, and again after each further one.

        `clock` is the time of `now` by `time.monotonic`.
        """
        if now != self._last:
            self._last, self._since = now, clock
        if clock - self._since < self.limit:
            return None
        self._since = clock
        return (
            f"{self.stage}: nothing has moved for {self.limit:.0f} s; a worker may be dead, stuck or still loading:"
            " look at the workers' log. Interrupted and started again the job resumes"
        )


@contextmanager
def shown(store: Store, stage: str, total: int | None, done: int = 0, still: float = STILL) -> Iterator[None]:
    """Show a stage's progress on a terminal's standard error, and one line at its end elsewhere.

    `done` are samples of parts that an earlier run has finished. Where nothing moves for `still` seconds a line says
    so: not every runner tells that a worker of its own has died.
    """
    start = time.monotonic()
    console = Console(stderr=True)
    stillness = Stillness(stage, still)

    def look() -> Snapshot:
        now = read_meters(store, stage)
        line = stillness.line(now, time.monotonic())
        if line is not None:
            console.print(line, highlight=False, soft_wrap=True, markup=False)
        return now

    if not console.is_terminal:
        with every(still / 5, look):
            yield
        _summary(store, stage, console, time.monotonic() - start)
        return
    columns = (TextColumn("{task.description:<10}"), BarColumn(), TextColumn("{task.completed:,.0f}"), _Rate())
    with Progress(*columns, TimeRemainingColumn(), TextColumn("{task.fields[note]}"), console=console) as bar:
        task = bar.add_task(stage, total=total, completed=done, note="")

        def update() -> None:
            now = look()
            bar.update(task, completed=done + now.samples, note=_note(now))

        try:
            with every(interval(store), update):
                yield
        finally:
            update()


@contextmanager
def every(seconds: float, call: Callable[[], object]) -> Iterator[None]:
    """Call `call` every so many seconds, in a thread that ends with the block."""
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(seconds):
            call()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _note(now: Snapshot) -> str:
    failures = " ".join(f"{reason} {count}" for reason, count in sorted(now.failures.items()))
    split = " ".join(f"{phase} {1000 * value:.1f}" for phase, value in split_seconds(now).items())
    return " · ".join(text for text in (f"{split} ms" if split else "", failures) if text)


def _summary(store: Store, stage: str, console: Console, seconds: float) -> None:
    now = read_meters(store, stage)
    if now.samples:
        rate = f"{now.samples:,} samples in {seconds:.1f} s ({now.samples / max(seconds, 1e-9):,.0f}/s)"
        console.print(f"{stage}: {rate} · {_note(now)}", highlight=False, soft_wrap=True)
