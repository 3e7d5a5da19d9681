"""PNGs that libdeflate unpacks have Pillow's pixels, and none is taken that Pillow refuses."""

from __future__ import annotations

import io
import random
import zlib

import pytest
from picture_files import chunk, png, saved
from PIL import Image, ImageFile
from PIL.PngImagePlugin import PngImageFile

from filters import png_pixels
from filters.decoding import Undecodable, decode
from filters.png_pixels import Png

needs_libdeflate = pytest.mark.skipif(png_pixels._deflate is None, reason="the package deflate is not installed")


def loaded(plugin: type[PngImageFile], data: bytes) -> tuple[object, ...]:
    """Return mode, size, pixels and metadata, or the kind of the error."""
    try:
        image = plugin(io.BytesIO(data), "")
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        return (type(error),)
    return image.mode, image.size, image.tobytes(), sorted(map(str, image.info.items()))


def split(data: bytes, size: int) -> bytes:
    """Return the PNG with its pixels in IDAT chunks of `size` bytes, one empty among them."""
    at = data.index(b"IDAT")
    length = int.from_bytes(data[at - 4 : at], "big")
    body = data[at + 4 : at + 4 + length]
    parts = [chunk(b"IDAT", body[start : start + size]) for start in range(0, length, size)]
    return b"".join([data[: at - 4], *parts[:1], chunk(b"IDAT", b""), *parts[1:], data[at + 8 + length :]])


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """PNGs of every colour type and depth, interlaced, animated, in many chunks, with text behind the pixels."""
    noise = Image.effect_noise((331, 207), 80)
    rgb = Image.merge("RGB", [noise, noise.rotate(90, expand=False), noise.transpose(Image.Transpose.ROTATE_180)])
    modes = {mode: rgb.convert(mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")}
    made = {mode: saved(image, "PNG") for mode, image in modes.items()}
    made["I;16"] = saved(noise.convert("I").point(lambda grey: grey * 200).convert("I;16"), "PNG")
    made["fast"] = saved(rgb, "PNG", compress_level=1)
    made["many chunks"] = split(made["RGB"], 1000)
    made["stored"] = png(9, 2, 8, 2, bytes(56))
    made["two bits"] = png(7, 5, 2, 0, bytes([0, 0x1B, 0xE4] * 5))
    made["sixteen bits"] = png(3, 2, 16, 6, bytes([0, *range(24), 2, *range(24)]))
    made["text behind"] = made["RGB"][:-12] + chunk(b"tEXt", b"Title\0late") + made["RGB"][-12:]
    made["animated"] = saved(rgb, "PNG", save_all=True, append_images=[rgb.rotate(5)])
    return made


def test_pixels_and_metadata_are_pillows(files):
    for name, data in files.items():
        assert loaded(Png, data) == loaded(PngImageFile, data), name
        assert len(loaded(Png, data)) == 4, name


@needs_libdeflate
def test_plain_files_go_the_fast_way_and_odd_ones_pillows(files, monkeypatch):
    def fast(data: bytes) -> bool:
        image = Png(io.BytesIO(data), "")
        image.load_prepare()
        return image._stored() is not None

    assert [name for name, data in files.items() if not fast(data)] == ["animated"]
    monkeypatch.setattr(png_pixels, "MAX_BYTES", 331 * 3 * 207)  # one byte a row too few
    assert not fast(files["RGB"])
    assert fast(files["L"])
    assert loaded(Png, files["RGB"]) == loaded(PngImageFile, files["RGB"])


def test_without_libdeflate_it_is_pillow(files, monkeypatch):
    monkeypatch.setattr(png_pixels, "_deflate", None)
    assert loaded(Png, files["RGB"]) == loaded(PngImageFile, files["RGB"])


def test_broken_files_are_judged_as_pillow_judges_them(files):
    rng = random.Random(5)
    taken = 0
    for name in ("RGB", "P", "many chunks", "text behind", "two bits"):
        whole = files[name]
        cases = [whole[:cut] for cut in rng.sample(range(33, len(whole)), min(40, len(whole) - 33))]
        for _ in range(60):
            broken = bytearray(whole)
            broken[rng.randrange(33, len(whole))] ^= 1 << rng.randrange(8)
            cases.append(bytes(broken))
        for case in cases:
            found = loaded(Png, case)
            assert found == loaded(PngImageFile, case), name
            taken += len(found) > 1
    assert taken > 50  # a wrong checksum alone does not stop Pillow


def test_rows_that_are_too_few_or_too_many_are_judged_as_before():
    rows = bytes([0, 1, 2, 3] * 4)
    for body in (rows, rows + b"more", rows[:-1], rows[:4], b""):
        data = png(1, 4, 8, 2, body)
        assert loaded(Png, data) == loaded(PngImageFile, data)
    two_headers = png(1, 4, 8, 2, rows, chunk(b"IHDR", bytes([0, 0, 0, 1, 0, 0, 0, 9, 8, 2, 0, 0, 0])))
    assert loaded(Png, two_headers) == loaded(PngImageFile, two_headers)


def test_a_row_with_an_unknown_filter_is_refused():
    data = png(1, 2, 8, 2, bytes([9, 1, 2, 3, 0, 1, 2, 3]))
    assert loaded(Png, data) == loaded(PngImageFile, data)
    with pytest.raises(Undecodable):
        decode(data)


def test_a_stream_that_unpacks_to_far_more_costs_no_memory():
    body = zlib.compress(bytes(1 << 27), 9)
    at = (data := png(40, 40, 8, 2, b"\0")).index(b"IDAT") - 4
    bomb = data[:at] + chunk(b"IDAT", body) + data[-12:]
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    assert loaded(Png, bomb) == loaded(PngImageFile, bomb)
