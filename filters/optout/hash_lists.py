"""Hash lists of known harmful pictures: brought by the user, matched before anything else is done with a picture.

Assay ships no list. Formats: plain text with one hash a line, CSV with a header, and rows as ThreatExchange hands
them out (JSON array, `{"data": [...]}`, JSON lines or CSV with a type and the hash). A list is read whole or
refused: a line that cannot be read would be a picture that is not found. No hash stands in a message.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from filters.decoding import Undecodable, decode
from filters.errors import BadInput
from filters.optout.look_alike import MIN_QUALITY, PDQ_DISTANCE, PdqIndex

#: Largest list in bytes (four million lines of SHA-256 are 260 MB).
MAX_BYTES = 4 << 30
#: Longest line or field in characters.
_MAX_LINE = 1 << 20

#: Names of hash kinds in lists, in lower case. Sources: ThreatExchange indicator types, python-threatexchange
#: signal types.
_KINDS = {
    "md5": "md5",
    "hash_md5": "md5",
    "photo_md5": "md5",
    "sha256": "sha256",
    "sha-256": "sha256",
    "hash_sha256": "sha256",
    "pdq": "pdq",
    "hash_pdq": "pdq",
}
#: Kinds that lists hold beside them. They are counted as ignored: they are no pictures, or hashes without an open
#: algorithm.
_IGNORED = frozenset(
    {"hash_photodna", "photodna", "hash_sha1", "sha1", "hash_video_md5", "video_md5", "hash_tmk", "tmk", "vpdq"}
    | {"hash_text_tlsh", "text_tlsh", "url", "uri", "domain", "raw_text", "text", "text_string", "trend_query"}
    | {"hash_vpdq", "hash_video_vpdq", "raw_url", "cleaned_url", "hash_url_md5"}
)
_TYPE_NAMES = ("type", "hash_type", "signal_type", "indicator_type", "algorithm")
_VALUE_NAMES = ("hash", "indicator", "signal", "signal_str", "value", "hash_value")
_HEX = re.compile(r"[0-9a-fA-F]+")
_DIGITS = {"md5": 32, "sha256": 64, "pdq": 64}
_DELIMITERS = ",;\t"


@dataclass(frozen=True)
class HarmfulHashes:
    """Lists in memory: sorted MD5 and SHA-256 digests (16 and 32 bytes each) and PDQ hashes (32 bytes each).

    `ignored` counts the rows whose kind says nothing about a picture's bytes or pixels, by kind.
    """

    md5: np.ndarray
    sha256: np.ndarray
    pdq: PdqIndex
    ignored: Mapping[str, int]

    @property
    def size(self) -> int:
        """Return the number of different hashes."""
        return len(self.md5) + len(self.sha256) + len(self.pdq.codes)

    def matches(self, data: bytes, pixels: bool = True) -> bool:
        """Tell whether the picture's bytes, or its pixels by PDQ within 31 bits in any flip or turn, are listed.

        Pixels are looked at only where a list has PDQ hashes. A file that cannot be decoded matches by its bytes
        alone, and so does one whose PDQ quality is below 50, and each without `pixels` (one that no decoder survives).
        """
        if _listed(self.md5, hashlib.md5(data, usedforsecurity=False).digest()):
            return True
        if _listed(self.sha256, hashlib.sha256(data).digest()):
            return True
        return pixels and len(self.pdq.codes) > 0 and self._looks_listed(data)

    def _looks_listed(self, data: bytes) -> bool:
        from filters.scorers.pdq import dihedral_hashes

        try:
            codes, quality = dihedral_hashes(decode(data).image)
        except Undecodable:
            return False
        if quality < MIN_QUALITY:
            return False
        queries = np.frombuffer(b"".join(codes), dtype=np.uint8).reshape(-1, 32)
        # A count of differing bits, without an index to build for each picture.
        return any(bool((_distances(self.pdq.codes, query) <= PDQ_DISTANCE).any()) for query in queries)


def load_hash_lists(paths: Iterable[str | Path]) -> HarmfulHashes:
    """Read lists: files, or folders with all their files. Raises `BadInput` naming file and line."""
    found: dict[str, set[bytes]] = {"md5": set(), "sha256": set(), "pdq": set()}
    ignored: Counter[str] = Counter()
    for path in paths:
        for file in _files(Path(path)):
            rows = 0
            for kind, code in _read(file):
                rows += 1
                if kind in found:
                    found[kind].add(code)
                else:
                    ignored[kind] += 1
            if rows == 0:
                raise BadInput(f"{file}: holds no hash")
    pdq = PdqIndex.of(sorted(found["pdq"]))
    return HarmfulHashes(_sorted(found["md5"], 16), _sorted(found["sha256"], 32), pdq, dict(ignored))


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise BadInput(f"{path}: no such file or folder of hash lists")
    files = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
    if not files:
        raise BadInput(f"{path}: the folder holds no hash list")
    return files


def _read(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (kind, digest) of one list; the digest is empty for ignored kinds."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadInput(f"{path}: larger than {MAX_BYTES >> 30} GiB; split the list")
        with path.open(encoding="utf-8-sig", newline="") as stream:
            yield from _rows(path, stream)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise BadInput(f"{path}: is not UTF-8 text") from None


def _rows(path: Path, stream: TextIO) -> Iterator[tuple[str, bytes]]:
    start = _first_line(stream)
    stream.seek(0)
    if start.startswith("["):
        yield from _json_rows(path, stream)
    elif start.startswith("{"):
        yield from _json_lines(path, stream)
    elif any(mark in start for mark in _DELIMITERS) or start.lower() in (*_VALUE_NAMES, *_KINDS):
        yield from _csv_rows(path, stream, start)
    else:
        yield from _plain(path, stream)


def _first_line(stream: TextIO) -> str:
    """Return the first line that says something; comments do not."""
    while line := stream.readline(_MAX_LINE):
        text = line.strip()
        if text and not text.startswith("#"):
            return text
    return ""


def _plain(path: Path, stream: TextIO) -> Iterator[tuple[str, bytes]]:
    """Read one hash a line, also as `kind:hash` or `kind hash`; `# type: pdq` holds for the lines below it."""
    stated = _kind_of_name(path)
    for number, line in enumerate(_lines(stream), 1):
        text = line.strip()
        if found := re.fullmatch(r"#\s*type\s*[:=]\s*(\S+)", text):
            stated = _kind(path, number, found[1])
        elif text and not text.startswith("#"):
            prefix, _, rest = text.replace(":", " ", 1).rpartition(" ")
            kind = _kind(path, number, prefix.strip()) if prefix.strip() else stated
            yield _checked(path, number, kind, rest)


def _kind_of_name(path: Path) -> str | None:
    """Return the kind that the file's name states as a word of its own."""
    words = {_KINDS.get(word) for word in re.split(r"[^a-z0-9]+", path.name.lower())} - {None}
    return words.pop() if len(words) == 1 else None


