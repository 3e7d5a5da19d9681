"""Positions come out of real files of every format with EXIF, without a decode; hostile blocks give none, quickly."""

import io
import random
import struct
import time

import pytest
from PIL import Image, PngImagePlugin

from filters.decoding import read_header
from filters.exif_position import exif_of_text, exif_position

PARIS = {1: "N", 2: (48.0, 51.0, 23.76), 3: "E", 4: (2.0, 21.0, 8.4)}


def exif(gps):
    block = Image.Exif()
    block[0x010F] = "Maker"
    block.get_ifd(0x8825).update(gps)
    return block.tobytes()


def saved(form, **options):
    buffer = io.BytesIO()
    Image.new("RGB", (20, 10), "teal").save(buffer, form, **options)
    return buffer.getvalue()


def ifd(order, entries, at):
    """A directory at `at`, its entries (tag, type, count, four bytes or an offset)."""
    body = struct.pack(order + "H", len(entries))
    for tag, kind, count, value in entries:
        body += struct.pack(order + "HHI", tag, kind, count)
        body += value if isinstance(value, bytes) else struct.pack(order + "I", value)
    return body + bytes(4)


def block(latitude=(48, 1, 51, 1, 0, 1), longitude=(2, 1, 21, 1, 0, 1), order="<", north=b"N", east=b"E", **change):
    """An EXIF block whose every field can be made wrong."""
    kind, count, start = change.get("kind", 5), change.get("count", 3), 8 + 18
    data = start + 6 + 12 * 4
    entries = [
        (1, change.get("ref_kind", 2), 2, north + bytes(3)),
        (2, kind, count, change.get("offset", data)),
        (3, 2, 2, east + bytes(3)),
        (4, kind, count, data + 24),
    ]
    entries = [entry for entry in entries if entry[0] not in change.get("without", ())]
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    first = ifd(order, [(0x8825, change.get("pointer_kind", 4), 1, change.get("pointer", start))], 8)
    gps = ifd(order, entries, start)
    return head + first + gps.ljust(data - start, b"\0") + struct.pack(order + "12I", *latitude, *longitude)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_every_format_with_exif_gives_its_position_without_a_decode(form, monkeypatch):
    data = saved(form, exif=exif(PARIS))
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    assert read_header(data).position == pytest.approx((48.8566, 2.3523), abs=1e-4)


def test_a_tiff_file_is_an_exif_block_itself():
    assert read_header(saved("TIFF", exif=exif(PARIS))).position == pytest.approx((48.8566, 2.3523), abs=1e-4)


def test_a_png_of_imagemagick_has_its_exif_as_text():
    text = PngImagePlugin.PngInfo()
    digits = (b"Exif\0\0" + block()).hex()
    lines = [digits[at : at + 72] for at in range(0, len(digits), 72)]
    text.add_text("Raw profile type exif", "\n".join(["", "exif", f"{len(digits) // 2:8}", *lines]))
    assert read_header(saved("PNG", pnginfo=text)).position == pytest.approx((48.85, 2.35))


@pytest.mark.parametrize("text", [None, 7, "", "\n\n\nzz", "\n\n\nabc", "\nexif\n1\n" + "00" * (1 << 20)])
def test_broken_text_forms_are_none(text):
    assert not exif_of_text(text)


def test_a_picture_without_exif_has_no_position():
    assert [read_header(saved(form)).position for form in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")] == [None] * 6


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_and_all_four_directions(order):
    assert exif_position(block(order=order)) == pytest.approx((48.85, 2.35))
    assert exif_position(b"Exif\0\0" + block(order=order, north=b"S", east=b"W")) == pytest.approx((-48.85, -2.35))
    assert exif_position(block(order=order, latitude=(90, 1, 0, 1, 0, 1), longitude=(180, 1, 0, 7, 0, 1))) == (90, 180)


@pytest.mark.parametrize(
    "change",
    [
        {"latitude": (48, 0, 51, 1, 0, 1)},
        {"latitude": (48, 1, 51, 0, 0, 1)},
        {"latitude": (0, 0, 0, 0, 0, 0)},
        {"longitude": (2, 1, 21, 1, 0, 0)},
        {"latitude": (91, 1, 0, 1, 0, 1)},
        {"latitude": (90, 1, 0, 1, 1, 1)},
        {"longitude": (180, 1, 1, 1, 0, 1)},
        {"latitude": (2**32 - 1, 1, 0, 1, 0, 1)},
        {"latitude": (48, 1, 61, 1, 0, 1)},
        {"longitude": (2, 1, 21, 1, 4000, 1)},
        {"north": b"X"},
        {"north": b"\0"},
        {"east": b"N"},
        {"ref_kind": 3},
        {"without": (1,)},
        {"without": (3,)},
        {"without": (2,)},
        {"without": (1, 2, 3, 4)},
        {"kind": 10},
        {"kind": 2},
        {"kind": 999},
        {"count": 1},
        {"count": 2**32 - 1},
        {"offset": 2**32 - 1},
        {"offset": 200},
        {"pointer": 2**32 - 1},
        {"pointer": 0},
        {"pointer": 8},
        {"pointer_kind": 2},
    ],
)
def test_anything_wrong_with_a_position_makes_it_none(change):
    assert exif_position(block()) is not None
    assert exif_position(block(**change)) is None


def test_every_cut_and_thousands_of_changed_bytes_never_raise():
    whole = block()
    assert {exif_position(whole[:at]) for at in range(len(whole))} == {None}
    source = random.Random(1)
    for _ in range(20_000):
        body = bytearray(whole)
        for _ in range(source.randint(1, 6)):
            body[source.randrange(len(body))] = source.choice([0, 1, 255, source.randrange(256)])
        found = exif_position(bytes(body))
        assert found is None or (-90 <= found[0] <= 90 and -180 <= found[1] <= 180)


def test_a_huge_directory_whose_entries_claim_all_of_a_huge_block_costs_nothing():
    size = 8 << 20
    entry = struct.pack("<HHII", 2, 5, size // 8, 8)
    body = b"II*\0" + struct.pack("<IH", 8, 65_535) + entry * 65_535
    begun = time.process_time()
    assert exif_position(body + bytes(size)) is None
    assert time.process_time() - begun < 0.5


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_hostile_block_does_not_cost_the_picture(form):
    for body in (block(pointer=2**32 - 1), b"II*\0" + b"\xff" * 60_000, b"MM\0*" + bytes(40_000)):
        header = read_header(saved(form, exif=b"Exif\0\0" + body))
        assert (header.width, header.height, header.position) == (20, 10, None)
