"""What `benchmarks.score` runs on: real pictures as WebDataset shards, and made weights of a real architecture."""

from __future__ import annotations

import io
import itertools
import json
import os
import struct
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

#: Pixels above which a picture is left out: a few posters would decide what an average says.
LARGEST = 4_000_000


@dataclass(frozen=True)
class Record:
    """One picture's file and its caption."""

    suffix: str
    data: bytes
    caption: str


def default_images() -> Path:
    """Return the first folder that is there: the corpus of the demo, where it is kept while developing, the photos."""
    shared = Path(os.environ.get("ASSAY_SHARED_DATA") or ROOT.parent / "shared" / "data")
    places = (ROOT / "corpora/openclipart", ROOT / ".cache/openclipart", shared / "flickr8k_sample/images")
    for place in places:
        if place.is_dir():
            return place
    raise SystemExit("no pictures here: assay corpus openclipart --out corpora/openclipart, or --images FOLDER")


def photos() -> Path | None:
    """Return the folder of the shared JPEG photos, if it is there."""
    folder = Path(os.environ.get("ASSAY_SHARED_DATA") or ROOT.parent / "shared" / "data") / "flickr8k_sample/images"
    return folder if folder.is_dir() else None


def records(folder: Path, limit: int) -> list[Record]:
    """Return the first `limit` pictures of a folder of shards or of picture files, spread over its files."""
    tars = sorted(folder.glob("*.tar"))
    if tars:
        per_tar = [list(itertools.islice(_of_tar(path), -(-limit // len(tars)) * 4)) for path in tars]
        found = [record for row in itertools.zip_longest(*per_tar) for record in row if record]
    else:
        files = [
            path for path in sorted(folder.iterdir()) if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")
        ]
        captions = _captions(folder)
        found = [
            Record(path.suffix.lower(), path.read_bytes(), captions.get(path.name, path.stem.replace("_", " ")))
            for path in files[:limit]
        ]
    if not found:
        raise SystemExit(f"{folder} holds no shards and no pictures")
    return found[:limit]


def write_shards(found: list[Record], folder: Path, count: int, size: int) -> None:
    """Write `count` records in shards of `size`, starting again from the first, each time under other keys."""
    folder.mkdir(parents=True)
    for shard, start in enumerate(range(0, count, size)):
        with tarfile.open(folder / f"{shard:05d}.tar", "w") as tar:
            for i in range(start, min(start + size, count)):
                copy, record = i // len(found), found[i % len(found)]
                caption = f"{record.caption} {copy}" if copy else record.caption
                for suffix, data in ((record.suffix, record.data), (".txt", caption.encode())):
                    member = tarfile.TarInfo(f"{i:07d}{suffix}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))


def made_weights(arch: str, path: Path) -> None:
    """Save random weights of a fixed seed: right for speed, meaningless as scores."""
    # torch takes seconds to import, and only weights need it
    import torch
    from safetensors.torch import save_file

    from filters.encoders.torchvision_fix import ensure_torchvision

    ensure_torchvision()
    import open_clip

    torch.manual_seed(7)
    model: Any = open_clip.create_model(arch)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)


def _captions(folder: Path) -> dict[str, str]:
    path = folder.parent / "captions.json"
    if not path.is_file():
        return {}
    return {name: texts[0] for name, texts in json.loads(path.read_text(encoding="utf-8")).items()}


def _of_tar(path: Path) -> Iterator[Record]:
    """Yield PNG pictures of a shard with their captions, no larger than `LARGEST`."""
    picture: tuple[str, bytes] | None = None
    with tarfile.open(path) as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file is None:
                continue
            key, _, suffix = member.name.partition(".")
            if suffix == "png":
                data = file.read()
                width, height = struct.unpack(">II", data[16:24])
                picture = (key, data) if width * height <= LARGEST else None
            elif suffix == "txt" and picture and picture[0] == key:
                yield Record(".png", picture[1], file.read().decode())
