"""Mutated bytes of every format: a picture or a reason, never anything else."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from picture_files import gif, saved
from PIL import Image

from filters.decoding import FORMATS, Undecodable, decode, read_header
from filters.headers import declared_size, sniff

MAX_PIXELS = 250_000


def seeds() -> list[bytes]:
    values = np.random.default_rng(5).integers(0, 256, (24, 18, 4), dtype=np.uint8)
    colour, alpha = Image.fromarray(values[..., :3]), Image.fromarray(values, "RGBA")
    grey16, indexed = Image.fromarray(values[..., 0].astype(np.uint16) * 200), colour.quantize(16)
    exif = Image.Exif()
    exif[0x0112] = 6
    files = [saved(colour, format, exif=exif) for format in FORMATS if format not in ("BMP", "GIF")]
    files += [
        saved(colour, "BMP"),
        saved(indexed, "GIF", transparency=2),
        saved(indexed, "PNG", transparency=b"\0\x80"),
    ]
    files += [saved(alpha, "PNG"), saved(grey16, "PNG"), saved(alpha, "WEBP"), saved(alpha, "WEBP", lossless=True)]
    files += [saved(colour, "JPEG", progressive=True), saved(colour.convert("CMYK"), "JPEG")]
    files += [saved(colour, "TIFF", compression=kind) for kind in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits")]
    files += [saved(colour, "GIF", save_all=True, append_images=[alpha]), gif((3, 3), (1, 1, 1, 1), disposal=2)]
    return files


SEEDS = seeds()
edits = st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=4)), min_size=1, max_size=6)


def outcome(data: bytes) -> object:
    try:
        picture = decode(data, MAX_PIXELS)
    except Undecodable as error:
        return error.reason, error.detail
    assert 0 < picture.width * picture.height <= MAX_PIXELS
    return picture.image.tobytes()


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.sampled_from(SEEDS), changes=edits, cut=st.floats(0.2, 1), front=st.booleans())
def test_mutated_files_give_a_picture_or_a_reason(seed, changes, cut, front):
    data = bytearray(seed)
    for at, value in changes:
        # Half of the time only the first bytes change, where the headers are.
        start = int(at * (min(len(data), 64) if front else len(data)))
        data[start : start + len(value)] = value
    mutated = bytes(data[: max(1, int(cut * len(data)))] if cut < 0.9 else data)
    assert type(outcome(mutated)) in (bytes, tuple)
    with contextlib.suppress(Undecodable):
        assert read_header(mutated, MAX_PIXELS).format.upper() in FORMATS


@settings(max_examples=300, deadline=None)
@given(start=st.sampled_from([seed[:n] for seed in SEEDS for n in (0, 4, 12, 30)]), rest=st.binary(max_size=200))
def test_arbitrary_bytes_after_a_signature(start, rest):
    assert type(outcome(start + rest)) in (bytes, tuple)


@pytest.mark.parametrize("data", SEEDS)
def test_declared_size_is_the_one_that_pillow_finds(data):
    kind = sniff(data)
    assert kind in FORMATS
    declared = declared_size(data, kind)
    header = read_header(data)
    assert declared in (None, (header.width, header.height))
    assert isinstance(outcome(data), bytes)
