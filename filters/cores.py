"""How many cores this process may use.

The least of what the operating system lets it run on, what the control group grants (containers), and what a job that
started several workers on this machine has left to each.
"""

from __future__ import annotations

import os
from pathlib import Path

from filters import environment

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def available_cores() -> int:
    """Return the number of cores for this process's threads, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = [allowed, _granted(_QUOTA), _shared(os.environ.get(environment.CORES, ""))]
    return max(1, min(limit for limit in limits if limit is not None))


def _granted(quota: Path) -> int | None:
    """Return the cores of a version 2 control group's quota ("QUOTA PERIOD" in µs, or "max PERIOD"), rounded up."""
    try:
        limit, period = quota.read_text().split()
        return None if limit == "max" else -(-int(limit) // int(period))
    except (OSError, ValueError):
        return None


def _shared(text: str) -> int | None:
    """Return a worker's share; what is no positive number is no limit."""
    return int(text) if text.isascii() and text.isdigit() and int(text) else None
