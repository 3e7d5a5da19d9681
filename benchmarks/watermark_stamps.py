"""Visible marks to stamp on pictures: 40 kinds to develop on and 40 others to measure with.

A kind is a text, a layout, a font, a colour, and whether its letters have an edge of the opposite shade. The two
sets share no text but `alamy`, no invented name and no font file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scipy.ndimage import uniform_filter

#: Debian's fonts-dejavu-core and fonts-liberation, found by name; "" is Pillow's own (Aileron).
DEVELOPMENT_FONTS = ("LiberationSans-Bold.ttf", "LiberationSerif-Regular.ttf", "DejaVuSerif-Bold.ttf")
TEST_FONTS = ("DejaVuSans-Bold.ttf", "", "LiberationMono-Bold.ttf", "DejaVuSans.ttf", "LiberationSans-Italic.ttf")

#: Names of real agencies and invented ones; URLs, copyright lines and numbers as agencies print them.
DEVELOPMENT_TEXTS = (
    *("alamy", "iStock", "Dreamstime", "123RF", "VectorStock", "Fotolia", "gettyimages", "Pixta"),
    *("Lumostock", "Photarium", "Vistagrain", "Clipvault", "Nordbild", "Imagora", "Stocklane", "Kameraklub"),
    *("www.vistagrain.com", "© Anna Beispiel", "photarium.net", "PREVIEW", "SAMPLE", "Image ID: 48120731"),
)
TEST_TEXTS = (
    *("shutterstock", "Adobe Stock", "depositphotos", "Bigstock", "agefotostock", "Getty Images", "freepik", "alamy"),
    *("Pictorum", "Okulara", "Stockwelle", "FOTOVANTA", "Grainhouse", "Quarrypix", "Bildspeicher", "Visuario"),
    *("www.okulara.com", "© 2024 J. Doe", "grainhouse.photos", "COPYRIGHT", "DO NOT COPY", "ID 90417266"),
)
COLOURS = {"white": 255, "black": 0, "grey": 160}

Layout = Callable[[tuple[int, int], str, str, np.random.Generator], Image.Image]


@dataclass(frozen=True)
class Kind:
    """One kind of mark."""

    text: str
    layout: str
    font: str
    colour: str
    edged: bool

    def stamp(self, image: Image.Image, opacity: float, seed: int) -> Image.Image:
        """Return a copy of the RGB picture with the mark at `opacity` (0 to 1); place and size by `seed`."""
        generator = np.random.default_rng(seed)
        mask = LAYOUTS[self.layout](image.size, self.text, self.font, generator)
        mask = mask.point([round(level * opacity) for level in range(256)])
        level = COLOURS[self.colour]
        marked = image.copy()
        if self.edged:
            # As agencies do it, so that white letters show on snow: a soft edge of the opposite shade, half as strong.
            around = mask.filter(ImageFilter.MaxFilter(3)).filter(ImageFilter.GaussianBlur(max(image.size) / 400))
            edge = 0 if level > 127 else 255
            marked.paste((edge, edge, edge), mask=around.point([round(0.7 * value) for value in range(256)]))
        marked.paste((level, level, level), mask=mask)
        return marked

    def shows(self, image: Image.Image, marked: Image.Image) -> float:
        """Return how clearly the mark stands out: the change of its letters over the unrest of the ground there.

        The change is the mean over the half of the marked pixels that change most, the unrest the standard
        deviation of luma within 1/40 of the longer side around them plus 8 levels. White letters on snow are near
        0.
        """
        ground = np.asarray(image.convert("L"), dtype=np.float32)
        change = np.abs(np.asarray(marked.convert("L"), dtype=np.float32) - ground)
        if not change.any():
            return 0.0
        letters = change >= np.median(change[change > 0])
        side = max(3, max(image.size) // 20)
        mean, squares = uniform_filter(ground, side), uniform_filter(ground * ground, side)
        unrest = np.sqrt(np.maximum(squares - mean**2, 0.0)) + 8.0
        return float((change[letters] / unrest[letters]).mean())


def kinds(texts: tuple[str, ...], fonts: tuple[str, ...], count: int = 40) -> list[Kind]:
    """Return `count` kinds: every layout in turn, with texts, fonts and colours in turn."""
    layouts, colours = list(LAYOUTS), list(COLOURS)
    return [
        Kind(
            texts[(at * 7) % len(texts)],
            layouts[at % len(layouts)],
            fonts[at % len(fonts)],
            # White is what agencies use most.
            colours[(at // len(layouts)) % len(colours)] if at % 2 else "white",
            (at // len(layouts) + at) % 2 == 0,
        )
        for at in range(count)
    ]


def font(name: str, size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return a font by file name, Pillow's own for an empty one."""
    if not name:
        return ImageFont.load_default(size)
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        raise SystemExit(f"no font {name}: install fonts-dejavu-core and fonts-liberation") from None


