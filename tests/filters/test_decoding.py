"""Decoding: every mode and format to the same upright RGB, and a reason for everything else."""

from __future__ import annotations

import io
import os
import resource
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from picture_files import bomb, chunk, gif, png, saved
from PIL import Image, ImageFile

from filters.decoding import FORMATS, MAX_JPEG_SCANS, MAX_SIDE, Header, Undecodable, decode, read_header, to_rgb
from filters.reasons import Reason

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("ASSAY_SHARED_DATA") or ROOT.parent / "shared" / "data")


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(decode(data).image).astype(int)


def refused(data: bytes, **limits: int) -> Undecodable:
    with pytest.raises(Undecodable) as caught:
        decode(data, **limits)
    if caught.value.reason is not Reason.DECODE_ERROR:  # the header alone tells
        with pytest.raises(Undecodable):
            read_header(data, **limits)
    return caught.value


def on_white(rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[..., 3:].astype(float) / 255
    return np.rint(rgba[..., :3] * alpha + 255 * (1 - alpha))


@pytest.fixture(scope="module")
def rgba() -> Image.Image:
    values = np.random.default_rng(3).integers(0, 256, (40, 60, 4), dtype=np.uint8)
    values[:10, :, 3], values[10:20, :, 3] = 0, 255
    return Image.fromarray(values, "RGBA")


# -- transparency ------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_composited_on_white(rgba, format):
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    found = pixels(saved(rgba, format, **options))
    assert np.abs(found - on_white(np.asarray(rgba))).max() <= 1


def test_grey_with_alpha(rgba):
    la = rgba.convert("LA")
    assert np.abs(pixels(saved(la, "PNG")) - on_white(np.asarray(la.convert("RGBA")))).max() <= 1


def test_palette_with_one_alpha_a_colour():
    indexed = Image.new("P", (4, 1))
    indexed.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    indexed.putdata([0, 1, 2, 3])
    found = pixels(saved(indexed, "PNG", transparency=b"\0\x80\xff"))
    assert found[0].tolist() == [[255, 255, 255], [127, 255, 127], [0, 0, 255], [9, 9, 9]]


def test_palette_with_one_transparent_colour_and_pixels_beyond_the_palette():
    rows = b"\0" + bytes([0, 1, 200])
    found = pixels(png(3, 1, 8, 3, rows, chunk(b"PLTE", bytes([7, 8, 9, 1, 2, 3])), chunk(b"tRNS", b"\0")))
    assert found[0].tolist() == [[255, 255, 255], [1, 2, 3], [0, 0, 0]]


@pytest.mark.parametrize(("depth", "row", "key"), [(1, 0x40, 1), (2, 0x1B, 1), (4, 0x12, 2), (8, 0x11, 0x11)])
def test_one_transparent_grey_of_any_depth(depth, row, key):
    top = 2**depth - 1
    count = 8 // depth
    values = [row >> (8 - depth * (at + 1)) & top for at in range(count)]
    found = pixels(png(count, 1, depth, 0, bytes([0, row]), chunk(b"tRNS", struct.pack(">H", key))))
    assert found[0, :, 0].tolist() == [255 if value == key else value * 255 // top for value in values]


def test_one_transparent_colour():
    rows = b"\0" + bytes([1, 2, 3, 4, 5, 6])
    assert pixels(png(2, 1, 8, 2, rows, chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))))[0].tolist() == [
        [255, 255, 255],
        [4, 5, 6],
    ]


def test_palette_of_the_caller_stays_as_it_was():
    indexed = Image.new("P", (2, 2))
    indexed.putpalette([1, 2, 3])
    indexed.info["transparency"] = 0
    assert to_rgb(indexed).getpixel((0, 0)) == (255, 255, 255)
    assert indexed.getpalette()[:3] == [1, 2, 3]
    assert indexed.info == {"transparency": 0}


# -- depth and colour spaces -------------------------------------------------------------------------


def test_sixteen_bit_grey_is_scaled_not_clipped():
    values = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    data = saved(Image.fromarray(values), "PNG")
    assert pixels(data)[0, :, 0].tolist() == [0, 1, 128, 255]
    keyed = png(4, 1, 16, 0, b"\0" + values.astype(">u2").tobytes(), chunk(b"tRNS", struct.pack(">H", 32768)))
    assert pixels(keyed)[0, :, 0].tolist() == [0, 1, 255, 255]


