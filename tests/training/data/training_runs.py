"""Makes small finished runs that the compliance check clears, and copies of them."""

import hashlib
import io
import json
import shutil
from itertools import islice
from pathlib import Path

from making import COLOURS, write_recipe, write_tar
from making import sample as plain_sample
from PIL import Image, ImageDraw

from pipelines.commands.main import invoke
from pipelines.registry.store import create_registry
from pipelines.run.directory import Run, open_run
from training.config_data import Data
from training.data.batch import Batch
from training.data.loader import Batches
from training.data.samples import ShardSet

#: Samples of the run, and its artists.
SAMPLES, ARTISTS = 60, 5
#: Width and height by number: upright, square, wide.
SIZES = [(60, 90), (80, 80), (100, 60)]


def drawing(number: int) -> bytes:
    """A picture whose colours and shapes differ from every other number's."""
    width, height = SIZES[number % 3]
    image = Image.new("RGB", (width, height), (number * 37 % 256, number * 91 % 256, number * 151 % 256))
    draw = ImageDraw.Draw(image)
    for at in range(5):
        x, y = (number * 7 + at * 31) % width, (number * 13 + at * 17) % height
        draw.rectangle((x, y, x + 9 + number % 11, y + 7 + at), fill=COLOURS[(number + at) % 6])
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def members(number: int) -> dict[str, bytes]:
    """One sample: drawing, caption, creator."""
    found = plain_sample(number, creator=f"Artist {number % ARTISTS}")
    return {name: drawing(number) if name.endswith(".png") else data for name, data in found.items()}


def make_run(folder: Path, samples: int = SAMPLES, **sections: object) -> Path:
    """Make a finished run of shards of 16 samples with an empty registry; return `folder`."""
    for part in range(3):
        write_tar(folder / "in" / f"{part}.tar", *(members(number) for number in range(part, samples, 3)))
    create_registry(str(folder / "registry.sqlite")).close()
    rights = {"registry": str(folder / "registry.sqlite")}
    settings = {"shards": {"samples": 16}, "rights": rights, "duplicates": None, **sections}
    recipe = write_recipe(folder, folder / "in", **settings)
    assert invoke(["run", str(recipe), "--out", str(folder / "run"), "--runner", "plain"]) == 0
    return folder


def copy_run(made: Path, folder: Path) -> Path:
    """Copy a run with its input and registry; its recipe names the copies."""
    shutil.copytree(made, folder)
    for recipe in (folder / "recipe.yaml", folder / "run" / "recipe.yaml"):
        recipe.write_text(recipe.read_text().replace(str(made), str(folder)))
    restate(folder / "run", "recipe.yaml")
    return folder


def restate(run: Path, name: str) -> None:
    """Let the manifest state a file as it is now."""
    body = json.loads((run / "manifest.json").read_text())
    data = (run / name).read_bytes()
    body["files"][name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (run / "manifest.json").write_text(json.dumps(body))


def opened(folder: Path) -> Run:
    """The run of a made folder."""
    return open_run(str(folder / "run"))


def shards_of(folder: Path) -> ShardSet:
    """The samples of a made folder's run."""
    return ShardSet.open(opened(folder))


def small(**settings: object) -> Data:
    """A configuration for the small run, without decoding processes unless `settings` name some."""
    usual = {"batch": 8, "workers": 0, "buckets": {"resolution": 32, "step": 8}}
    return Data.model_validate({**usual, **settings})


def first(shards: ShardSet, config: Data, count: int, **position: object) -> list[Batch]:
    """The first batches from a position on."""
    with Batches(shards, config, **position) as batches:
        return list(islice(batches, count))


def same(a: Batch, b: Batch) -> bool:
    """Whether two batches are equal bit for bit, cursor and all."""
    pictures = bool((a.images == b.images).all()) and a.images.shape == b.images.shape
    numbers = all(bool((getattr(a, n) == getattr(b, n)).all()) for n in ("weights", "sizes", "crops", "flipped"))
    return pictures and numbers and (a.uids, a.captions, a.cursor) == (b.uids, b.captions, b.cursor)
