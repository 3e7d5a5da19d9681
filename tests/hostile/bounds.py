"""The bounds that every hostile input is held to: wall time of each, memory of the process that reads them."""

import concurrent.futures
import resource
import time
from contextlib import contextmanager

from harm import server
from mutations import MEMORY

#: Seconds by the clock on the wall for one input, whether the processor works or something is waited for. Most take
#: some milliseconds, so that a busy machine has a thousandfold to spare.
TIME = 10.0


@contextmanager
def bounded(name):
    """Let the block take at most `TIME`; one that never ends is ended by the test's own limit."""
    start = time.monotonic()
    yield
    took = time.monotonic() - start
    assert took < TIME, f"{name}: {took:.1f} s"


def alone(check, *arguments):
    """Call a function in a process of its own; return what it returns. A crash and more than `MEMORY` are failures.

    The process begins with what `harm` preloads, models' libraries included, as a job does.
    """
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=server()) as pool:
        found, peak = pool.submit(_measured, check, arguments).result()
    assert peak < MEMORY, f"{peak:.0f} MiB"
    return found


def _measured(check, arguments):
    found = check(*arguments)
    return found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
