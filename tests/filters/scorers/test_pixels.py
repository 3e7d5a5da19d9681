"""The hash of the pixels knows a picture in another lossless file, and no other picture."""

import io

import numpy as np
from PIL import Image, PngImagePlugin

from filters.decoding import decode
from filters.scorers.pixels import PixelScorer, pixel_hash
from filters.scoring import Batch

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8))


def saved(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def test_the_same_pixels_in_other_files_have_one_hash():
    text = PngImagePlugin.PngInfo()
    text.add_text("note", "another file")
    files = [
        saved(IMAGE, "PNG"),
        saved(IMAGE, "PNG", compress_level=1, pnginfo=text),
        saved(IMAGE, "WEBP", lossless=True),
        saved(IMAGE, "BMP"),
        saved(IMAGE.convert("RGBA"), "PNG"),
    ]
    assert len(set(files)) == 5
    assert len({pixel_hash(decode(data).image) for data in files}) == 1


def test_one_pixel_or_another_shape_makes_another_hash():
    changed = IMAGE.copy()
    changed.putpixel((3, 4), (1, 2, 3))
    flat = Image.frombytes("RGB", (60, 10), IMAGE.tobytes())
    assert len({pixel_hash(image) for image in (IMAGE, changed, flat)}) == 3


def test_the_scorer_returns_sixteen_bytes_a_picture():
    picture = decode(saved(IMAGE, "PNG"))
    found = PixelScorer().score(Batch(["u"], ["c"], [b""], [picture]))
    assert found.schema.field("pixels").type.byte_width == 16
    assert found.column("pixels").to_pylist() == [pixel_hash(IMAGE)]
