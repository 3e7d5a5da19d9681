"""A tiny base of each test file's own."""

import pytest
from method_runs import made_base


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The newest checkpoint of a training of two steps. Do not change it."""
    return made_base(tmp_path_factory.mktemp("base"))
