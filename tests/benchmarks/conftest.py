"""Puts the makers of small inputs on the path of the tests in this folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "pipelines"))
