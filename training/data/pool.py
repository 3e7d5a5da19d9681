"""Decoding processes under watch: a picture that crashes or hangs its decoder costs itself, nothing else.

A batch is cut into tasks, and each goes to the process with the least to do. Results are taken by number, so that
nothing depends on who is first. A process that dies, or works on one picture for too long and is killed, is
replaced; its tasks are done again without the picture that it was at.
"""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Protocol

import numpy as np

from filters.errors import AssayError
from training.data.decode import DECODER_CRASHED, DECODER_TIMEOUT, Job, Outcome
from training.data.offsets import Reader
from training.data.worker import IDLE, STATE, Task, run_task

#: Isolated from the working directory and from PYTHONPATH, whose files could stand in for the standard library's;
#: what this process can import comes behind it.
_MAIN = (
    "import os, sys; paths = [sys.argv[1], *sys.argv.pop(2).split(os.pathsep)]; del sys.argv[1]; "
    "sys.path += [path for path in paths if path and path not in sys.path]; "
    "from training.data.worker import main; main()"
)
_ROOT = str(Path(__file__).resolve().parents[2])
#: Bytes in front of each worker's state, so that two do not share a cache line.
_LINE = 64
#: Seconds between looks at the clock while waiting.
_LOOK = 0.2
#: Most pictures of a task, and tasks that a process is sent ahead: few enough (about 100 kB) that sending never waits.
_PICTURES = 64
_AHEAD = 8
#: Processes that may die one after another without having begun a picture.
_DEATHS = 5


class Decoder(Protocol):
    """Decodes batches of jobs, several ahead of the one that is asked for."""

    def submit(self, jobs: list[Job], width: int, height: int) -> int:
        """Begin a batch; return its number."""
        ...

    def result(self, number: int) -> tuple[np.ndarray, list[Outcome]]:
        """Return uint8 (jobs, 3, height, width) and the outcomes; pixels of failed jobs mean nothing."""
        ...

    @property
    def processes(self) -> list[int]:
        """Return the ids of its processes."""
        ...

    def close(self) -> None:
        """End what runs."""
        ...


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection
    state: np.ndarray
    tasks: dict[int, Task] = field(default_factory=dict)


@dataclass
class _Batch:
    start: int
    shape: tuple[int, int, int, int]
    tasks: list[int]


class Inline:
    """Decodes in the calling process: no guard against crashes and hangs."""

    def __init__(self, url: str, max_pixels: int) -> None:
        self._reader, self._max_pixels = Reader(url), max_pixels
        self._tasks: dict[int, Task] = {}
        self._next = 0

    def submit(self, jobs: list[Job], width: int, height: int) -> int:
        """Remember a batch; return its number."""
        self._tasks[self._next] = Task(self._next, 0, height, width, jobs)
        self._next += 1
        return self._next - 1

    def result(self, number: int) -> tuple[np.ndarray, list[Outcome]]:
        """Decode a batch."""
        task = self._tasks.pop(number)
        shape = (len(task.jobs), 3, task.height, task.width)
        memory = bytearray(int(np.prod(shape)))
        outcomes = run_task(self._reader, task, memory, None, self._max_pixels)
        return np.frombuffer(memory, np.uint8).reshape(shape), outcomes

    @property
    def processes(self) -> list[int]:
        """Return nothing: there are none."""
        return []

    def close(self) -> None:
        """Close the files."""
        self._reader.close()


