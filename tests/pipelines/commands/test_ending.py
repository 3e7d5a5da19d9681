"""How a command's process ends: by its own exit code, whatever the interpreter's ending would do to it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

#: Something that aborts the process while the interpreter ends, as a thread of gloo's does now and then.
ABORTS = """
import atexit, os, sys
from pipelines.commands.main import end
class Aborts:
    def __del__(self, abort=os.abort):
        abort()
kept = Aborts()
atexit.register(print, "all that waits for the end was called")
print("said", end=" ")
end(3)
"""


@pytest.mark.parametrize(("processes", "code"), [("2", 3), ("1", -signal.SIGABRT)])
def test_one_of_several_processes_ends_by_its_code_though_the_interpreters_ending_would_abort(processes, code):
    done = subprocess.run(
        [sys.executable, "-c", ABORTS],
        cwd=ROOT,
        env={**os.environ, "WORLD_SIZE": processes},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    if processes == "2":
        assert done.stdout == "said all that waits for the end was called\n"
