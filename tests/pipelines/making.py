"""Makes small real inputs: pictures with content of their own, tars, recipes."""

import io
import json
import struct
import sys
import tarfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, PngImagePlugin

MAIN = "from pipelines.commands.main import main; main()"
COLOURS = ["red", "green", "blue", "orange", "purple", "brown"]


def assay_command(*arguments: object) -> list[str]:
    """The command line in a process of its own."""
    return [sys.executable, "-c", MAIN, *(str(argument) for argument in arguments)]


def picture(seed: int, size: tuple[int, int] = (96, 80), form: str = "PNG") -> bytes:
    """A drawing that differs from every other seed's, in hash and to the eye."""
    random = np.random.default_rng(seed)
    noise = random.integers(0, 255, (6, 6, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y = (int(v) for v in random.integers(0, min(size), 2))
        draw.ellipse((x, y, x + 30, y + 20), fill=COLOURS[int(random.integers(0, 6))])
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def bomb(width: int = 30_000, height: int = 30_000) -> bytes:
    """A real PNG that declares 30,000 x 30,000 pixels in 110 kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress((b"\0" + b"\0" * (width // 8)) * height, 9)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def sample(
    seed: int, caption: str | bytes | None = None, key: str | None = None, **metadata: object
) -> dict[str, bytes]:
    """Members of one WebDataset sample by name."""
    key = key or f"s{seed:05d}"
    text = f"drawing number {seed} of a thing" if caption is None else caption
    body = {"licence": "CC0", "creator": f"artist {seed % 3}", **metadata}
    return {
        f"{key}.png": picture(seed),
        f"{key}.txt": text if isinstance(text, bytes) else text.encode(),
        f"{key}.json": json.dumps(body).encode(),
    }


def write_tar(path: Path, *samples: dict[str, bytes]) -> Path:
    """A tar with the members of `samples` in order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for members in samples:
            for name, data in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return path


def write_recipe(folder: Path, path: Path | str, kind: str = "webdataset", **sections: object) -> Path:
    """A recipe over `path` with scorers that need no model, unless `sections` say otherwise."""
    body: dict[str, object] = {
        "version": 1,
        "name": "test",
        "input": {"kind": kind, "path": str(path)},
        "limits": {"max_failures": 1.0},
        "scorers": ["size", "hashes", "caption", "technical"],
        "duplicates": {"phash_distance": 2},
        **sections,
    }
    recipe = folder / "recipe.yaml"
    recipe.write_text(json.dumps(body))
    return recipe


#: A reservation against training by the creator, in the picture itself (PLUS).
_RESERVATION = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:plus="http://ns.useplus.org/ldf/xmp/1.0/" '
    'plus:DataMining="http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED-AIMLTRAINING"/></rdf:RDF></x:xmpmeta>'
)


def reserved(data: bytes) -> bytes:
    """Return the picture as a PNG whose own metadata reserve it."""
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", _RESERVATION)
    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()
