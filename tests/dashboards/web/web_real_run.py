"""A small run by the real jobs over drawn pictures, and the dashboard over it: made once for all tests that ask."""

import atexit
import io
import json
import shutil
import tarfile
import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from web_clients import client_for

ARTIST, RESERVED = "Zoë Ångström", "Otto Gone"
PLACES = ("Kenya", "Japan", "France", "Brazil")
COUNT = 96

RECIPE = {
    "name": "drawings",
    "scorers": ["size", "hashes", "pdq", "caption", "language", "technical", "similarity"],
    "similarity": {"model": "builtin:mini"},
    "rules": {
        "min_side": {"low": 60},
        "caption_words": {"low": 3, "high": 40},
        "sharpness": {"low": 300, "by_group": {"region": {"Africa": {"low": 40}}}},
        "similarity": {"keep_top": 0.9},
    },
    "rights": {"default": "fail_open", "registry": "optouts.sqlite"},
    "licences": {"allow": ["CC0"]},
    "languages": {"allow": ["en"], "missing": "keep"},
    "duplicates": {"phash_distance": 6, "pdq_distance": 40, "confirm_distance": None, "colour_distance": None},
    "audit": {"groups": {"region": {"kind": "place"}}},
    "balance": {"by": "creator", "cap": 20},
    "limits": {"max_failures": 1.0},
}


def drawing(number, side=200):
    """A drawing of its own for each number."""
    random = np.random.default_rng(number)
    colours = [tuple(int(v) for v in random.integers(0, 255, 3)) for _ in range(12)]
    image = Image.new("RGB", (side, side * 3 // 4), colours[0])
    draw = ImageDraw.Draw(image)
    for colour in colours[1:]:
        x, y, w, h = (int(v) for v in random.integers(4, side // 2, 4))
        (draw.ellipse if random.random() < 0.5 else draw.rectangle)((x, y, x + w, y + h), fill=colour, outline="black")
    return image


def encoded(image, form="PNG", **options):
    """The bytes of a picture's file."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def picture_bytes(number):
    """The file of picture `number`: some cannot be read, are tiny, blurred, or copies of the one before, changed."""
    if number == 3:
        return b"no picture"
    if number % 16 == 9:
        return picture_bytes(number - 1)
    if number % 16 == 13:
        return encoded(drawing(number - 1).resize((180, 135), Image.Resampling.NEAREST), "JPEG", quality=95)
    image = drawing(number, 50 if number % 31 == 5 else 200)
    return encoded(image.filter(ImageFilter.GaussianBlur(3)) if number % 4 == 2 else image)


def creator_of(number):
    """Who drew picture `number`."""
    return RESERVED if number % 24 == 7 else ARTIST if number % 6 == 0 else f"artist {number % 4}"


def _write_input(path):
    with tarfile.open(path, "w") as archive:
        for number in range(COUNT):
            about = {"licence": "GPL" if number % 41 == 8 else "CC0", "creator": creator_of(number)}
            about["url"] = f"https://pictures{number % 3}.example/album/{number}.png"
            words = "Bild" if number == 11 else f"A drawing of some shapes in {PLACES[number % 4]}, number {number}"
            members = {"png": picture_bytes(number), "txt": words.encode(), "json": json.dumps(about).encode()}
            for ending, data in members.items():
                member = tarfile.TarInfo(f"d{number:05d}.{ending}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


@lru_cache(maxsize=1)
def real_folder():
    """The folder that holds the run `real`; deleted when the tests end."""
    from filters.optout.entries import Draft, Kind
    from pipelines.engine import PLAIN, Engine
    from pipelines.jobs.calibrate import calibrate
    from pipelines.jobs.decide import decide
    from pipelines.jobs.dedup import dedup
    from pipelines.jobs.groups import assign_groups
    from pipelines.jobs.ingest import ingest
    from pipelines.jobs.match import match
    from pipelines.jobs.score import score
    from pipelines.registry import create_registry
    from pipelines.run.directory import create_run
    from pipelines.run.recipe import load_recipe

    base = Path(tempfile.mkdtemp(prefix="assay-web-"))
    atexit.register(shutil.rmtree, base, True)
    _write_input(base / "drawings.tar")
    body = {**RECIPE, "input": {"kind": "webdataset", "path": str(base / "drawings.tar")}}
    (base / "recipe.yaml").write_text(json.dumps(body))
    with create_registry(str(base / "optouts.sqlite")) as registry:
        registry.append([Draft(Kind.CREATOR, RESERVED, (), "", "", "")])
    run = create_run(str(base / "runs" / "real"), load_recipe(base / "recipe.yaml", []))
    engine = Engine(PLAIN)
    for job in (ingest, score):
        job(run, engine)
    calibrate(run)
    match(run, engine)
    dedup(run, engine)
    assign_groups(run, engine)
    decide(run)
    return base / "runs"


@lru_cache(maxsize=1)
def real_client():
    """A client of the dashboard over the run."""
    cache = real_folder().parent / "cache"
    client = client_for(real_folder(), cache)
    client.__enter__()
    atexit.register(client.__exit__, None, None, None)
    return client


def real_run():
    """The run itself."""
    from pipelines.run.directory import open_run

    return open_run(str(real_folder() / "real"))


def ledger_rows(run):
    """All rows of a run's ledger, in order."""
    return [row for part in run.parts("ledger") for row in run.table("ledger", part).to_pylist()]


def opened(name="real"):
    """The run as queries take it."""
    return real_client().app.state.catalogue.open(name)
