"""Bytes of unknown origin to pixels: header checks first, then one guarded decode.

Results do not depend on Pillow's global settings: the plugin of the sniffed format is opened directly, so that
`Image.MAX_IMAGE_PIXELS` plays no part and the caller's limit alone decides. No setting is changed and restored,
which other threads would see; the one that must hold (no truncated pictures) is only ever set to that.

Colour profiles are not applied, as in the encoders' own preprocessing.

Every pixel is decoded unless the caller names a shorter side that is enough (`draft_side`): then a JPEG is decoded at
a half, a quarter or an eighth, by the cosine transform itself (libjpeg's scaling), where that leaves as much. Nothing
changes where the shorter side is below twice what is asked for.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import AvifImagePlugin, ExifTags, Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from filters.exif_claims import claims_too_much
from filters.exif_position import exif_of_text, exif_position
from filters.headers import declared_size, jpeg_scans, sniff
from filters.png_pixels import Png
from filters.reasons import Reason
from filters.scoring import Picture

#: Pillow's own limit for its decompression-bomb warning (Image.MAX_IMAGE_PIXELS): 1 GiB / 4 / 3 pixels.
MAX_PIXELS = 89_478_485

#: Most scans of a JPEG: encoders write about ten. Each may cost a pass over the whole picture for a hundred
#: bytes (measured: 35 ms at 88 megapixels), so that a small file could keep a decoder busy for an hour.
MAX_JPEG_SCANS = 100

#: Where ImageMagick leaves a PNG's EXIF block, and where the block stands in what libavif tells of a file.
_EXIF_TEXT, _EXIF_OF_INFO = "Raw profile type exif", 4

#: Longest side that is decoded, in pixels: of longer strips a few columns take the resizers gigabytes. JPEG ends at
#: 65,535, WebP at 16,383.
MAX_SIDE = 1_000_000

_QUIET = ("ignore", None, UserWarning, re.compile(r"PIL\.(Png|Tiff)ImagePlugin"), 0)


class _Tiff(TiffImageFile):
    """TIFF whose buffer is allocated without a look at `Image.MAX_IMAGE_PIXELS`."""

    def load_prepare(self) -> None:
        if self._im is None:
            self.im = Image.new(self.mode, self._tile_size, None).im
        ImageFile.ImageFile.load_prepare(self)


class _Jpeg(JpegImageFile):
    """JPEG whose EXIF block is not read for its resolution as it is opened, before anyone could look at it."""

    def _read_dpi_from_exif(self) -> None:
        pass


_PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "PNG": Png,
    # Also opens MPO and Ultra HDR, whose first picture is a plain JPEG.
    "JPEG": _Jpeg,
    "WEBP": WebPImageFile,
    "GIF": GifImageFile,
    "TIFF": _Tiff,
    "BMP": BmpImageFile,
    "AVIF": AvifImageFile,
}

#: Formats that are decoded. Everything else that Pillow knows (EPS, PDF, ...) is refused: some of its
#: plugins run other programs or follow references.
FORMATS = tuple(_PLUGINS)

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Undecodable(Exception):
    """A picture that cannot be decoded, with the reason and a detail for the ledger."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[Undecodable], tuple[Reason, str]]:
        """Let the exception travel between processes; with two arguments it could not."""
        return type(self), (self.reason, self.detail)


@dataclass(frozen=True)
class Header:
    """What a picture's header says: pixels as stored (before EXIF orientation), format in lower case.

    `position` is where its EXIF block says it was taken: latitude and longitude in degrees, None for none or a broken
    one. It is personal data: derive a country from it and let it go.
    """

    width: int
    height: int
    format: str
    position: tuple[float, float] | None = None


def read_header(data: bytes, max_pixels: int = MAX_PIXELS) -> Header:
    """Read size, format and EXIF position without decoding. Raises `Undecodable`."""
    image = _open(data, max_pixels)
    return Header(*_stored_size(image), (image.format or "").lower(), _position(image, data))


def decode(data: bytes, max_pixels: int = MAX_PIXELS, draft_side: int | None = None) -> Picture:
    """Decode the first frame to an upright RGB picture, transparency on white. Raises `Undecodable`.

    More than `max_pixels` pixels are refused from the header, before any are allocated. `draft_side`: a JPEG may be
    decoded at a half, a quarter or an eighth whose shorter side is at least so many pixels; None: all pixels.
    """
    image = _open(data, max_pixels)
    try:
        size = image.size
        if draft_side is not None and isinstance(image, JpegImageFile):
            image.draft(None, (max(1, draft_side), max(1, draft_side)))
        whole = image.size == size
        image.load()
        _scale_transparency(image, data)
        _check_exif(image)  # a PNG may have it after its pixels
        orientation = _orientation(image)
        rgb = to_rgb(image)
        if orientation in _UPRIGHT:
            rgb = rgb.transpose(_UPRIGHT[orientation])
        rgb.info = {}
        if whole:
            return Picture(rgb)
        return Picture(rgb, size[::-1] if 5 <= orientation <= 8 else size)
    except MemoryError:
        raise Undecodable(Reason.DECOMPRESSION_BOMB, "out of memory while decoding") from None
    except Undecodable:
        raise
    except Exception as error:  # noqa: BLE001 -- corrupt data makes decoders raise OSError, SyntaxError, ValueError, ...
        raise Undecodable(Reason.DECODE_ERROR, _detail(error)) from None


