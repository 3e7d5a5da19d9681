"""Reads an uploaded picture into memory, and no further: it never reaches a disk."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from fastapi import HTTPException, Request
from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

#: Name of the form's field.
FIELD = "picture"


async def read_upload(request: Request, most: int) -> bytes:
    """Return the bytes of the picture in a request: the form's field `picture`, or the whole body of a picture's type.

    Bytes are counted while they come, whatever Content-Length says. Raises `HTTPException`: 400 for a body that is no
    form or has no picture, 413 for one of more than `most` bytes, 415 for another type.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _field(request, most)
    if kind.startswith("image/") or kind == "application/octet-stream":
        return _some(b"".join([chunk async for chunk in _bounded(request, most)]))
    raise HTTPException(415, "Send a picture: as the field `picture` of a form, or as the body itself.")


async def _field(request: Request, most: int) -> bytes:
    parser = MultiPartParser(request.headers, _bounded(request, most), max_files=1, max_fields=4)
    parser.spool_max_size = most + 1  # beyond this it would spool to a disk, and no upload comes so far
    try:
        form = await parser.parse()
    except (MultiPartException, FormParserError, UnicodeDecodeError, AssertionError, KeyError):
        raise HTTPException(400, "That is no form with a picture in it.") from None
    try:
        found = form.get(FIELD)
        return _some(await found.read() if isinstance(found, UploadFile) else b"")
    finally:
        await form.close()


def _some(data: bytes) -> bytes:
    if not data:
        raise HTTPException(400, "No picture came with this: choose a file first.")
    return data


async def _bounded(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise HTTPException(413, f"A picture may have at most {most:,} bytes.")
        yield chunk
