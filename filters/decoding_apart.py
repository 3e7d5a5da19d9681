"""Pictures tried in a process of their own, so that one that crashes or stalls its decoder costs itself alone.

A picture that comes through here is decoded again by whoever asked; only what ended the child, or took it too long,
is told. The limit is CPU time, set as a timer of the system: the verdict does not hang on how busy the machine is,
and holds for native code that never hands control back. Used where an earlier attempt died, never on the usual path.
"""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import threading
from enum import Enum
from pathlib import Path
from typing import IO

from filters.decoding import Undecodable, decode, read_header
from filters.reasons import Reason

#: Seconds of CPU time for one picture. The largest that are allowed take about four (100 scans at 89 megapixels).
CPU_SECONDS = 60.0

#: Seconds of real time for one picture: for a decoder that waits, and uses no CPU.
REAL_SECONDS = 600.0

_HEADER = struct.Struct("<cqqq")
_DONE = b"\1"
_TOO_LONG = (signal.SIGPROF, signal.SIGALRM)


class Step(bytes, Enum):
    """What is tried: reading the header and the file's rights metadata, or decoding the pixels."""

    HEADER = b"h"
    PIXELS = b"p"


class Apart:
    """One child process at a time, started when first needed; safe to share between threads."""

    def __init__(self, cpu_seconds: float = CPU_SECONDS, real_seconds: float = REAL_SECONDS) -> None:
        self._limits = (cpu_seconds, real_seconds)
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def trouble(self, step: Step, data: bytes, max_pixels: int, draft_side: int | None = None) -> Undecodable | None:
        """Return what `step` does to a decoder's process, None where the process lives to tell.

        A picture that is only corrupt is no trouble: whoever decodes it here is told so in the usual way.
        """
        with self._lock:
            child = self._child = self._child or self._started()
            assert child.stdin is not None
            assert child.stdout is not None
            try:
                child.stdin.write(_HEADER.pack(step.value, max_pixels, draft_side or 0, len(data)))
                child.stdin.write(data)
                child.stdin.flush()
                answer = child.stdout.read(1)
            except BrokenPipeError:
                answer = b""
            if answer == _DONE:
                return None
            code = child.wait()
            self._end()
        return _trouble(code, self._limits[0])

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._end()

    def _started(self) -> subprocess.Popen[bytes]:
        # the child must find this very package, however this process came by it
        path = [str(Path(__file__).resolve().parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        return subprocess.Popen(
            [sys.executable, "-m", "filters.decoding_apart", *map(str, self._limits)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        )

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout):
            try:
                if stream is not None:
                    stream.close()
            except BrokenPipeError:
                continue  # what was still to be written goes nowhere


def _trouble(code: int, cpu_seconds: float) -> Undecodable:
    if -code in _TOO_LONG:
        return Undecodable(Reason.DECODE_TIMEOUT, f"not decoded after {cpu_seconds:g} s of CPU time")
    if code >= 0:
        return Undecodable(Reason.DECODER_CRASHED, f"the decoder ended its process with exit code {code}")
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return Undecodable(Reason.DECODER_CRASHED, f"the decoder ended its process with {name}")


def serve(questions: IO[bytes], answers: IO[bytes], cpu_seconds: float, real_seconds: float) -> None:
    """Try pictures until `questions` ends; the system ends this process at the limits."""
    for number in _TOO_LONG:
        signal.signal(number, signal.SIG_DFL)
    # a Ctrl-C is for whoever asks; here it would count as a crash of the picture that is being tried
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while len(head := questions.read(_HEADER.size)) == _HEADER.size:
        step, max_pixels, draft_side, size = _HEADER.unpack(head)
        data = questions.read(size)
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
        signal.setitimer(signal.ITIMER_REAL, real_seconds)
        _attempt(Step(step), data, max_pixels, draft_side or None)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        answers.write(_DONE)
        answers.flush()


def _attempt(step: Step, data: bytes, max_pixels: int, draft_side: int | None) -> None:
    try:
        if step is Step.PIXELS:
            decode(data, max_pixels, draft_side)
            return
        from filters.optout.base import Evidence
        from filters.optout.image_rights import ImageRights

        ImageRights("").read(Evidence(image=data))
        read_header(data, max_pixels)
    except Undecodable:
        return


def main() -> None:
    """Serve on standard input and output; what libraries print goes to standard error."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, answers, float(sys.argv[1]), float(sys.argv[2]))


if __name__ == "__main__":
    main()
