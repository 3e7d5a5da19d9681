"""Puts the makers of small inputs on the path; one small cleared dataset for all tests of training."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "data"))
sys.path.insert(0, str(Path(__file__).parents[1] / "pipelines"))

from training_runs import make_run


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> Path:
    """The folder of a finished run (`run`) with its registry. Do not change it."""
    return make_run(tmp_path_factory.mktemp("dataset"))
