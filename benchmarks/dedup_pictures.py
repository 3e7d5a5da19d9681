"""Pictures with known duplicates for `benchmarks.dedup`: real ones, and what twelve transformations make of them."""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from filters.decoding import Undecodable, decode
from filters.scorers.hashes import phashes
from filters.scorers.pdq import dihedral_hashes
from filters.scoring import Picture


def _crop(share: float) -> Callable[[Image.Image], Image.Image]:
    """Cut the share away, of each side half of it."""

    def crop(image: Image.Image) -> Image.Image:
        dx, dy = round(image.width * share / 2), round(image.height * share / 2)
        return image.crop((dx, dy, image.width - dx, image.height - dy))

    return crop


def _half(image: Image.Image) -> Image.Image:
    return image.resize((max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.LANCZOS)


def _border(image: Image.Image) -> Image.Image:
    return ImageOps.expand(image, round(0.05 * max(image.size)), "black")


def _overlay(image: Image.Image) -> Image.Image:
    copy = image.copy()
    size = max(8, image.height // 10)
    ImageDraw.Draw(copy).text((image.width * 0.1, image.height * 0.45), "SAMPLE TEXT", "red", font_size=size)
    return copy


#: The transformations by name. Crop: the share that is cut away of width and of height.
TRANSFORMATIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "jpeg_30": lambda image: image,  # by how it is saved
    "resize_half": _half,
    "crop_10": _crop(0.10),
    "crop_25": _crop(0.25),
    "flip": ImageOps.mirror,
    "rotate_90": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "rotate_5": lambda image: image.rotate(5, Image.Resampling.BICUBIC, fillcolor="white"),
    "blur": lambda image: image.filter(ImageFilter.GaussianBlur(max(image.size) / 200)),
    "brightness": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "border": _border,
    "text_overlay": _overlay,
    "greyscale": lambda image: image.convert("L").convert("RGB"),
}


def transformed(image: Image.Image, name: str) -> bytes:
    """Return the file (PNG; JPEG for `jpeg_30`) that a transformation makes of a picture."""
    buffer = io.BytesIO()
    found = TRANSFORMATIONS[name](image)
    found.save(buffer, "JPEG", quality=30) if name == "jpeg_30" else found.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def openclipart(folder: Path) -> Iterator[bytes]:
    """Yield the pictures of the openclipart shards, every fifth."""
    for shard in sorted(folder.glob("*.tar")):
        with tarfile.open(shard) as archive:
            pictures = [member for member in archive if member.name.endswith(".png")]
            for member in pictures[::5]:
                stream = archive.extractfile(member)
                if stream is not None:
                    yield stream.read()


def photos(folder: Path) -> Iterator[bytes]:
    """Yield the photos of a folder."""
    for path in sorted(folder.rglob("*.jpg")):
        yield path.read_bytes()


def distinct(pictures: Iterator[bytes], count: int) -> list[Image.Image]:
    """Return the first `count` pictures that no other one of them resembles.

    Left out, because nobody has labelled them: what is within 10 bits of pHash, or 60 of PDQ in any turn, of a picture
    before it; and what is smaller than 96 pixels or larger than 1,024.
    """
    found: list[Image.Image] = []
    codes: list[np.ndarray] = []
    turns: list[np.ndarray] = []
    for data in pictures:
        if len(found) == count:
            break
        try:
            image = decode(data).image
        except Undecodable:
            continue
        if min(image.size) < 96 or max(image.size) > 1024:
            continue
        code = phashes([Picture(image)])
        variants, _ = dihedral_hashes(image)
        words = np.frombuffer(b"".join(variants), dtype=np.uint64).reshape(8, 4)
        if codes:
            near = np.bitwise_count(np.concatenate(codes) ^ code[0]) <= 10
            far = np.bitwise_count(np.stack(turns)[:, None, :] ^ words[None]).sum(axis=2).min(axis=1) <= 60
            if near.any() or far.any():
                continue
        found.append(image)
        codes.append(code)
        turns.append(words[0])
    return found


def write_set(folder: Path, images: list[Image.Image]) -> Path:
    """Write each picture and its transformations to `folder`, and the truth; returns the truth's path."""
    folder.mkdir(parents=True, exist_ok=True)
    truth = folder / "truth.csv"
    with truth.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["file", "group"])
        for number, image in enumerate(images):
            original = f"{number:05d}-original.png"
            image.save(folder / original, compress_level=1)
            rows.writerow([original, number])
            for name in TRANSFORMATIONS:
                file = f"{number:05d}-{name}.{'jpg' if name == 'jpeg_30' else 'png'}"
                (folder / file).write_bytes(transformed(image, name))
                rows.writerow([file, number])
    return truth