def _csv_rows(path: Path, stream: TextIO, start: str) -> Iterator[tuple[str, bytes]]:
    delimiter = max(_DELIMITERS, key=start.count)
    reader = csv.reader(_lines(stream), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    stated = _kind_of_name(path)
    try:
        for row in reader:
            if not any(cell.strip() for cell in row) or row[0].lstrip().startswith("#"):
                continue
            if header is None:
                header = [cell.strip().lower() for cell in row]
                continue
            if len(row) != len(header):
                raise BadInput(f"{path}:{reader.line_num}: {len(row)} fields, the header has {len(header)}")
            yield from _fields(path, reader.line_num, dict(zip(header, row, strict=True)), stated)
    except csv.Error as error:
        raise BadInput(f"{path}:{reader.line_num}: no CSV ({error})") from None


def _json_rows(path: Path, stream: TextIO) -> Iterator[tuple[str, bytes]]:
    try:
        body = json.load(stream)
    except json.JSONDecodeError as error:
        raise BadInput(f"{path}:{error.lineno}: no JSON ({error.msg})") from None
    except (ValueError, RecursionError):
        raise BadInput(f"{path}: no JSON that can be read") from None
    rows = body.get("data") if isinstance(body, dict) else body
    if not isinstance(rows, list):
        raise BadInput(f"{path}: JSON without rows; give an array, or an object with the array `data`")
    for number, row in enumerate(rows, 1):
        yield from _fields(path, number, row, _kind_of_name(path), "row ")


def _json_lines(path: Path, stream: TextIO) -> Iterator[tuple[str, bytes]]:
    """Read JSON lines; one object over the whole file is the API's `{"data": [...]}`."""
    lines = ((number, line) for number, line in enumerate(_lines(stream), 1) if line.strip())
    for number, line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if row is None or (isinstance(row, dict) and isinstance(row.get("data"), list)):
            if number > 1:
                raise BadInput(f"{path}:{number}: no JSON")
            stream.seek(0)
            yield from _json_rows(path, stream)
            return
        yield from _fields(path, number, row, _kind_of_name(path))


def _fields(path: Path, number: int, row: Any, stated: str | None, what: str = "") -> Iterator[tuple[str, bytes]]:
    """Yield the hashes of one row: columns named by kind, or one column of hashes with its type beside it."""
    if not isinstance(row, dict) or not all(isinstance(name, str) for name in row):
        raise BadInput(f"{path}:{what}{number}: no row with named fields")
    cells = {name.strip().lower(): value for name, value in row.items()}
    by_kind = [(_KINDS[name], cells[name]) for name in cells if name in _KINDS and cells[name] not in (None, "")]
    value = next((cells[name] for name in _VALUE_NAMES if name in cells), None)
    if value is None and not by_kind:
        raise BadInput(f"{path}:{what}{number}: no hash; fields md5, sha256, pdq, or hash with its type, are read")
    for kind, code in by_kind:
        yield _checked(path, number, kind, code, what)
    if value is not None:
        named = next((cells[name] for name in _TYPE_NAMES if cells.get(name)), None)
        yield _checked(path, number, _kind(path, number, named, what) if named else stated, value, what)


def _kind(path: Path, number: int, name: object, what: str = "") -> str:
    text = str(name).strip().lower()
    kind = _KINDS.get(text) or (text if text in _IGNORED else None)
    if kind is None:
        known = ", ".join(sorted(set(_KINDS.values())))
        shown = "" if _HEX.fullmatch(text) else f" {text[:40]!r}"  # it may be half of a hash
        raise BadInput(f"{path}:{what}{number}: unknown type of hash{shown}; {known} are read")
    return kind


def _checked(path: Path, number: int, kind: str | None, value: object, what: str = "") -> tuple[str, bytes]:
    """Return kind and digest; 32 digits can only be MD5, 64 need to be told apart."""
    if kind in _IGNORED:
        return str(kind), b""
    text = value.strip() if isinstance(value, str) else ""
    if not _HEX.fullmatch(text) or len(text) not in (32, 64):
        raise BadInput(f"{path}:{what}{number}: no hash of 32 (MD5) or 64 (SHA-256, PDQ) hex digits")
    if kind is None and len(text) == 64:
        raise BadInput(
            f"{path}:{what}{number}: 64 digits may be SHA-256 or PDQ: name the file NAME.sha256 or NAME.pdq, "
            "or put `# type: sha256` or `# type: pdq` above"
        )
    kind = kind or "md5"
    if len(text) != _DIGITS[kind]:
        raise BadInput(f"{path}:{what}{number}: {kind} has {_DIGITS[kind]} hex digits, not {len(text)}")
    return kind, bytes.fromhex(text)


def _lines(stream: TextIO) -> Iterator[str]:
    while line := stream.readline(_MAX_LINE):
        yield line


def _sorted(codes: set[bytes], width: int) -> np.ndarray:
    return np.sort(np.array(list(codes), dtype=f"S{width}"))


def _listed(codes: np.ndarray, digest: bytes) -> bool:
    # Fixed-width bytes of full length: numpy's padding with zeros cannot make two digests equal.
    key = np.array(digest, dtype=codes.dtype)
    at = int(np.searchsorted(codes, key))
    return at < len(codes) and bool(codes[at] == key)


def _distances(codes: np.ndarray, query: np.ndarray) -> np.ndarray:
    differing: np.ndarray = np.bitwise_count(codes.view(np.uint64) ^ query.view(np.uint64)).sum(axis=1)
    return differing
