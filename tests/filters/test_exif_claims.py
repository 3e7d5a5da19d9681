"""Entries of EXIF that all claim the same bytes: told before Pillow copies them, in every format that carries EXIF."""

import resource
import struct
from contextlib import suppress

import pytest
from picture_files import chunk, png, saved, shared_claims
from PIL import Image, features

from filters.decoding import Undecodable, decode, read_header
from filters.exif_claims import claims_too_much
from filters.reasons import Reason

SMALL = Image.new("RGB", (16, 16), (1, 2, 3))

needs_avif = pytest.mark.skipif(not features.check("avif"), reason="Pillow was built without AVIF")


def in_jpeg(block):
    data = saved(SMALL, "JPEG")
    parts = [b"Exif\0\0" + block[at : at + 65_000] for at in range(0, len(block), 65_000)]
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part for part in parts)
    at = data.index(b"\xff\xdb")
    return data[:2] + segments + data[at:]  # without JFIF's resolution, for which Pillow would look in EXIF


def in_png(block, late=False):
    data = png(1, 1, 8, 0, b"\0\0", *[] if late else [chunk(b"eXIf", block)])
    return data.replace(chunk(b"IEND", b""), chunk(b"eXIf", block) + chunk(b"IEND", b"")) if late else data


def in_text(block):
    text = f"\nexif\n{len(block):8}\n{block.hex()}"
    return png(1, 1, 8, 0, b"\0\0", chunk(b"tEXt", b"Raw profile type exif\0" + text.encode()))


def in_avif(block):
    """What Pillow writes with a sound block of the same length, and the block in its place: Pillow would read it."""
    sound = shared_claims(0, len(block) - 16, first=struct.pack("<HHIHH", 0x0128, 3, 1, 2, 0))
    before, after = saved(SMALL, "AVIF", exif=sound).split(sound)
    return before + block + after


def as_tiff(block_of):
    entries = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: 64, 277: 1, 278: 8, 279: 64}
    return block_of(b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items()))


BOMB = shared_claims(3000)
FILES = {
    "jpeg": lambda: in_jpeg(shared_claims(2000)),
    "png": lambda: in_png(BOMB),
    "png, behind its pixels": lambda: in_png(BOMB, late=True),
    "png, as text": lambda: in_text(shared_claims(9000, 130_000)[:131_000]),
    "webp": lambda: saved(SMALL, "WEBP", exif=BOMB),
    "tiff": lambda: as_tiff(lambda own: shared_claims(3000, first=own)),
    "tiff, big-endian bytes in EXIF": lambda: saved(SMALL, "WEBP", exif=shared_claims(3000, order=">")),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_picture_whose_entries_claim_the_same_megabyte_thousands_of_times_is_refused(kind):
    data = FILES[kind]()
    with suppress(Undecodable):
        read_header(data)
    with pytest.raises(Undecodable) as refused:
        decode(data)
    assert refused.value.reason is Reason.DECOMPRESSION_BOMB
    assert "claim the same bytes" in refused.value.detail


@needs_avif
def test_an_avif_is_looked_at_before_its_plugin_reads_it():
    assert decode(in_avif(shared_claims(3))).width == 16
    with pytest.raises(Undecodable) as refused:
        decode(in_avif(BOMB))
    assert "claim the same bytes" in refused.value.detail


def test_a_text_longer_than_is_read_here_is_not_read_by_pillow_either():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert decode(in_text(shared_claims(9000, 400_000))).width == 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_sound_and_merely_broken_directories_claim_little():
    assert not claims_too_much(b"")
    assert not claims_too_much(b"no directory at all, whatever it says")
    assert not claims_too_much(shared_claims(40))
    exif = Image.Exif()
    exif[0x010E] = "a description" * 1000
    assert not claims_too_much(exif.tobytes())
    for order in "<>":
        for first in (8, 10, 1 << 31, (1 << 32) - 1):
            head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", first)
            assert not claims_too_much(head + b"\xff" * 60_000)


def test_big_tiffs_are_counted_by_their_own_wider_entries():
    claims = b"".join(struct.pack("<HHQQ", 0x9000 + at, 16, 1 << 62, 0) for at in range(100))
    block = b"II+\0" + struct.pack("<HHQ", 8, 0, 16) + struct.pack("<Q", 100) + claims
    assert not claims_too_much(block)
    assert claims_too_much(block.ljust(1 << 20, b"\0"))
