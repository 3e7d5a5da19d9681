"""Small pictures for reports and the dashboard."""

from __future__ import annotations

import io

from PIL import Image

from filters.scoring import Picture

#: Shorter side of a decoded JPEG that is enough: twice the longer side of a thumbnail.
DRAFT_SIDE = 256

#: WebP's quality, 0 to 100, and effort, 0 (fast) to 6.
QUALITY, EFFORT = 70, 2


def thumbnail(picture: Picture, side: int = 128) -> bytes:
    """Return the picture as lossy WebP, its longer side at most `side` pixels; never enlarged.

    The same picture gives the same bytes (with the same libwebp). No metadata of the original goes in.
    Raises ValueError when `side` is not positive.
    """
    if side < 1:
        raise ValueError(f"a thumbnail of {side} pixels")
    scale = min(1.0, side / max(picture.width, picture.height))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    small = picture.image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=QUALITY, method=EFFORT, exif=b"", icc_profile=b"", xmp=b"")
    return buffer.getvalue()
