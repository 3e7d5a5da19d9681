"""Evidence: a policy document as it was stored, with the lines that signals rest on, and the hosts' documents."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from dashboards.text import clean
from dashboards.web.catalogue import Opened
from dashboards.web.places import within
from dashboards.web.query.signal_columns import SIGNAL
from dashboards.web.text import reveal

#: Bytes of a body that are shown, lines of it, characters of a line.
_BYTES, _LINES, _LINE = 256 << 10, 4000, 2000

#: A body with more octets than this share that are no text is shown by its size alone.
_BINARY = 0.1

#: Signals that one document is held against; addresses in the list of documents.
_SIGNALS, _DOCUMENTS = 60, 100


@dataclass(frozen=True)
class Resting:
    """Signals of one wording that rest on a document, and one of their samples."""

    channel: str
    verdict: str
    source: str
    raw: str
    spec: str
    detail: str
    samples: int
    example: str


@dataclass(frozen=True)
class Line:
    """One line of a body; `marks` are channel and verdict of the signals read from it, `denies` one of them denies."""

    number: int
    text: str
    marks: list[str]
    denies: bool


@dataclass(frozen=True)
class Evidence:
    """A stored document. `whole` tells whether its bytes have the hash by which they are named.

    `lines` is empty for a body that is no text; `cut` where more stands in it than is shown.
    """

    sha256: str
    size: int
    whole: bool
    kind: str
    lines: list[Line]
    cut: bool
    marked: int
    signals: list[Resting]


@dataclass(frozen=True)
class HostDocument:
    """The newest answer of one address."""

    kind: str
    url: str
    state: str
    status: str
    fetched_at: str
    sha256: str


def evidence(opened: Opened, digest: str) -> Evidence | None:
    """Return the document of a SHA-256 (64 hex digits); None where the run has neither it nor a signal by it."""
    signals = _resting(opened, digest)
    body = _host_body(opened, digest)
    kind = "policy document of a host"
    if body is None:
        body, kind = _part_body(opened, digest), "packet from inside a picture"
    if body is None:
        return Evidence(digest, 0, True, "not stored", [], False, 0, signals) if signals else None
    data, size, whole = body
    text = _text(data)
    lines = [] if text is None else _marked(text, signals)
    cut = size > len(data) or (text is not None and len(text.splitlines()) > len(lines))
    return Evidence(digest, size, whole, kind, lines, cut, sum(bool(line.marks) for line in lines), signals)


def _host_body(opened: Opened, digest: str) -> tuple[bytes, int, bool] | None:
    path = opened.place.path / "policies" / digest
    if not path.is_file() or not within(path, opened.place.path):
        return None
    hashed = sha256()
    with path.open("rb") as stream:
        head = stream.read(_BYTES)
        hashed.update(head)
        while more := stream.read(1 << 20):
            hashed.update(more)
        return head, stream.tell(), hashed.hexdigest() == digest


def _part_body(opened: Opened, digest: str) -> tuple[bytes, int, bool] | None:
    files = opened.files("policies")
    if not files:
        return None
    found = opened.reader.rows("SELECT body FROM read_parquet(?) WHERE sha256 = ? LIMIT 1", [files, digest])
    if not found:
        return None
    body = bytes(found[0][0])
    return body[:_BYTES], len(body), sha256(body).hexdigest() == digest


def _resting(opened: Opened, digest: str) -> list[Resting]:
    files = opened.files("signals")
    if not files:
        return []
    rows = opened.reader.rows(
        f"SELECT {SIGNAL}, count(DISTINCT uid), min(uid) FROM read_parquet(?) WHERE evidence_sha256 = ? "
        "GROUP BY ALL ORDER BY 7 DESC, 1, 3, 4 LIMIT ?",
        [files, digest, _SIGNALS],
    )
    found = []
    for *words, count, uid in rows:
        channel, verdict, source, raw, spec, detail = map(str, words)
        found.append(Resting(channel, verdict, source, raw, spec, detail, int(count), str(uid)))
    return found


def _text(data: bytes) -> str | None:
    """Return a body as text, None where it is none: it came from a stranger and may be anything."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    text = data.decode("utf-8", "replace")
    odd = sum(character == "\ufffd" or (character < " " and character not in "\t\n\r\f") for character in text)
    return None if odd > _BINARY * max(1, len(text)) else text


def _marked(text: str, signals: list[Resting]) -> list[Line]:
    """Return the lines, those marked that have the wording of a signal: whole lines, else the lines it runs over."""
    lines = text.splitlines()[:_LINES]
    plain = [_plain(line[:_LINE]) for line in lines]
    bare = [_plain(line[:_LINE].partition("#")[0]) for line in lines]
    marks: dict[int, set[str]] = {}
    for signal in signals:
        for piece in _pieces(signal.raw):
            same = [at for at, line in enumerate(plain) if piece in (line, bare[at])]
            for at in same or _run_over(plain, piece):
                marks.setdefault(at, set()).add(f"{signal.channel}: {signal.verdict}")
    found = []
    for at, line in enumerate(lines):
        here = sorted(marks.get(at, ()))
        found.append(Line(at + 1, reveal(line, _LINE), here, any(mark.endswith(": deny") for mark in here)))
    return found


def _run_over(plain: list[str], piece: str) -> list[int]:
    """Return the lines over which a statement runs, as JSON does, wherever it stands."""
    joined = "".join(plain)
    found: set[int] = set()
    starts = np.cumsum([0, *(len(line) for line in plain)])
    at = joined.find(piece)
    while at >= 0 and len(found) < _LINES:
        first, last = np.searchsorted(starts, [at, at + len(piece) - 1], side="right") - 1
        found |= set(range(int(first), int(last) + 1))
        at = joined.find(piece, at + len(piece))
    return sorted(found)


def _pieces(raw: str) -> list[str]:
    """Return the statements of a signal's wording; a few letters would mark every line."""
    whole = _plain(raw)
    found = [whole] if whole.startswith("{") else [_plain(piece) for piece in raw.replace("; ", "\n").splitlines()]
    return [piece for piece in found if len(piece) >= 4]


def _plain(line: str) -> str:
    """Return a line without white space and case, which the channels' grammars pass over."""
    return "".join(line.split()).casefold()


def host_documents(opened: Opened) -> tuple[list[HostDocument], bool]:
    """Return what hosts last answered, by address, and whether there is more than is listed."""
    folder = opened.place.path / "policies" / "latest"
    found: list[HostDocument] = []
    for base, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if len(found) == _DOCUMENTS:
                return sorted(found, key=lambda item: (item.url, item.kind)), True
            item = _document(Path(base) / name, opened.place.path)
            if item is not None:
                found.append(item)
    return sorted(found, key=lambda item: (item.url, item.kind)), False


def _document(path: Path, inside: Path) -> HostDocument | None:
    try:
        if path.suffix != ".json" or not within(path, inside) or path.stat().st_size > 1 << 16:
            return None
        facts = json.loads(path.read_bytes())
        names = ("kind", "url", "state", "http_status", "fetched_at", "sha256")
        kind, url, state, status, at, digest = (str(facts.get(name) or "") for name in names)
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return HostDocument(
        clean(kind, 20), clean(url, 300), clean(state, 20), clean(status, 5), clean(at, 30), clean(digest, 64)
    )