class Pool:
    """`workers` processes; at most `slots` batches of `slot_bytes` at once. Its owner closes it."""

    def __init__(self, url: str, workers: int, slots: int, slot_bytes: int, max_pixels: int, seconds: float) -> None:
        self._url, self._max_pixels, self._seconds = url, max_pixels, seconds
        head = workers * _LINE
        self._shared = _shared_memory(head + slots * slot_bytes)
        self._memory = mmap.mmap(self._shared, 0)
        self._free = [head + slot * slot_bytes for slot in range(slots)]
        self._slot_bytes = slot_bytes
        self._next = self._deaths = 0
        self._batches: dict[int, _Batch] = {}
        self._waiting: deque[Task] = deque()
        self._done: dict[int, list[Outcome]] = {}
        self._workers = [self._start(number) for number in range(workers)]

    def submit(self, jobs: list[Job], width: int, height: int) -> int:
        """Begin a batch; return its number. At most `slots` may be out at once."""
        each = 3 * width * height
        if each * len(jobs) > self._slot_bytes:
            raise ValueError("the batch does not fit its slot")
        number, start = self._next, self._free.pop()
        size = max(1, min(_PICTURES, -(-len(jobs) // len(self._workers))))
        tasks = [
            Task(number + at, start + first * each, height, width, jobs[first : first + size])
            for at, first in enumerate(range(0, len(jobs), size))
        ]
        self._next += max(1, len(tasks))
        self._batches[number] = _Batch(start, (len(jobs), 3, height, width), [task.number for task in tasks])
        self._waiting.extend(tasks)
        self._dispatch()
        return number

    def result(self, number: int) -> tuple[np.ndarray, list[Outcome]]:
        """Return a batch's pixels and outcomes; waits for them. Raises `AssayError` where no process can start."""
        batch = self._batches[number]
        while any(task not in self._done for task in batch.tasks):
            by_connection = {id(worker.connection): at for at, worker in enumerate(self._workers)}
            for connection in wait([worker.connection for worker in self._workers], _LOOK):
                self._receive(by_connection[id(connection)])
            self._watch()
            self._dispatch()
        del self._batches[number]
        outcomes = [outcome for task in batch.tasks for outcome in self._done.pop(task)]
        count = int(np.prod(batch.shape))
        pixels = np.frombuffer(self._memory, np.uint8, count, batch.start).reshape(batch.shape).copy()
        self._free.append(batch.start)
        return pixels, outcomes

    @property
    def processes(self) -> list[int]:
        """Return the ids of the processes."""
        return [worker.process.pid for worker in self._workers]

    @property
    def at_work(self) -> list[tuple[int, int]]:
        """Return what each process is at: number of the task (-1: idle), place of the picture in it."""
        return [(int(worker.state[0]), int(worker.state[1])) for worker in self._workers]

    def close(self) -> None:
        """End the processes; what they were at is lost. A second call does nothing."""
        if not self._workers:
            return
        for worker in self._workers:
            worker.connection.close()
            worker.process.kill()
            worker.process.wait()
        self._workers = []
        os.close(self._shared)

    def _start(self, number: int) -> _Worker:
        ours, theirs = Pipe()
        place = number * _LINE
        state = np.frombuffer(self._memory, np.int64, STATE, place)
        state[0] = IDLE
        arguments = [str(theirs.fileno()), str(self._shared), str(place), self._url, str(self._max_pixels)]
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", _MAIN, _ROOT, os.pathsep.join(sys.path), *arguments],
            pass_fds=(theirs.fileno(), self._shared),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # one thread each: the processes are the parallelism
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        theirs.close()
        return _Worker(process, ours, state)

    def _dispatch(self) -> None:
        while self._waiting:
            number = min(range(len(self._workers)), key=lambda at: len(self._workers[at].tasks))
            if len(self._workers[number].tasks) >= _AHEAD:
                return
            task = self._waiting.popleft()
            self._workers[number].tasks[task.number] = task
            self._send(number, task)

    def _send(self, number: int, task: Task) -> None:
        # where it is dead, whoever waits for it reads the end of its socket, and replaces it
        with suppress(BrokenPipeError, ConnectionResetError):
            self._workers[number].connection.send(task)

    def _receive(self, number: int) -> None:
        worker = self._workers[number]
        try:
            done, outcomes = worker.connection.recv()
        except (EOFError, ConnectionResetError):
            self._replace(number, DECODER_CRASHED)
            return
        self._deaths = 0
        del worker.tasks[done]
        self._done[done] = outcomes

    def _watch(self) -> None:
        now = time.monotonic_ns()
        for number, worker in enumerate(self._workers):
            task, _, began = worker.state
            if task != IDLE and now - int(began) > self._seconds * 1e9 and not worker.connection.poll():
                worker.process.kill()
                self._replace(number, DECODER_TIMEOUT)

    def _replace(self, number: int, reason: str) -> None:
        """Start another process in the place of a dead one; what it was at is not tried again."""
        worker = self._workers[number]
        code = worker.process.wait()
        worker.connection.close()
        at, place = int(worker.state[0]), int(worker.state[1])
        if at in worker.tasks:
            told = f"ended with {code}" if reason == DECODER_CRASHED else f"took more than {self._seconds:g} s"
            worker.tasks[at].known[place] = Outcome(reason, f"the decoder {told}")
        else:
            self._deaths += 1
            if self._deaths > _DEATHS:
                raise AssayError(f"the decoding processes end at once (last with {code}); try data.workers: 0")
        self._workers[number] = self._start(number)
        self._waiting.extendleft(reversed(worker.tasks.values()))
        self._dispatch()


def _shared_memory(size: int) -> int:
    """Return a file descriptor of `size` bytes that other processes can map; no name, gone with the last of them."""
    if hasattr(os, "memfd_create"):
        shared = os.memfd_create("assay-decode")
    else:
        with tempfile.TemporaryFile(prefix="assay-decode-") as file:
            shared = os.dup(file.fileno())
    os.ftruncate(shared, size)
    return shared
