"""The decoding process, started by `training.data.pool`.

It gets tasks through a socket, writes pixels into shared memory, and says there which picture it is at, so that
whoever started it can tell a crash or a hang from the picture that caused it. It imports no torch.
"""

from __future__ import annotations

import mmap
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

import numpy as np

from training.data.decode import Job, Outcome, run_job
from training.data.offsets import Reader

#: What a worker says of itself, int64 each: task, place of the picture in the task, when it began (nanoseconds).
STATE = 3
IDLE = -1


@dataclass
class Task:
    """Some pictures of a batch, all of one size; their pixels go to the shared memory from byte `start` on.

    `known`: outcomes of pictures that have ended a worker already, by place.
    """

    number: int
    start: int
    height: int
    width: int
    jobs: list[Job]
    known: dict[int, Outcome] = field(default_factory=dict)


def run_task(
    reader: Reader, task: Task, memory: mmap.mmap | bytearray, state: np.ndarray | None, max_pixels: int
) -> list[Outcome]:
    """Decode a task's pictures to the memory behind `task.start`; return their outcomes."""
    each = 3 * task.height * task.width
    outcomes = []
    for place, job in enumerate(task.jobs):
        if place in task.known:
            outcomes.append(task.known[place])
            continue
        if state is not None:
            state[2], state[1], state[0] = time.monotonic_ns(), place, task.number
        pixels = np.frombuffer(memory, np.uint8, each, task.start + place * each)
        outcomes.append(run_job(reader, job, pixels.reshape(3, task.height, task.width), max_pixels))
    if state is not None:
        state[0] = IDLE
    return outcomes


def main() -> None:
    """Serve tasks until the socket is closed."""
    # an interrupt is for the process that started this one; it closes the socket
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    socket, shared, place, url, max_pixels = sys.argv[1:]
    memory = mmap.mmap(int(shared), 0)
    os.close(int(shared))
    state = np.frombuffer(memory, np.int64, STATE, int(place))
    reader = Reader(url)
    with Connection(int(socket)) as connection:
        while True:
            try:
                task: Task = connection.recv()
                connection.send((task.number, run_task(reader, task, memory, state, int(max_pixels))))
            except (EOFError, BrokenPipeError, ConnectionResetError):
                break
