"""Pictures to develop the watermark scorer on: scenes composed of openclipart drawings, with ordinary text or none.

Drawings on white are unlike photos, which the scorer is for; so most scenes have a textured ground, shading and
several drawings. All of it is public domain and none of it is in the pictures that the scorer is measured on.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from benchmarks.watermark_stamps import DEVELOPMENT_FONTS, font

#: Words of ordinary signs, labels, shirts and dates; none of them is a mark.
WORDS = (
    *("EXIT", "BAKERY", "Hotel", "STOP", "Open 24 hours", "Taxi", "No 7", "Happy Birthday", "POLICE", "Main Street"),
    *("Coffee", "SALE", "Welcome", "Fresh Fruit", "Team 12", "Chapter One", "Mon 14 May", "2019", "Push", "Museum"),
)
#: Folders whose drawings are letters and icons by themselves; they stand alone on white, but not in scenes.
_ICONS = ("computer", "shapes", "signs_and_symbols", "special", "logos", "buttons", "office")
_SIZES = ((224, 224), (224, 224), (256, 256), (320, 240), (448, 336), (336, 448), (512, 512))


class Scenes:
    """Scenes by number, the same ones every time. `folder` holds the shards of `assay corpus openclipart`."""

    def __init__(self, folder: Path, count: int = 600, seed: int = 0) -> None:
        self._seed = seed
        self._icons = _drawings(folder, count // 4, seed, True)
        self._drawings = _drawings(folder, count, seed, False)

    def scene(self, number: int) -> Image.Image:
        """Return RGB: a sixth plain icons on white, the others composed."""
        generator = np.random.default_rng((self._seed, number))
        size = _SIZES[generator.integers(len(_SIZES))]
        if number % 6 == 0:
            ground = Image.new("RGB", size, "white")
            _put(ground, self._icons[generator.integers(len(self._icons))], generator, 0.9)
            return ground
        ground = self._ground(size, generator)
        for _ in range(int(generator.integers(1, 5))):
            _put(ground, self._drawing(generator), generator, generator.uniform(0.3, 0.8))
        pixels = np.asarray(ground, dtype=np.float32)
        pixels = pixels * generator.uniform(0.4, 1.1) + generator.normal(0, generator.uniform(1, 9), pixels.shape)
        scene = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        # Two thirds are out of focus by more than a pixel: drawn outlines are sharper than anything in a photo.
        blur = generator.uniform(0, 0.8) if generator.random() < 0.33 else generator.uniform(1.0, 3.0)
        scene = scene.filter(ImageFilter.GaussianBlur(blur * min(size) / 224))
        grain = np.asarray(scene, dtype=np.float32) + generator.normal(0, generator.uniform(0, 6), pixels.shape)
        return _compressed(Image.fromarray(np.clip(grain, 0, 255).astype(np.uint8)), generator)

    def with_text(self, number: int) -> Image.Image:
        """Return a scene with one to four pieces of ordinary, opaque text, as on signs, labels and clothes.

        Every fourth is a page of text instead.
        """
        generator = np.random.default_rng((self._seed, number, 1))
        if generator.random() < 0.25:
            return _compressed(_page(generator), generator)
        scene = self.scene(number)
        for _ in range(int(generator.integers(1, 5))):
            _put_text(scene, generator)
        return _compressed(scene, generator)

    def _drawing(self, generator: np.random.Generator) -> Image.Image:
        return self._drawings[generator.integers(len(self._drawings))]

    def _ground(self, size: tuple[int, int], generator: np.random.Generator) -> Image.Image:
        """Return a blurred, enlarged drawing under noise of several sizes, as of grass, walls or clouds."""
        white = Image.new("RGB", size, tuple(int(level) for level in generator.integers(30, 256, 3)))
        _put(white, self._drawing(generator), generator, 2.5)
        pixels = np.asarray(white.filter(ImageFilter.GaussianBlur(generator.uniform(1, 8))), dtype=np.float32)
        for cell in (2, 5, 12, 40):
            small = generator.normal(0, generator.uniform(0, 18), (size[1] // cell + 2, size[0] // cell + 2))
            noise = Image.fromarray(small.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
            pixels = pixels + np.asarray(noise)[:, :, None]
        return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _drawings(folder: Path, count: int, seed: int, icons: bool) -> list[Image.Image]:
    names = [
        (path, name)
        for path in sorted(folder.glob("*.tar"))
        for name in _pictures(path)
        if name.startswith(_ICONS) == icons
    ]
    if not names:
        raise SystemExit(f"no shards in {folder}: assay corpus openclipart --out {folder}")
    chosen = np.random.default_rng(seed).permutation(len(names))[:count]
    found = []
    for at in sorted(chosen):
        path, name = names[at]
        with tarfile.open(path) as archive:
            member = archive.extractfile(name)
            assert member is not None
            image = Image.open(io.BytesIO(member.read())).convert("RGBA")
        image.thumbnail((600, 600))
        found.append(image)
    return found


def _pictures(path: Path) -> list[str]:
    with tarfile.open(path) as archive:
        return [name for name in archive.getnames() if name.endswith(".png")]


def _put(ground: Image.Image, drawing: Image.Image, generator: np.random.Generator, share: float) -> None:
    scale = share * min(ground.size) / max(drawing.size)
    sized = drawing.resize((max(1, round(drawing.width * scale)), max(1, round(drawing.height * scale))))
    left = round((ground.width - sized.width) * generator.uniform(0, 1))
    top = round((ground.height - sized.height) * generator.uniform(0, 1))
    ground.paste(sized, (left, top), sized)


def _put_text(scene: Image.Image, generator: np.random.Generator) -> None:
    """Draw a word, half of them on a panel, as large as real ones, at most 12 degrees from level."""
    word = WORDS[generator.integers(len(WORDS))]
    drawn = font(
        DEVELOPMENT_FONTS[generator.integers(len(DEVELOPMENT_FONTS))], generator.uniform(0.05, 0.16) * scene.height
    )
    left, top, right, bottom = drawn.getbbox(word)
    colour = tuple(int(level) for level in generator.integers(0, 256, 3))
    if generator.random() < 0.4:
        colour = (255, 255, 255) if generator.random() < 0.5 else (20, 20, 20)
    panel = tuple(255 - level for level in colour) if generator.random() < 0.5 else (0, 0, 0)
    piece = Image.new("RGBA", (int(right - left) + 12, int(bottom - top) + 12), (*panel, 255 * (panel != (0, 0, 0))))
    ImageDraw.Draw(piece).text((6 - left, 6 - top), word, (*colour, 255), drawn)
    piece = piece.rotate(generator.uniform(-12, 12), Image.Resampling.BICUBIC, expand=True)
    place = (
        generator.uniform(0, 1) * (scene.width - piece.width),
        generator.uniform(0, 1) * (scene.height - piece.height),
    )
    scene.paste(piece, (round(place[0]), round(place[1])), piece)


def _page(generator: np.random.Generator) -> Image.Image:
    """Return lines of dark words on lighter, unevenly lit paper, as a scan or a photo of a page has them."""
    size = _SIZES[generator.integers(len(_SIZES))]
    paper, ink = generator.integers(150, 256), generator.integers(0, 110)
    page = Image.new("L", size, int(paper))
    draw = ImageDraw.Draw(page)
    high = float(generator.uniform(0.035, 0.09)) * size[1]
    drawn = font(DEVELOPMENT_FONTS[generator.integers(len(DEVELOPMENT_FONTS))], max(8.0, high))
    top = float(generator.uniform(0, 3)) * high
    while top < size[1] * generator.uniform(0.6, 1.2):
        words = [WORDS[at] for at in generator.integers(0, len(WORDS), int(generator.integers(2, 9)))]
        draw.text((float(generator.uniform(0.01, 0.08)) * size[0], top), " ".join(words), int(ink), drawn)
        top += high * float(generator.uniform(1.2, 1.9))
    light = np.linspace(1.0, generator.uniform(0.5, 1.0), size[0])[None, :]
    pixels = np.asarray(page, dtype=np.float32) * light + generator.normal(0, 3, (size[1], size[0]))
    tint = generator.uniform(0.85, 1.0, 3) if generator.random() < 0.5 else np.ones(3)
    return Image.fromarray(np.clip(pixels[:, :, None] * tint, 0, 255).astype(np.uint8))


def _compressed(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(generator.integers(70, 96)))
    return Image.open(buffer).convert("RGB")
