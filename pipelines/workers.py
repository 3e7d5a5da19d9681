"""Several worker processes for Beam's own local runner, watched.

Beam's mode of several processes waits for ever when one of them dies (measured; `docs/clusters.md`). So the processes
are started here, through the same gRPC service that external workers use, and looked after: one that ends too soon
ends the job, with the cause.
"""

from __future__ import annotations

import multiprocessing
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, Protocol

from filters.cores import available_cores
from filters.errors import AssayError
from pipelines.worker import work_for

#: What the server imports that workers are forked from: Beam's worker, and the work of every stage, which each worker
#: of each stage would import anew (0.8 s). None of them starts a thread or loads a model when imported.
_PRELOADED = (
    "pipelines.worker",
    *(f"pipelines.jobs.{stage}" for stage in ("ingest", "fetch", "match", "score", "complete", "groups", "dedup")),
    *(f"pipelines.jobs.{stage}" for stage in ("dedup_cells", "dedup_stars", "statistics", "audit", "balance")),
)

#: Seconds between two looks at the processes, and those that one may take to end when told to.
_LOOK, _GRACE = 0.2, 5.0


class WorkerDied(AssayError):
    """A worker process ended before its work did."""


class WorkerPool:
    """Starts the worker processes that a runner asks for; each gets an equal share of the cores.

    They are forked from a server that has imported Beam and the stages' work once and runs nothing: the imports take
    seconds, and each stage starts its own workers.
    """

    def __init__(self, count: int, log_parts: bool = False) -> None:
        self._log_parts = log_parts
        self.processes: dict[str, multiprocessing.process.BaseProcess] = {}
        self._share = max(1, available_cores() // count)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(_PRELOADED))
        # Beam's worker prints each error of a stage, which the job tells as well
        self._words: dict[str, IO[bytes]] = {}
        # the runner asks for workers in a thread of its own, and may still do so while the job is interrupted
        self._starting = threading.Lock()
        self._ended = False

    def start(self, worker: str, control: str) -> None:
        """Start one worker that takes its orders from the address `control`. Raises `OSError`, after `stop` too."""
        # The runner gives this machine's full name, which need not resolve; its workers are on this machine.
        address = f"localhost:{control.rpartition(':')[2]}"
        with self._starting:
            if self._ended:
                raise OSError("the job has ended")
            words = self._words[worker] = tempfile.NamedTemporaryFile()  # noqa: SIM115 (closed by stop)
            arguments = (address, worker, self._share, words.name, self._log_parts)
            process = self._context.Process(target=work_for, args=arguments)
            process.start()
            self.processes[worker] = process

    def cause_of_death(self, crashes_only: bool = False) -> str | None:
        """Return how a worker ended that should still be at work, None while all are.

        `crashes_only`: a worker that was ended by a signal, as against one that ended by itself.
        """
        for worker, process in list(self.processes.items()):
            code = process.exitcode
            if code is not None and (code < 0 or not crashes_only):
                return f"process {process.pid} {_manner(code)}{_last_words(self._words[worker])}"
        return None

    def stop(self) -> None:
        """End all workers, one that is being started too; none is started any more."""
        with self._starting:
            self._ended = True
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.join(_GRACE)
            if process.exitcode is None:
                process.kill()
                process.join()
        for words in self._words.values():
            words.close()


def _last_words(words: IO[bytes]) -> str:
    """Return what the interpreter said of its own end, or the last line of all."""
    words.seek(0)
    lines = [line for line in words.read().decode(errors="replace").splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith("Fatal Python error")]
    return "".join(f'; it said "{line.strip()[:200]}"' for line in (fatal or lines)[-1:])


def _manner(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    names = {signal.SIGKILL: "killed, by hand or for want of memory", signal.SIGSEGV: "a crash in native code"}
    try:
        name = signal.Signals(-code)
    except ValueError:
        return f"was ended by signal {-code}"
    return f"was ended by {name.name}" + (f" ({names[name]})" if name in names else "")


@contextmanager
def worker_pool(count: int, log_parts: bool = False) -> Iterator[tuple[WorkerPool, Any]]:
    """Give a pool and the Beam environment that starts workers in it. All workers end with the block.

    With `log_parts` each worker prints a line for each part that it has finished.
    """
    import grpc
    from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc
    from apache_beam.transforms.environments import ExternalEnvironment
    from apache_beam.utils.thread_pool_executor import shared_unbounded_instance

    pool = WorkerPool(count, log_parts)

    class Service(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):  # type: ignore[misc]
        def StartWorker(self, request: Any, context: Any) -> Any:
            try:
                pool.start(request.worker_id, request.control_endpoint.url)
            except OSError as error:
                return beam_fn_api_pb2.StartWorkerResponse(error=str(error))
            return beam_fn_api_pb2.StartWorkerResponse()

        def StopWorker(self, request: Any, context: Any) -> Any:
            return beam_fn_api_pb2.StopWorkerResponse()

    server = grpc.server(shared_unbounded_instance())
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield pool, ExternalEnvironment(f"127.0.0.1:{port}")
    finally:
        try:
            pool.stop()
        finally:
            server.stop(None)


class Mortals(Protocol):
    """Workers that can die."""

    def cause_of_death(self, crashes_only: bool = False) -> str | None:
        """Return how a worker ended that should still be at work, None while all are."""
        ...


def watched(pool: Mortals, work: Callable[[], None]) -> None:
    """Call `work` and return when it has ended. Raises what it raises, and `WorkerDied` when a worker ends first.

    `work` stays behind in a thread then: it waits for an answer that will not come.
    """
    errors: list[BaseException] = []

    def call() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 (raised again below, in the thread that waits)
            errors.append(error)

    thread = threading.Thread(target=call, name="assay-pipeline", daemon=True)
    told = threading.excepthook
    # before a worker dies: Beam's threads lose their lines to it sooner than its end is seen
    threading.excepthook = _without_lost_lines(told)
    try:
        thread.start()
        _await(thread, pool, errors)
    except WorkerDied:
        # the hook stays: the threads that are left behind lose more lines as the process ends
        raise
    except BaseException:
        threading.excepthook = told
        raise
    threading.excepthook = told


def _await(thread: threading.Thread, pool: Mortals, errors: list[BaseException]) -> None:
    """Wait for the thread of the work, which leaves its error in `errors`; raise as `watched` does."""
    while thread.is_alive():
        thread.join(_LOOK)
        died = pool.cause_of_death()
        if died is not None:
            # an error of the work itself may have ended the worker: its own words come first
            thread.join(_GRACE)
            if not thread.is_alive():
                break
            raise _worker_died(died)
    if errors and not isinstance(errors[0], AssayError) and (died := _crash(pool)):
        # Beam's own words for a line that broke; a crash says why
        raise _worker_died(died) from errors[0]
    if errors:
        raise errors[0]


def _worker_died(cause: str) -> WorkerDied:
    return WorkerDied(f"a worker {cause}; what is done stays done: run the same command again, it resumes")


def _crash(pool: Mortals) -> str | None:
    """Return how a worker was ended by a signal, None where none was; it is seen a little after the broken line."""
    until = time.monotonic() + 1.0
    while (died := pool.cause_of_death(crashes_only=True)) is None and time.monotonic() < until:
        time.sleep(0.05)
    return died


def _without_lost_lines(told: Callable[[threading.ExceptHookArgs], Any]) -> Callable[[threading.ExceptHookArgs], None]:
    """Return a hook that calls `told`, but prints no traceback of a Beam thread that lost its line to a worker."""
    import grpc

    def hook(found: threading.ExceptHookArgs) -> None:
        if not issubclass(found.exc_type, grpc.RpcError):
            told(found)

    return hook
