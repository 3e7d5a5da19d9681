"""The openclipart corpus for training and for the held-out test: cleaned captions, split by artist.

Which part a picture belongs to depends on its artist's name alone, so a test can repeat the split from the corpus
without anything from the training. Near-duplicates across the parts leave the part that is trained on.
"""

from __future__ import annotations

import hashlib
import html
import io
import itertools
import json
import re
import struct
import tarfile
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

#: Titles that name the drawing program, the form or the series, not the picture.
_JUNK = re.compile(
    r"^(untitled|unknown|advertising|clip ?art|openclipart|drawing|drawing ?\d*|image|picture|svg|test|new|icon|logo|"
    r"etiquette icons|open clip ?art logo|no title|title|document|layer ?\d*|[\d\W_]*)$",
    re.IGNORECASE,
)

#: Keywords that say how a file was sorted, not what it shows.
_BOILERPLATE = re.compile(
    r"^(hash|unsorted|clip ?art|clip_art|image|images|media|public domain|svg|png|vector|openclipart|.*sym|appicon|"
    r"hash\(0x\w+\)|etiquette|externalsource|signs_and_symbols|signs and symbols|lineart|line art|[\d\W_]*)$",
    re.IGNORECASE,
)

#: More pictures of one artist and title than this add nothing but their number.
_REPEATS = 4

#: A title that stands on more pictures than this is the name of a series.
_SERIES = 20

_KEYWORDS = 8
_LARGEST = 80_000_000


@dataclass(frozen=True)
class Drawing:
    """One picture with its cleaned title and keywords. `part` is train, validation or test."""

    key: str
    shard: Path
    title: str
    keywords: tuple[str, ...]
    description: str
    artist: str
    part: str
    pixels: int

    def caption(self) -> str:
        """Return title and keywords as one caption."""
        return ", ".join(dict.fromkeys([self.title, *self.keywords]))


def read_drawings(folder: Path) -> list[Drawing]:
    """Read the cleaned records of a corpus made by `assay corpus openclipart`, each picture once."""
    found: list[tuple[str, Path, dict[str, Any], int]] = []
    seen: set[str] = set()
    for shard in sorted(folder.glob("openclipart-*.tar")):
        with tarfile.open(shard) as archive:
            members = {member.name: member for member in archive.getmembers()}
            for name, member in sorted(members.items()):
                if name.endswith(".json"):
                    png = _bytes(archive, members[f"{name[:-5]}.png"])
                    digest = hashlib.sha256(png).hexdigest()
                    if digest not in seen:
                        seen.add(digest)
                        width, height = struct.unpack(">II", png[16:24])
                        found.append((name[:-5], shard, json.loads(_bytes(archive, member)), width * height))
    series = Counter(_plain(record["title"]) for _, _, record, _ in found)
    drawings, repeats = [], Counter[tuple[str, str]]()
    for key, shard, record, pixels in found:
        drawing = _clean(key, shard, record, series, pixels)
        letters = "".join(c for c in drawing.title.lower() if not c.isdigit())
        repeats[drawing.artist, letters] += 1
        if drawing.title and repeats[drawing.artist, letters] <= _REPEATS:
            drawings.append(drawing)
    return drawings


def usable(drawings: list[Drawing]) -> list[Drawing]:
    """Return the drawings whose pictures are small enough to decode without care (80 million pixels)."""
    return [drawing for drawing in drawings if drawing.pixels <= _LARGEST]


def each_picture(drawings: list[Drawing]) -> Iterator[Image.Image]:
    """Decode one picture after the other: RGB on white, no side longer than 512 pixels.

    `drawings` come shard by shard, as `read_drawings` gives them.
    """
    for shard, group in itertools.groupby(drawings, key=lambda drawing: drawing.shard):
        with tarfile.open(shard) as archive:
            for drawing in group:
                member = archive.getmember(f"{drawing.key}.png")
                yield on_white(Image.open(io.BytesIO(_bytes(archive, member))))


def on_white(image: Image.Image) -> Image.Image:
    """Return the picture as RGB, transparency on white."""
    if image.mode != "RGB":
        rgba = image.convert("RGBA")
        image = Image.new("RGB", rgba.size, "white")
        image.paste(rgba, mask=rgba.getchannel("A"))
    image.thumbnail((512, 512), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return image


def part_of(artist: str) -> str:
    """Return the part an artist's pictures belong to: 12 % test, 10 % validation, the rest and nobody's train."""
    letters = "".join(c for c in unicodedata.normalize("NFKD", artist).lower() if c.isalpha())
    if not letters:
        return "train"
    number = int.from_bytes(hashlib.blake2b(letters.encode(), digest_size=8).digest(), "big") % 100
    return "test" if number < 12 else "validation" if number < 22 else "train"


def _bytes(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    if file is None:
        raise SystemExit(f"{member.name} is no file")
    return file.read()


def _plain(text: str | None) -> str:
    return " ".join(re.sub(r"[_\s]+", " ", html.unescape(html.unescape(text or ""))).split())


def _clean(key: str, shard: Path, record: dict[str, Any], series: Counter[str], pixels: int) -> Drawing:
    artist, title = _plain(record["creator"]), _plain(record["title"])
    if _JUNK.match(title) or series[title] > _SERIES or title.lower() == artist.lower():
        title = _from_name(record["name"], artist)
    keywords = [_plain(word).lower() for word in record["keywords"]]
    kept = [
        word
        for word in dict.fromkeys(keywords)
        if not _BOILERPLATE.match(word) and word not in (artist.lower(), title.lower()) and len(word) < 40
    ]
    description = _plain(record["description"])
    if not 8 < len(description) < 200 or "HASH(" in description:
        description = ""
    return Drawing(key, shard, title[:120], tuple(kept[:_KEYWORDS]), description, artist, part_of(artist), pixels)


def _from_name(name: str, artist: str) -> str:
    """Make a title of a file name, which ends with a piece of the artist's name and a number."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.rpartition(".")[0])
    words = [word for word in re.split(r"[\W_]+", spaced) if word]
    names = [word.lower() for word in re.split(r"[\W_]+", artist) if word]
    while len(words) > 1 and (
        re.fullmatch(r"\d*r?", words[-1]) or any(part.startswith(words[-1].lower()) for part in names)
    ):
        words.pop()
    title = " ".join(words)
    return "" if _JUNK.match(title) else title