def test_sixteen_bit_colour():
    rows = b"\0" + struct.pack(">6H", 0, 32768, 65535, 257, 514, 771)
    assert np.abs(pixels(png(2, 1, 16, 2, rows))[0] - [[0, 128, 255], [1, 2, 3]]).max() <= 1
    keyed = png(2, 1, 16, 2, rows, chunk(b"tRNS", struct.pack(">HHH", 257, 514, 771)))
    assert pixels(keyed)[0, 1].tolist() == [255, 255, 255]
    with_alpha = png(1, 1, 16, 6, b"\0" + struct.pack(">4H", 65535, 0, 0, 32768))
    assert np.abs(pixels(with_alpha)[0, 0] - [255, 127, 127]).max() <= 1


def test_one_bit():
    assert pixels(png(8, 1, 1, 0, b"\0\xa0"))[0, :, 0].tolist() == [255, 0, 255, 0, 0, 0, 0, 0]
    assert pixels(saved(Image.new("1", (3, 3), 1), "TIFF", compression="group4")).min() == 255


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 0.5, 1], [0, 128, 255]),
        ([0, 50, 100], [0, 128, 255]),
        ([-5, np.nan, np.inf], [0, 0, 0]),
        ([0, 0, 0.25], [0, 0, 64]),
    ],
)
def test_float_tiff(values, expected):
    image = Image.fromarray(np.array([values], dtype=np.float32))
    assert pixels(saved(image, "TIFF"))[0, :, 0].tolist() == expected


def test_thirty_two_bit_tiff():
    values = np.array([[0, 65535, 2**31 - 1]], dtype=np.int32)
    assert pixels(saved(Image.fromarray(values[:, :2]), "TIFF"))[0, :, 0].tolist() == [0, 255]
    assert pixels(saved(Image.fromarray(values), "TIFF"))[0, :, 0].tolist() == [0, 0, 255]


def test_cmyk_jpeg():
    cmyk = Image.new("CMYK", (16, 16), (255, 0, 0, 51))
    data = saved(cmyk, "JPEG", quality=100)
    assert np.abs(pixels(data) - [0, 204, 204]).max() <= 3
    assert np.abs(pixels(saved(cmyk, "TIFF")) - [0, 204, 204]).max() <= 1


def test_ycck_jpeg():
    # CMYK samples marked as YCCK: libjpeg takes them for Y, Cb, Cr, K. What YCbCr gives is ink, as Adobe writes it.
    data = saved(Image.new("CMYK", (16, 16), (255 - 120, 255 - 90, 255 - 200, 255 - 255)), "JPEG", quality=100)
    at = data.index(b"Adobe") + 11
    assert data[at] == 0
    y, cb, cr = 120, 90 - 128, 200 - 128
    ink = np.array([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb])
    assert np.abs(pixels(data[:at] + b"\x02" + data[at + 1 :]) - (255 - ink)).max() <= 2


# -- orientation and frames --------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(format, orientation):
    upright = Image.new("RGB", (48, 32), "white")
    upright.paste((255, 0, 0), (0, 0, 24, 16))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(stored, format, exif=exif)
    picture = decode(data)
    assert (picture.width, picture.height) == (48, 32)
    assert np.abs(np.asarray(picture.image).astype(int) - np.asarray(upright)).mean() < 8
    assert read_header(data) == Header(*stored.size, format.lower())


def test_broken_exif_does_not_cost_the_picture():
    data = saved(Image.new("RGB", (9, 9), "red"), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + b"\xff" * 40)
    assert np.abs(pixels(data) - [254, 0, 0]).max() <= 1


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_first_frame_of_several(format):
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue", "green")]
    data = saved(frames[0], format, save_all=True, append_images=frames[1:])
    assert np.abs(pixels(data) - [255, 0, 0]).max() <= 6


def test_gif_transparency_and_a_frame_larger_than_its_screen():
    indexed = Image.new("P", (8, 8), 1)
    indexed.putpalette([255, 0, 0, 0, 0, 255])
    assert pixels(saved(indexed, "GIF", transparency=1)).min() == 255
    assert read_header(gif((1, 1), (2, 3, 4, 5))) == Header(6, 8, "gif")


