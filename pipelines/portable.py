"""Jobs on a cluster: ended with their driver, and told in a line when a part of the cluster cannot be reached.

A job in this process or on this machine ends with the process; one on a cluster would live on and use it.
"""

from __future__ import annotations

import json
import logging
import re
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from filters.errors import BadInput, first_line

_LOG = logging.getLogger("assay")
_TIMEOUT = 20.0

#: States of a Flink job that has ended.
_ENDED = {"FINISHED", "CANCELED", "FAILED"}


#: What gRPC tells of a call that found nobody.
_DETAILS = re.compile(r'details = "([^"]*)')


def unreachable(error: BaseException) -> str | None:
    """Return in a line what could not be reached; None for an error of another kind.

    Job services and runners carry their errors as text, with whole tracebacks.
    """
    import grpc

    if isinstance(error, grpc.FutureTimeoutError):
        return "no job service answers"
    text = str(error)
    if "StatusCode.UNAVAILABLE" in text:
        found = _DETAILS.search(text)
        return (
            f"job service or workers do not answer ({found.group(1)})" if found else "the job service does not answer"
        )
    # Beam tells which of its extras is not installed
    if isinstance(error, OSError) or (isinstance(error, ValueError) and "jar" in text) or _extra(error):
        return first_line(error)
    return None


def _extra(error: BaseException) -> bool:
    return isinstance(error, ImportError) and "apache_beam[" in str(error)


@contextmanager
def heeding_terminate(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Let SIGTERM do for the block what `handler` does, as when a cluster's manager stops the driver.

    Only in the main thread, and only where nobody else handles the signal.
    """
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def cancel(result: Any, name: str, flink: str | None) -> None:
    """Cancel a running job through its job service, and by Flink's own REST address where one is known.

    Beam 2.77 asks Flink for an address that it does not have when a job was submitted as one jar
    (`--flink_submit_uber_jar`), so Flink is asked as well. A job that could not be cancelled is told on the log.
    """
    import grpc

    problem = None
    try:
        result.cancel()
    except (NotImplementedError, LookupError, RuntimeError, OSError, grpc.RpcError) as error:
        problem = first_line(error)
    if flink is not None:
        try:
            cancel_on_flink(flink, name)
            problem = None
        except BadInput as error:
            problem = str(error)
    if problem is not None:
        _LOG.warning("job %s may still run on the cluster (%s); cancel it there", name, problem)


def cancel_on_flink(address: str, name: str) -> list[str]:
    """Cancel all jobs of that name through Flink's REST interface; return their ids. Raises `BadInput`."""
    jobs = flink_answer(address, "/jobs/overview").get("jobs", [])
    wanted = [str(job["jid"]) for job in jobs if job.get("name") == name and job.get("state") not in _ENDED]
    for ident in wanted:
        flink_answer(address, f"/jobs/{ident}?mode=cancel", "PATCH")
    return wanted


def flink_answer(address: str, path: str, method: str = "GET") -> dict[str, Any]:
    """Return the JSON object at a path of Flink's REST interface. Raises `BadInput` in one line."""
    url = f"{address.rstrip('/')}{path}"
    try:
        request = urllib.request.Request(url, method=method)
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            body = json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        raise BadInput(f"{url}: HTTP status {error.code}") from None
    except (OSError, ValueError) as error:  # URLError is an OSError
        raise BadInput(f"{url}: {first_line(error)}") from None
    if not isinstance(body, dict):
        raise BadInput(f"{url}: no answer of Flink's")
    return body


def flink_address(options: Any) -> str | None:
    """Return Flink's REST address by Beam's options, None for a runner or a master without one."""
    from apache_beam.options.pipeline_options import FlinkRunnerOptions

    master = str(options.view_as(FlinkRunnerOptions).flink_master or "").strip()
    if not master or master.startswith("["):
        return None
    return master if master.startswith(("http://", "https://")) else f"http://{master}"
