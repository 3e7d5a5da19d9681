"""CIFAR-10 as shards with captions: from its binary version, whose bytes are read and never run.

The python version is a pickle, which can run code; it is refused. The binary version (`cifar-10-binary.tar.gz` of
www.cs.toronto.edu/~kriz/cifar.html) has records of 3,073 bytes: one of the label, 0 to 9, then 1,024 of red, green and
blue each, row by row; `batches.meta.txt` names the ten classes.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from filters.errors import BadInput

SIDE = 32
RECORD = 1 + 3 * SIDE * SIDE
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

#: What is known of the pictures' rights, in the words that each sample's metadata carries.
FACTS = {
    "creator": "unknown photographers",
    "licence": "none stated",
    "source": "CIFAR-10 (A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009)",
    "url": "https://www.cs.toronto.edu/~kriz/cifar.html",
}

_BATCH = re.compile(r"data_batch_\d+\.bin")
_META = "batches.meta.txt"
#: Bytes of one batch file that are read at most: six times the official ones.
_MOST = 6 * 10_000 * RECORD


def batches(source: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of the training batches of a folder or tar of the binary version, sorted by name.

    The test batch is left out, as the published distances are to the training pictures. Raises `BadInput`.
    """
    try:
        files = _in_folder(source) if source.is_dir() else _in_tar(source)
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise BadInput(f"{source}: unreadable ({error}); take cifar-10-binary.tar.gz or its folder") from None
    if not any(name != _META for name in files):
        raise BadInput(f"{source}: holds no data_batch_N.bin; take the binary version, not the pickled python one")
    if _META in files and (names := tuple(files[_META].decode("utf-8", "replace").split())) != CLASSES:
        raise BadInput(f"{source}: {_META} names {', '.join(names)[:80]}, not the classes of CIFAR-10")
    for name, data in sorted(files.items()):
        if name == _META:
            continue
        if not data or len(data) % RECORD or len(data) > _MOST:
            raise BadInput(f"{source}: {name} has {len(data)} bytes, not a multiple of {RECORD} up to {_MOST}")
        yield name, data


def _in_folder(source: Path) -> dict[str, bytes]:
    wanted = [path for path in source.iterdir() if _BATCH.fullmatch(path.name) or path.name == _META]
    found = {}
    for path in wanted:
        with path.open("rb") as stream:
            found[path.name] = stream.read(_MOST + 1)
    return found


def _in_tar(source: Path) -> dict[str, bytes]:
    found = {}
    with tarfile.open(source) as archive:
        for member in archive:
            name = member.name.rpartition("/")[2]
            stream = archive.extractfile(member) if _BATCH.fullmatch(name) or name == _META else None
            if stream is not None:
                found[name] = stream.read(_MOST + 1)
    return found


def pictures(data: bytes) -> Iterator[tuple[str, Image.Image]]:
    """Yield class name and picture of each record of a batch. Raises `BadInput` for a label above 9."""
    records = np.frombuffer(data, np.uint8).reshape(-1, RECORD)
    if (records[:, 0] >= len(CLASSES)).any():
        raise BadInput(f"a label is {records[:, 0].max()}, above {len(CLASSES) - 1}: this is not CIFAR-10")
    planes = records[:, 1:].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    for label, pixels in zip(records[:, 0], planes, strict=True):
        yield CLASSES[label], Image.fromarray(np.ascontiguousarray(pixels))


def write_shards(source: Path, folder: Path) -> int:
    """Write one WebDataset tar a batch, the same bytes every time; return how many pictures. Raises `BadInput`."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for name, data in batches(source):
        path = folder / f"{name.removesuffix('.bin')}.tar"
        part = path.with_suffix(".part")
        with tarfile.open(part, "w") as archive:
            for caption, picture in pictures(data):
                buffer = io.BytesIO()
                picture.save(buffer, "PNG")
                facts = json.dumps({**FACTS, "batch": name}).encode()
                for suffix, body in (("png", buffer.getvalue()), ("txt", caption.encode()), ("json", facts)):
                    member = tarfile.TarInfo(f"cifar10-{count:05d}.{suffix}")
                    member.size = len(body)
                    archive.addfile(member, io.BytesIO(body))
                count += 1
        part.replace(path)
    return count
