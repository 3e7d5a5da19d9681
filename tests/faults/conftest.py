"""One small input, the recipe over it and a run that nothing harmed, which every harmed one must equal."""

import sys
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent / "pipelines"):
    sys.path.insert(0, str(folder))

from harm import Done, command  # noqa: E402
from making import sample, write_recipe, write_tar  # noqa: E402


class Whole(NamedTuple):
    """The run that nothing harmed: its recipe, folder, and what the command said."""

    recipe: Path
    folder: Path
    done: Done

    @property
    def content_hash(self):
        return self.done.json["content_hash"]


@pytest.fixture(scope="session")
def whole(tmp_path_factory) -> Whole:
    """Two shards with kept pictures, duplicates, corrupt ones and a balance that drops."""
    folder = tmp_path_factory.mktemp("whole")
    for shard in range(2):
        rows = [sample(10 * shard + i) for i in range(9)]
        rows.append(sample(3, key=f"again-{shard}"))
        rows.append({f"bad-{shard}.png": b"\x89PNG\r\n\x1a\n" + bytes(30), f"bad-{shard}.txt": b"a bad one"})
        write_tar(folder / "in" / f"{shard}.tar", *rows)
    recipe = write_recipe(folder, folder / "in", shards={"samples": 5}, balance={"by": "creator", "cap": 4})
    watched = folder / "run"
    done = command(folder / "say", "run", recipe, "--out", watched, "--runner", "plain", "--json", watched=watched)
    assert done.code == 0, done.err
    assert done.json["balanced"]
    assert len(done.changes) > 50
    return Whole(recipe, watched, done)
