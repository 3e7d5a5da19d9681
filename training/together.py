"""What the first process alone does, and the others wait for: its result reaches all, and so does its failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from filters.errors import AssayError

T = TypeVar("T")


class FirstFailed(AssayError):
    """The first process ended by something that is no message for people; it tells what itself. Exit code 1."""

    exit_code = 1


@contextmanager
def leaving_together(accelerator: Any) -> Iterator[None]:
    """Run the body as the last that these processes do together: their connections are closed at its end.

    torch leaves that to the interpreter's end otherwise, where gloo's threads abort the process (SIGABRT, "terminate
    called without an active exception"; pytorch issue 190489) even after a training that went well. Nothing is closed
    after a failure of one process alone, as closing waits for the others where the backend is NCCL.
    """
    try:
        yield
        accelerator.wait_for_everyone()
    except (AssayError, KeyboardInterrupt):
        _leave()
        raise
    _leave()


def _leave() -> None:
    import torch.distributed as processes

    if processes.is_available() and processes.is_initialized():
        processes.destroy_process_group()


def on_first(accelerator: Any, act: Callable[[], T]) -> T:
    """Run `act` on the first process; return what it returned there on all of them. All must call it.

    An `AssayError` is raised on every process, so that all end by the same exit code; after any other exception the
    others raise `FirstFailed`. Without this they would wait for a process that has gone.
    """
    if accelerator.num_processes == 1:
        return act()
    from accelerate.utils import broadcast_object_list

    found: list[Any] = [None, FirstFailed("the first process failed; see what it says")]
    try:
        if accelerator.is_main_process:
            found = [act(), None]
    except AssayError as error:
        found = [None, error]
    finally:
        # also where something else is raised: the others must hear of it
        broadcast_object_list(found)
    result, failure = found
    if failure is not None:
        raise failure
    done: T = result
    return done
