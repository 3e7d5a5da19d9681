"""Real and made pictures for the scorers, and batches of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from filters.decoding import decode
from filters.scoring import Batch, Picture

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real test data; the test is skipped where it is missing."""
    folder = Path(os.environ.get("ASSAY_SHARED_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no {folder}: set ASSAY_SHARED_DATA")
    return folder


@pytest.fixture(scope="session")
def real_pictures(shared_data: Path) -> list[Picture]:
    """47 real pictures: those of the hash libraries' own tests, and 30 photos."""
    files = sorted(path for path in (shared_data / "phash_reference").rglob("*") if path.suffix in (".jpg", ".png"))
    files += sorted((shared_data / "flickr8k_sample" / "images").glob("*.jpg"))[:30]
    return [decode(path.read_bytes()) for path in files]


@pytest.fixture(scope="session")
def made_pictures() -> list[Picture]:
    """Blank, tiny, thin, drawn and noisy pictures, the same ones every time."""
    noise = np.random.default_rng(7).integers(0, 256, (90, 140, 3), dtype=np.uint8)
    drawn = Image.new("RGB", (300, 200), "white")
    ImageDraw.Draw(drawn).ellipse((40, 30, 260, 170), fill="orange", outline="navy", width=5)
    images = [Image.fromarray(noise), drawn, drawn.convert("L").convert("RGB")]
    images += [
        Image.new("RGB", size, colour) for size in ((1, 1), (64, 64), (500, 3)) for colour in ("white", "black")
    ]
    images += [Image.new("RGB", (32 + level, 40), (level, 255 - level, 7 * level % 256)) for level in range(0, 256, 5)]
    return [Picture(image) for image in images]


@pytest.fixture(scope="session")
def batch_of() -> Callable[..., Batch]:
    """A function that makes a batch of pictures, with captions where they matter."""

    def make(pictures: list[Picture], captions: list[str] | None = None) -> Batch:
        texts = captions if captions is not None else [""] * len(pictures)
        return Batch([f"{at:032x}" for at in range(len(texts))], texts, [b""] * len(texts), pictures)

    return make