def test_multi_picture_jpeg_gives_the_first():
    frames = [Image.new("RGB", (24, 24), colour) for colour in ("red", "blue")]
    data = saved(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert read_header(data).format == "jpeg"
    assert np.abs(pixels(data) - [254, 0, 0]).max() <= 2


def test_metadata_does_not_travel_with_the_pixels(rgba):
    picture = decode(saved(rgba.convert("RGB"), "JPEG", comment="x", icc_profile=b"y" * 200))
    assert (picture.image.mode, picture.image.info) == ("RGB", {})


# -- what is refused ---------------------------------------------------------------------------------


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_bombs_are_refused_before_any_pixel_is_allocated():
    before = peak()
    data = bomb()
    assert refused(data).reason is Reason.DECOMPRESSION_BOMB
    assert "30000 x 30000" in refused(data).detail
    webp = b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + (16382).to_bytes(3, "little") * 2
    assert refused(webp + bytes(100)).reason is Reason.DECOMPRESSION_BOMB
    for bad in (gif((65535, 65535), (0, 0, 1, 1)), gif((9, 9), (0, 0, 60000, 60000), disposal=2)):
        assert refused(bad).reason is Reason.DECOMPRESSION_BOMB
    assert peak() - before < 100_000


def test_a_strip_longer_than_any_picture_is_refused_whichever_way_it_lies():
    for size in ((MAX_SIDE + 1, 1), (1, MAX_SIDE + 1)):
        assert refused(saved(Image.new("1", size), "PNG")).reason is Reason.DECOMPRESSION_BOMB
    assert decode(saved(Image.new("1", (MAX_SIDE, 1)), "PNG")).image.size == (MAX_SIDE, 1)


def test_a_bomb_behind_a_small_first_frame_is_never_decoded():
    small, black = Image.new("L", (8, 8), 200), Image.new("L", (9000, 9000))
    data = saved(small, "TIFF", save_all=True, append_images=[black], compression="tiff_deflate")
    assert decode(data, max_pixels=1000).image.size == (8, 8)


def test_a_huge_tile_for_a_small_tiff_is_refused():
    tags = {322: 30_000, 323: 30_000, 324: 8, 325: 1}
    entries = {256: 10, 257: 10, 258: 8, 259: 8, 262: 1, 277: 1, **tags}
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    data = b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4)
    assert refused(data).reason is Reason.DECOMPRESSION_BOMB


@pytest.mark.parametrize("key", [b"iTXt", b"zTXt"])
def test_compressed_text_that_explodes_gets_a_reason(key):
    text = zlib.compress(bytes(5_000_000), 9)
    body = b"note\0\x01\0\0\0" + text if key == b"iTXt" else b"note\0\0" + text
    many = chunk(key, body) * 40
    data = png(1, 1, 8, 0, b"\0\0", many)
    assert refused(data).reason is Reason.DECODE_ERROR
    late = png(1, 1, 8, 0, b"\0\0").replace(chunk(b"IEND", b""), many + chunk(b"IEND", b""))
    assert refused(late).reason is Reason.DECODE_ERROR