def _quieten() -> None:
    """Have Pillow's warnings about odd metadata ignored.

    Filters are shared by all threads, so that none is ever taken away; one is added when there is none yet.
    """
    if _QUIET not in warnings.filters:
        warnings.filterwarnings("ignore", category=UserWarning, module=_QUIET[3].pattern)


def _open(data: bytes, max_pixels: int) -> ImageFile.ImageFile:
    """Open with the plugin of the sniffed format; every size is checked before pixels are allocated."""
    kind = sniff(data)
    if kind is None:
        raise Undecodable(Reason.UNSUPPORTED_FORMAT, f"starts with {data[:8]!r}" if data else "no bytes")
    _quieten()
    # Another library may have set this; half a picture must never pass for a whole one.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        declared = declared_size(data, kind)
        if declared:
            _check_pixels(*declared, max_pixels)
        if (kind == "TIFF" and claims_too_much(data)) or (kind == "AVIF" and claims_too_much(_exif_of_avif(data))):
            raise _claims()
        image = _PLUGINS[kind](io.BytesIO(data), "")
    except MemoryError:
        raise Undecodable(Reason.DECOMPRESSION_BOMB, "out of memory while reading the header") from None
    except Image.DecompressionBombError as error:
        raise Undecodable(Reason.DECOMPRESSION_BOMB, str(error)) from None
    except Undecodable:
        raise
    except Exception as error:  # noqa: BLE001 -- a hostile header can make a plugin raise anything
        raise Undecodable(Reason.DECODE_ERROR, f"header: {_detail(error)}") from None
    _check_pixels(image.width, image.height, max_pixels)
    _check_exif(image)
    if isinstance(image, TiffImageFile):
        # A tile is allocated whole, however small the picture that it covers.
        tile = (image.tag_v2.get(322, 0), image.tag_v2.get(323, 0))
        if all(isinstance(side, int) for side in tile):
            _check_pixels(*tile, max_pixels)
    # The count is quick but also sees thumbnails and appended video; only then are the markers walked.
    if kind == "JPEG" and data.count(b"\xff\xda") > MAX_JPEG_SCANS and (scans := jpeg_scans(data)) > MAX_JPEG_SCANS:
        raise Undecodable(Reason.DECOMPRESSION_BOMB, f"{scans} scans, limit {MAX_JPEG_SCANS}")
    return image


