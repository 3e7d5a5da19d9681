"""Puts the makers of small inputs on the path, and makes one run over real pictures for all tests here."""

import json
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import NamedTuple

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from making import assay_command, write_recipe


class RealRun(NamedTuple):
    """A finished run over real pictures: its recipe, folder, what `--json` printed, and how long it took."""

    recipe: Path
    folder: Path
    status: dict[str, object]
    seconds: float


@pytest.fixture(scope="session")
def real_run(openclipart, tmp_path_factory) -> RealRun:
    """Every scorer and every kind of decision over 4 shards of 60 real pictures each."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "in").mkdir()
    for number in range(4):
        with (
            tarfile.open(openclipart / f"openclipart-{2 * number:05d}.tar") as source,
            tarfile.open(folder / "in" / f"{number}.tar", "w") as target,
        ):
            for member in source.getmembers()[:180]:
                target.addfile(member, source.extractfile(member))
    recipe = write_recipe(
        folder,
        folder / "in",
        scorers=["size", "hashes", "caption", "language", "technical", "nsfw", "similarity"],
        rules={"similarity": {"keep_top": 0.8}, "nsfw": {"high": 0.9}},
        licences={"allow": ["http://web.resource.org/cc/PublicDomain"]},
        balance={"by": "concept", "cap": 10},
        shards={"samples": 50},
    )
    start = time.monotonic()
    done = subprocess.run(
        assay_command("run", recipe, "--out", folder / "run", "--json"), capture_output=True, text=True, check=True
    )
    return RealRun(recipe, folder / "run", json.loads(done.stdout), time.monotonic() - start)
