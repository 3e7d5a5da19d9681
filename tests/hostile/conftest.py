"""Puts the corpus, the makers of inputs and the runner of commands on the path."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent / "faults", HERE.parent / "pipelines"):
    sys.path.insert(0, str(folder))