def _fitted(text: str, name: str, width: float, height: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font at a size at which the text is at most `width` wide and `height` high, 7 at least."""
    left, _, right, _ = font(name, 100).getbbox(text)
    return font(name, max(7.0, min(height, 100.0 * width / max(right - left, 1.0))))


def _tile(text: str, name: str, side: int, angle: float, generator: np.random.Generator) -> Image.Image:
    """Return a square of repeated text, turned by `angle` degrees."""
    wide = 2 * side
    drawn = _fitted(text, name, side * generator.uniform(0.28, 0.5), side * 0.12)
    left, top, right, bottom = drawn.getbbox(text)
    across, down = (right - left) * generator.uniform(1.2, 1.7), (bottom - top) * generator.uniform(2.5, 5.0)
    mask = Image.new("L", (wide, wide))
    draw = ImageDraw.Draw(mask)
    for row in range(int(wide / down) + 1):
        for column in range(-1, int(wide / across) + 1):
            draw.text((column * across + (row % 2) * across / 2, row * down), text, 255, drawn)
    return mask.rotate(angle, Image.Resampling.BICUBIC)


def _tiled(size: tuple[int, int], text: str, name: str, generator: np.random.Generator, angle: float) -> Image.Image:
    side = max(size)
    mask = _tile(text, name, side, angle, generator)
    left, top = (2 * side - size[0]) // 2, (2 * side - size[1]) // 2
    return mask.crop((left, top, left + size[0], top + size[1]))


def diagonal_tiles(size: tuple[int, int], text: str, name: str, generator: np.random.Generator) -> Image.Image:
    """The text again and again, at 20 to 45 degrees."""
    return _tiled(size, text, name, generator, float(generator.choice([-1, 1]) * generator.uniform(20, 45)))


def rows(size: tuple[int, int], text: str, name: str, generator: np.random.Generator) -> Image.Image:
    """The text again and again, level."""
    return _tiled(size, text, name, generator, 0.0)


def _lettered(size: tuple[int, int], text: str, name: str, width: float, height: float) -> Image.Image:
    """Return the text alone on black, cut to its letters."""
    drawn = _fitted(text, name, width, height)
    left, top, right, bottom = drawn.getbbox(text)
    mask = Image.new("L", (int(right - left) + 4, int(bottom - top) + 4))
    ImageDraw.Draw(mask).text((2 - left, 2 - top), text, 255, drawn)
    return mask


def diagonal(size: tuple[int, int], text: str, name: str, generator: np.random.Generator) -> Image.Image:
    """One large text across the middle, at 15 to 45 degrees."""
    letters = _lettered(size, text, name, 0.95 * min(size), 0.3 * size[1])
    letters = letters.rotate(float(generator.choice([-1, 1]) * generator.uniform(15, 45)), expand=True)
    return _placed(size, letters, 0.5, 0.5)


def centre(size: tuple[int, int], text: str, name: str, generator: np.random.Generator) -> Image.Image:
    """One text across the middle, level, half of them on a fainter band."""
    letters = _lettered(size, text, name, generator.uniform(0.5, 0.9) * size[0], 0.2 * size[1])
    mask = _placed(size, letters, 0.5, generator.uniform(0.4, 0.6))
    if generator.random() < 0.5:
        return mask
    box = mask.getbbox()
    assert box is not None
    band = Image.new("L", size)
    ImageDraw.Draw(band).rectangle((0, box[1] - 4, size[0], box[3] + 4), fill=90)
    band.paste(0, mask=mask)
    return Image.composite(mask, band, mask)


def corner_logo(size: tuple[int, int], text: str, name: str, generator: np.random.Generator) -> Image.Image:
    """A ring with a bar, and the text beside it, in one corner."""
    letters = _lettered(size, text, name, generator.uniform(0.3, 0.5) * size[0], 0.1 * size[1])
    side = letters.height
    logo = Image.new("L", (side + 4 + letters.width, side))
    draw = ImageDraw.Draw(logo)
    draw.ellipse((1, 1, side - 2, side - 2), outline=255, width=max(1, side // 6))
    draw.line((side // 2, 2, side // 2, side - 3), fill=255, width=max(1, side // 6))
    logo.paste(letters, (side + 4, 0))
    return _placed(size, logo, float(generator.choice([0.03, 0.97])), float(generator.choice([0.03, 0.97])))


def corner_line(size: tuple[int, int], text: str, name: str, generator: np.random.Generator) -> Image.Image:
    """A small line of text at the lower or upper edge."""
    letters = _lettered(size, text, name, generator.uniform(0.35, 0.6) * size[0], 0.065 * size[1])
    return _placed(size, letters, float(generator.choice([0.03, 0.5, 0.97])), float(generator.choice([0.02, 0.98])))


def crossed(size: tuple[int, int], text: str, name: str, generator: np.random.Generator) -> Image.Image:
    """Two crossing diagonal lines, and the text in the middle."""
    lines = Image.new("L", size)
    draw = ImageDraw.Draw(lines)
    draw.line((0, 0, *size), fill=200, width=2)
    draw.line((0, size[1], size[0], 0), fill=200, width=2)
    letters = _lettered(size, text, name, generator.uniform(0.5, 0.8) * size[0], 0.16 * size[1])
    left, top = (size[0] - letters.width) // 2, (size[1] - letters.height) // 2
    lines.paste(letters, (left, top))
    return lines


def side_line(size: tuple[int, int], text: str, name: str, generator: np.random.Generator) -> Image.Image:
    """A small line along the left or right edge, from the bottom upwards."""
    letters = _lettered(size, text, name, generator.uniform(0.35, 0.6) * size[1], 0.065 * size[0])
    return _placed(size, letters.rotate(90, expand=True), float(generator.choice([0.02, 0.98])), 0.5)


def _placed(size: tuple[int, int], mark: Image.Image, across: float, down: float) -> Image.Image:
    """Return the mark on an empty mask, at shares (0 to 1) of the room that it leaves."""
    mask = Image.new("L", size)
    mask.paste(mark, (round(across * (size[0] - mark.width)), round(down * (size[1] - mark.height))))
    return mask


LAYOUTS: dict[str, Layout] = {
    "diagonal_tiles": diagonal_tiles,
    "corner_logo": corner_logo,
    "diagonal": diagonal,
    "corner_line": corner_line,
    "rows": rows,
    "centre": centre,
    "crossed": crossed,
    "side_line": side_line,
}

DEVELOPMENT_KINDS = kinds(DEVELOPMENT_TEXTS, DEVELOPMENT_FONTS)
TEST_KINDS = kinds(TEST_TEXTS, TEST_FONTS)
