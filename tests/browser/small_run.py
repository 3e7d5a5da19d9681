"""One small run made by the real command over drawn pictures: places, artists, blurred ones, copies, an opt-out."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

MAIN = "from pipelines.commands.main import main; main()"

#: The artist whose pictures are looked for; she drew every fifth one.
ARTIST = "Ada Søndergård"

#: The artist who is in the registry: his pictures are reserved.
OPTED_OUT = "Otto Gone"

PLACES = ("Kenya", "Nigeria", "Japan", "India", "France", "Brazil")

#: Every second picture of these places is out of focus, so that the sharpness rule falls on one region.
BLURRED = ("Kenya", "Nigeria")

THINGS = ("market", "river", "house", "boat", "bridge", "tree")

RECIPE = {
    "version": 1,
    "name": "drawings",
    "scorers": ["size", "hashes", "caption", "technical", "similarity"],
    "similarity": {"model": "builtin:mini"},
    "rules": {"min_side": {"low": 60}, "sharpness": {"low": 5}, "similarity": {"keep_top": 0.95}},
    "rights": {"default": "fail_open", "registry": "optouts.sqlite"},
    "licences": {"allow": ["CC0"]},
    "duplicates": {"phash_distance": 2},
    "audit": {"groups": {"region": {"kind": "place"}, "artist": {"kind": "creator"}}},
    "gates": {"africa": {"share": {"group": "region", "value": "Africa", "min": 0.05}}},
    "balance": {"by": "creator", "cap": 60},
    "limits": {"max_failures": 1.0},
}


def drawing(seed: int, blurred: bool = False, side: int = 160) -> Image.Image:
    """A drawing of its own for each seed; `blurred`: out of focus."""
    random = np.random.default_rng(seed)
    colours = [tuple(int(v) for v in random.integers(0, 255, 3)) for _ in range(9)]
    image = Image.new("RGB", (side, side * 3 // 4), colours[0])
    draw = ImageDraw.Draw(image)
    for colour in colours[1:]:
        x, y, w, h = (int(v) for v in random.integers(4, side // 2, 4))
        (draw.ellipse if random.random() < 0.5 else draw.rectangle)((x, y, x + w, y + h), fill=colour, outline="black")
    return image.filter(ImageFilter.GaussianBlur(4)) if blurred else image


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    """The bytes of a picture's file."""
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def creator_of(number: int) -> str:
    """Who drew picture `number`."""
    return OPTED_OUT if number % 24 == 7 else ARTIST if number % 5 == 0 else f"artist {number % 4}"


def picture_of(number: int) -> Image.Image:
    """Picture `number`: some are blurred, some tiny, every 30th is a copy of the one before."""
    place = PLACES[number % len(PLACES)]
    seed = number - 1 if number % 30 == 29 else number
    return drawing(seed, place in BLURRED and number % 4 < 2, 40 if number % 37 == 5 else 160)


def write_input(path: Path, count: int) -> None:
    """Write one WebDataset tar of `count` drawings with captions and metadata; one of them cannot be decoded."""
    with tarfile.open(path, "w") as archive:
        for number in range(count):
            place, thing = PLACES[number % len(PLACES)], THINGS[number % len(THINGS) - 1]
            about = {"licence": "GPL" if number % 41 == 9 else "CC0", "creator": creator_of(number)}
            about["url"] = f"https://pictures{number % 3}.example/{number}.png"
            members = {
                "png": b"no picture" if number == 3 else encoded(picture_of(number)),
                "txt": f"A drawing of a {thing} in {place}, number {number}".encode(),
                "json": json.dumps(about).encode(),
            }
            for ending, data in members.items():
                member = tarfile.TarInfo(f"d{number:05d}.{ending}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


def assay(folder: Path, *arguments: str) -> str:
    """Run the real command in `folder`; returns what it printed."""
    command = [sys.executable, "-c", MAIN, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def make_small_run(folder: Path, out: Path, count: int = 180) -> None:
    """Make the run `out` from `count` drawings, with a registry that names one artist, its audit and its report."""
    write_input(folder / "drawings.tar", count)
    recipe = {**RECIPE, "input": {"kind": "webdataset", "path": str(folder / "drawings.tar")}}
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    assay(folder, "optout", "init", "optouts.sqlite")
    assay(folder, "optout", "add", "optouts.sqlite", "--creator", OPTED_OUT)
    assay(folder, "run", "recipe.yaml", "--out", str(out), "--runner", "plain")