def test_a_progressive_jpeg_of_endless_scans_is_refused():
    data = saved(Image.new("L", (64, 64), 90), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    assert refused(data[:-2] + scan * MAX_JPEG_SCANS + data[-2:]).reason is Reason.DECOMPRESSION_BOMB
    # Bytes after the picture, such as a phone's appended video, do not count.
    assert decode(data + scan * MAX_JPEG_SCANS).width == 64


def test_a_gif_of_endless_comments_is_refused():
    comments = b"!\xfe" + (b"\xff" + b"x" * 255) * 5000 + b"\0"
    assert "before the first frame" in refused(gif((1, 1), (0, 0, 1, 1), extra=comments)).detail


@pytest.mark.parametrize("format", ["ICO", "EPS", "PDF", "PPM", "TGA"])
def test_other_formats_are_unsupported(format):
    data = saved(Image.new("RGB", (32, 32), "red"), format)
    assert refused(data).reason is Reason.UNSUPPORTED_FORMAT


@pytest.mark.parametrize(
    "data", [b"", b"<svg/>", b"BM is how this text starts, and goes on", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"]
)
def test_bytes_that_are_no_picture_are_unsupported(data):
    assert refused(data).reason is Reason.UNSUPPORTED_FORMAT


@pytest.mark.parametrize("format", FORMATS)
def test_truncated_files_are_decode_errors_whatever_others_set_in_pillow(format, rgba, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = saved(rgba.convert("RGB").resize((200, 200)), format)
    for kept in (len(data) // 2, 40):
        assert refused(data[:kept]).reason is Reason.DECODE_ERROR
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


@pytest.mark.parametrize("format", FORMATS)
def test_the_limit_is_the_callers_whatever_pillows_is(format, rgba, monkeypatch):
    data = saved(rgba.convert("RGB"), format)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        assert decode(data).image.size == (60, 40)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert decode(data, max_pixels=2400).image.size == (60, 40)
    assert refused(data, max_pixels=2399).reason is Reason.DECOMPRESSION_BOMB


def test_odd_metadata_warns_nobody(recwarn):
    plain = saved(Image.new("L", (4, 4)), "PNG")
    odd = plain[:33] + chunk(b"acTL", bytes(8)) + plain[33:]
    assert decode(odd).width == 4
    assert not recwarn.list


# -- real files --------------------------------------------------------------------------------------


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no {SHARED}: set ASSAY_SHARED_DATA")
def test_real_files_decode_alike_in_threads_and_as_pillow_does():
    files = [path for folder in ("c2pa_samples", "phash_reference") for path in sorted((SHARED / folder).rglob("*.*"))]
    data = [path.read_bytes() for path in files if path.suffix in (".jpg", ".png", ".webp", ".avif")]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(decode, data))
    assert len(together) > 25
    for one, picture in zip(data, together, strict=True):
        assert picture.image.tobytes() == decode(one).image.tobytes()
        reference = Image.open(io.BytesIO(one))
        if reference.mode == "RGB" and reference.getexif().get(0x0112, 1) == 1:
            assert picture.image.tobytes() == reference.tobytes()


def large_jpeg(width: int, height: int, orientation: int = 1, mode: str = "RGB") -> bytes:
    ramp = Image.linear_gradient("L").resize((width, height))
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(Image.merge("RGB", [ramp, ramp.rotate(180), ramp]).convert(mode), "JPEG", exif=exif, quality=90)


@pytest.mark.parametrize(
    ("side", "scale"), [(None, 1), (600, 1), (301, 1), (300, 2), (151, 2), (150, 4), (75, 8), (0, 8)]
)
def test_a_jpeg_is_decoded_at_the_smallest_scale_that_leaves_the_wanted_side(side, scale):
    found = decode(large_jpeg(901, 600), draft_side=side)
    assert found.image.size == (-(-901 // scale), 600 // scale)
    assert (found.width, found.height) == (901, 600)
    whole = decode(large_jpeg(901, 600)).image.resize(found.image.size, Image.Resampling.BOX)
    assert np.abs(np.asarray(found.image, dtype=int) - np.asarray(whole)).max() <= 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_draft_is_turned_upright_and_knows_its_full_size(orientation):
    found = decode(large_jpeg(900, 600, orientation), draft_side=200)
    upright = decode(large_jpeg(900, 600, orientation))
    assert (found.width, found.height) == upright.image.size
    assert found.image.size == (upright.width // 2, upright.height // 2)
    small = upright.image.resize(found.image.size, Image.Resampling.BOX)
    assert np.abs(np.asarray(found.image, dtype=int) - np.asarray(small)).max() <= 4


def test_drafts_of_grey_and_cmyk_and_no_draft_of_other_formats():
    for mode in ("L", "CMYK"):
        assert decode(large_jpeg(900, 600, mode=mode), draft_side=300).image.size == (450, 300)
    png = saved(Image.new("RGB", (900, 600)), "PNG")
    assert decode(png, draft_side=10).image.size == (900, 600)


def test_a_draft_of_a_cut_off_or_too_large_jpeg_is_refused():
    data = large_jpeg(900, 600)
    with pytest.raises(Undecodable) as caught:
        decode(data[: len(data) // 2], draft_side=10)
    assert caught.value.reason is Reason.DECODE_ERROR
    with pytest.raises(Undecodable) as caught:
        decode(data, max_pixels=900 * 600 - 1, draft_side=10)
    assert caught.value.reason is Reason.DECOMPRESSION_BOMB
