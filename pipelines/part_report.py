"""What one part of a stage did: a log line in the worker, and counters that the runner shows.

Counters and lines are for people who wait; what is done is told by markers, and what was decided by the ledger.
"""

from __future__ import annotations

import logging
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import IO, Any, Protocol

_LOG = logging.getLogger("assay")

#: Name space of the Beam counters `parts`, `samples` and `failures`.
NAMESPACE = "assay"


class Counted(Protocol):
    """What a meter tells of its part."""

    samples: int
    failures: Counter[str]


#: The meters that the work of the part in hand has opened, in the thread that runs it.
_OPENED: ContextVar[list[Counted] | None] = ContextVar("opened", default=None)


def opened(meter: Counted) -> None:
    """Tell that the part in hand counts with `meter`."""
    meters = _OPENED.get()
    if meters is not None:
        meters.append(meter)


@dataclass(frozen=True)
class PartReport:
    """What one part did: samples, wall seconds, and failures by reason. A part that was done before has none."""

    stage: str
    part: int
    samples: int
    seconds: float
    failures: dict[str, int]

    def line(self) -> str:
        """Return the line for the log."""
        failed = ", ".join(f"{reason} {count}" for reason, count in sorted(self.failures.items()))
        words = f"{sum(self.failures.values())} failures" + (f" ({failed})" if failed else "")
        return f"{self.stage} part {self.part}: {self.samples} samples, {self.seconds:.1f} s, {words}"


def reported(stage: str, part: int, work: Callable[[], None]) -> PartReport:
    """Call `work`, log its line at INFO, and return its report. Raises what `work` raises."""
    meters: list[Counted] = []
    token = _OPENED.set(meters)
    start = time.monotonic()
    try:
        work()
    finally:
        _OPENED.reset(token)
    failures = sum((meter.failures for meter in meters), Counter[str]())
    samples = sum(meter.samples for meter in meters)
    report = PartReport(stage, part, samples, time.monotonic() - start, dict(failures))
    _LOG.info("%s", report.line())
    return report


def this_process() -> tuple[str, int]:
    """Return host and number of this process, which no other at work has."""
    return platform.node(), os.getpid()


def log_in_worker(driver: tuple[str, int]) -> None:
    """Let lines of finished parts be seen in the log of a cluster's worker; `driver` is the driver's process.

    The processes of Beam's bare worker pool drop all below WARNING, and may have no handler; there the lines go to
    standard error. A level that somebody set for this logger (`--sdk_harness_log_level_overrides`) stays. A worker
    inside the driver prints what the driver prints.
    """
    if this_process() == driver:
        return
    if not _LOG.hasHandlers():
        _LOG.addHandler(logging.StreamHandler(sys.stderr))
    if _LOG.level == logging.NOTSET:
        _LOG.setLevel(logging.INFO)


def count_for_runner(report: PartReport) -> None:
    """Add a part to the runner's counters. Only inside a Beam worker."""
    from apache_beam.metrics import Metrics

    for name, number in (("parts", 1), ("samples", report.samples), ("failures", sum(report.failures.values()))):
        Metrics.counter(NAMESPACE, name).inc(number)


def runner_counts(result: Any) -> dict[str, int]:
    """Return the counters of a finished Beam job, by name; empty where the runner gives none."""
    import grpc

    try:
        counters = result.metrics().query()["counters"]
    except (NotImplementedError, LookupError, RuntimeError, OSError, grpc.RpcError):
        return {}
    ours = (counter for counter in counters if counter.key.metric.namespace == NAMESPACE)
    return {counter.key.metric.name: int(counter.result or 0) for counter in ours}


@contextmanager
def printed(wanted: bool, stream: IO[str] | None = None) -> Iterator[None]:
    """Print the log lines of finished parts on standard error (or `stream`) for the block, where they are wanted."""
    if not wanted:
        yield
        return
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    level = _LOG.level
    _LOG.addHandler(handler)
    _LOG.setLevel(logging.INFO)
    try:
        yield
    finally:
        _LOG.removeHandler(handler)
        _LOG.setLevel(level)
