"""Known damage to pictures, for training and measuring what claims to see it."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image, ImageFilter


def blurred(image: Image.Image, sigma: float) -> Image.Image:
    """Return the picture after a Gaussian blur with standard deviation `sigma` pixels."""
    return image.filter(ImageFilter.GaussianBlur(sigma))


def compressed(image: Image.Image, quality: int) -> Image.Image:
    """Return the picture after JPEG at `quality` (1 to 95, Pillow's scale; chroma 4:2:0) and back."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    with Image.open(buffer, formats=("JPEG",)) as encoded:
        return encoded.convert("RGB")


def noisy(image: Image.Image, sigma: float, seed: int = 0) -> Image.Image:
    """Return the picture with Gaussian noise of standard deviation `sigma` (of 255), channels apart, clipped."""
    pixels = np.asarray(image, dtype=np.float32)
    pixels = pixels + np.random.default_rng(seed).standard_normal(pixels.shape, dtype=np.float32) * np.float32(sigma)
    return Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8))


def exposed(image: Image.Image, stops: float) -> Image.Image:
    """Return the picture as if it had got 2**`stops` times the light: a factor on linear light, clipped.

    sRGB's transfer function (IEC 61966-2-1) leads to linear light and back.
    """
    coded = np.arange(256) / 255
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear * 2.0**stops, 0, 1)
    again = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    table = [round(255 * float(value)) for value in again]
    return image.point(table * 3)


#: The five kinds of damage that a technical-quality score must see, at the strength at which it is measured.
STANDARD: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "blur": lambda image: blurred(image, 2.0),
    "jpeg": lambda image: compressed(image, 10),
    "noise": lambda image: noisy(image, 25.0),
    "under-exposure": lambda image: exposed(image, -2.0),
    "over-exposure": lambda image: exposed(image, 2.0),
}

#: The same kinds at about half the strength, to see how far the score reaches.
MILD: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "blur": lambda image: blurred(image, 1.0),
    "jpeg": lambda image: compressed(image, 30),
    "noise": lambda image: noisy(image, 10.0),
    "under-exposure": lambda image: exposed(image, -1.0),
    "over-exposure": lambda image: exposed(image, 1.0),
}