def _check_pixels(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise Undecodable(Reason.DECOMPRESSION_BOMB, f"{width} x {height} pixels, limit {max_pixels}")
    if max(width, height) > MAX_SIDE:
        raise Undecodable(Reason.DECOMPRESSION_BOMB, f"{width} x {height} pixels, longest side {MAX_SIDE}")


def _check_exif(image: ImageFile.ImageFile) -> None:
    """Raise `Undecodable` where Pillow would copy far more than the picture's EXIF block holds."""
    exif = _exif(image)
    if exif is None:
        image.info.pop(_EXIF_TEXT, None)  # longer than anything that is read here; Pillow would read it
    elif claims_too_much(exif):
        raise _claims()


def _claims() -> Undecodable:
    return Undecodable(Reason.DECOMPRESSION_BOMB, "the entries of its EXIF or TIFF directory claim the same bytes")


def _exif(image: ImageFile.ImageFile) -> bytes | None:
    """Return the EXIF block as it stands in the file, as far as Pillow has come in it."""
    exif = image.info.get("exif") or exif_of_text(image.info.get(_EXIF_TEXT))
    return exif if isinstance(exif, bytes) else None


def _exif_of_avif(data: bytes) -> bytes:
    """Return the EXIF block of an AVIF; Pillow's plugin reads it as it opens the file. Raises what libavif says."""
    if not AvifImagePlugin.SUPPORTED:
        return b""  # the plugin says so itself
    from PIL import _avif

    exif: bytes | None = _avif.AvifDecoder(data, "auto", 1).get_info()[_EXIF_OF_INFO]
    return exif or b""


def _detail(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]


def _stored_size(image: ImageFile.ImageFile) -> tuple[int, int]:
    """Return the size before orientation; Pillow's TIFF plugin already gives the one after it."""
    if isinstance(image, TiffImageFile) and image.tag_v2.get(ExifTags.Base.Orientation) in (5, 6, 7, 8):
        return image.height, image.width
    return image.width, image.height


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8 in sound files; 1 when there is none or it cannot be read."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 -- corrupt metadata does not make the pixels unreadable
        return 1
    return value if isinstance(value, int) else 1


def _position(image: ImageFile.ImageFile, data: bytes) -> tuple[float, float] | None:
    """Return the EXIF position, as far as the header has it (a PNG may have its EXIF block after the pixels)."""
    exif = _exif(image)
    if exif is None and isinstance(image, TiffImageFile):
        exif = data  # EXIF has the form of a TIFF file
    return exif_position(exif) if exif is not None else None


def _scale_transparency(image: Image.Image, data: bytes) -> None:
    """Bring PNG's transparent colour to 8 bits: Pillow scales the pixels, but leaves tRNS at the file's depth."""
    key = image.info.get("transparency")
    if image.format != "PNG" or key is None:
        return
    depth = data[24]
    if image.mode == "L" and depth in (2, 4):
        image.info["transparency"] = key * (255 // (2**depth - 1))
    elif image.mode == "RGB" and depth == 16:
        image.info["transparency"] = tuple(value >> 8 for value in key)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to 8-bit RGB; transparent pixels are composited on white (exact to one level).

    Greys of more than 8 bits are scaled (Pillow's `convert` would clip them to white): see `_to_eight_bits`.
    An RGB picture without transparency is returned itself, not copied.
    """
    key = image.info.get("transparency")
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_eight_bits(image, key)).convert("RGB")
    if image.mode == "P":
        return _palette_to_rgb(image, key)
    if image.mode in ("1", "L") and isinstance(key, int):
        # One grey is transparent: it becomes white, the others keep their value.
        grey = image.convert("L") if image.mode == "1" else image
        return _plain(grey.point([255 if value == key else value for value in range(256)])).convert("RGB")
    if image.mode in ("LA", "La"):
        grey_alpha = image if image.mode == "LA" else image.convert("LA")
        white = Image.new("L", image.size, 255)
        white.paste(grey_alpha.getchannel("L"), mask=grey_alpha.getchannel("A"))
        return white.convert("RGB")
    if image.mode in ("RGBA", "RGBa", "PA") or (image.mode == "RGB" and key is not None):
        # A third of the time of `Image.alpha_composite` and equal to it on an opaque background.
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(rgba, mask=rgba)
        return white
    return image if image.mode == "RGB" else _plain(image).convert("RGB")


def _plain(image: Image.Image) -> Image.Image:
    """Return the picture without its transparent colour, so that `convert` does not look for it."""
    if "transparency" in image.info:
        image = image.copy()
        del image.info["transparency"]
    return image


def _palette_to_rgb(image: Image.Image, key: object) -> Image.Image:
    """Composite the 256 colours of the palette instead of the pixels."""
    colours = np.zeros((256, 4), dtype=np.uint32)
    colours[:, 3] = 255
    stored = np.array(image.getpalette("RGBA") or [], dtype=np.uint32).reshape(-1, 4)[:256]
    colours[: len(stored)] = stored
    if isinstance(key, bytes):
        alphas = np.frombuffer(key[:256], dtype=np.uint8)
        colours[: len(alphas), 3] = alphas
    elif isinstance(key, int) and 0 <= key < 256:
        colours[key, 3] = 0
    alpha = colours[:, 3:]
    rgb = (colours[:, :3] * alpha + 255 * (255 - alpha) + 127) // 255
    copy = image.copy()
    copy.info = {}
    copy.putpalette(rgb.astype(np.uint8).tobytes())
    return copy.convert("RGB")


def _to_eight_bits(image: Image.Image, key: object) -> np.ndarray:
    """Scale greys of more than 8 bits to 0..255.

    16-bit greys: 0..65535. Floats: 0..1 where all values lie in it. Other ranges (32-bit integers above
    65535, floats above 1) have no fixed white: 0 to the largest value. Negative and non-finite ones are black.
    """
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        levels = np.arange(65536, dtype=np.uint32)
        table = ((levels * 255 + 32767) // 65535).astype(np.uint8)
        if isinstance(key, int) and 0 <= key < 65536:
            table[key] = 255
        scaled: np.ndarray = table[values]
        return scaled
    numbers = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    top = float(numbers.max(initial=0.0))
    usual = 1.0 if image.mode == "F" else 65535.0
    np.multiply(numbers, 255.0 / max(top, usual), out=numbers)
    np.clip(np.rint(numbers, out=numbers), 0, 255, out=numbers)
    return numbers.astype(np.uint8)
