"""Puts the test server and the makers of runs over URL lists on the path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
