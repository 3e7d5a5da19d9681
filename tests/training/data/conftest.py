"""Puts the makers of small inputs on the path, and makes one finished run for all tests of the data path."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "pipelines"))

from training_runs import make_run


@pytest.fixture(scope="session")
def cleared(tmp_path_factory) -> Path:
    """The folder of a finished run (`run`), its input (`in`) and registry (`registry.sqlite`). Do not change it."""
    return make_run(tmp_path_factory.mktemp("cleared"))


@pytest.fixture
def own(cleared, tmp_path) -> Path:
    """A copy of `cleared` that a test may change."""
    from training_runs import copy_run

    return copy_run(cleared, tmp_path / "own")
