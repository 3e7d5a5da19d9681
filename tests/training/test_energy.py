"""What a training's CPU time counts."""

import subprocess
import sys

from training.energy import Meter

BURN = "import time\nwhile time.process_time() < 0.5: pass"


def test_cpu_time_counts_children_that_have_ended():
    meter = Meter(None, 10.0)
    subprocess.run([sys.executable, "-c", BURN], check=True)
    assert meter.used() >= 0.45 * 10.0
