"""An interrupt that Python drops inside a destructor still stops the job, before its next stage."""

import subprocess
import sys

LOST = """
import os, signal
from pipelines.engine import Engine, interrupt, run_parts

signal.signal(signal.SIGINT, interrupt)


class Loses:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass


class Work:
    def load(self): ...
    def run(self, index): print("ran")


Loses()
print("went on")
run_parts(Engine("plain"), "test", Work(), [0])
"""


def test_a_dropped_interrupt_is_heeded_at_the_next_stage():
    done = subprocess.run([sys.executable, "-c", LOST], capture_output=True, text=True, check=False)
    assert done.stdout == "went on\n"
    assert "Exception ignored" in done.stderr
    assert done.returncode != 0
