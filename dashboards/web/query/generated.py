"""Generated pictures below the root: folders, their pages, the refusals log, and what a picture's credential says."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter, OrderedDict
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import blake2b, sha256
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from dashboards.text import clean
from dashboards.web.catalogue import Opened
from dashboards.web.places import within
from dashboards.web.query.training_places import RECORD, REFUSALS, REGISTER, Folder, picture_folders, small_json
from filters.decoding import Undecodable, decode
from filters.environment import TRUST
from filters.errors import AssayError, BadInput
from pipelines.run.directory import MANIFEST

if TYPE_CHECKING:
    from training.hallmark.verify import Report

#: Pictures of a page, bytes of a picture, bytes of the refusals log that are read, side of a thumbnail in pixels.
_PAGE, _BYTES, _LOG, _SIDE = 24, 32 << 20, 2 << 20, 256

#: Verdicts and thumbnails that are kept between requests.
_KEPT = 512

MEDIA = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}


@dataclass(frozen=True)
class PictureFolder:
    """One folder of generated pictures, from its `generation.json`. `of_run`: a checkpoint of this run made them."""

    name: str
    checkpoint: str
    mark: str
    prompts: int
    count: int
    settings: list[tuple[str, str]]
    of_run: bool


@dataclass(frozen=True)
class Refused:
    """Pictures that a guard refused, by code; `final`: no candidate was left, so there is no such picture."""

    code: str
    pictures: int
    final: int
    detail: str


@dataclass(frozen=True)
class PicturePage:
    """One page of a folder's pictures by name; `after` leads to the next one."""

    total: int
    names: list[str]
    after: str


@dataclass(frozen=True)
class Verdict:
    """What was found of a picture. `credential` is ours, other, invalid or none; `trusted`: anchors are set."""

    file: str
    ok: bool
    credential: str
    trusted: bool
    signer: str
    signed_at: str
    registered: bool
    picture: str
    model: str
    checkpoint: str
    dataset: str
    created_at: str
    marks: list[str]
    problems: list[str]
    notes: list[str]


def folders(opened: Opened, root: Path, known: set[str]) -> list[tuple[Folder, PictureFolder]]:
    """Return the folders below `root`, those of the checkpoints in `known` first."""
    found = [(folder, _folder(folder, root, known)) for folder in picture_folders(root)]
    return sorted(found, key=lambda item: (not item[1].of_run, item[0].name))


def _folder(folder: Folder, root: Path, known: set[str]) -> PictureFolder:
    body = small_json(folder.path / RECORD, root) or {}
    settings = body.get("settings")
    pairs = sorted(settings.items()) if isinstance(settings, dict) else []
    checkpoint = str(body.get("checkpoint") or "")
    return PictureFolder(
        folder.name,
        clean(checkpoint, 64),
        clean(str(body.get("mark") or "none"), 40),
        _count(body.get("prompts")),
        _count(body.get("count")),
        [(clean(str(name), 40), clean(str(value), 40)) for name, value in pairs[:12]],
        checkpoint in known,
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def picture_page(folder: Folder, after: str = "") -> PicturePage:
    """Return a page of a folder's pictures, in order of their names."""
    names = picture_names(folder)
    rest = [name for name in names if name > after] if after else names
    return PicturePage(len(names), rest[:_PAGE], rest[_PAGE - 1] if len(rest) > _PAGE else "")


def picture_names(folder: Folder) -> list[str]:
    """Return the names of the pictures directly in a folder; a picture is only ever looked up in this list."""
    try:
        entries = list(os.scandir(folder.path))
    except OSError:
        return []
    return sorted(
        entry.name
        for entry in entries
        if not entry.name.startswith(".")
        and Path(entry.name).suffix.lower() in MEDIA
        and entry.name.isprintable()
        and entry.is_file()
        and within(Path(entry.path), folder.path)
    )


def refusals(folder: Folder) -> list[Refused]:
    """Count the refusals log by code; of a long log, its end."""
    path = folder.path / REFUSALS
    if not path.is_file() or not within(path, folder.path):
        return []
    with path.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, 2) - _LOG))
        lines = stream.read(_LOG).splitlines()
    counts: Counter[str] = Counter()
    final: Counter[str] = Counter()
    details: dict[str, str] = {}
    for line in lines:
        try:
            body = json.loads(line)
            code = clean(str(body["code"]), 60)
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        counts[code] += 1
        final[code] += body.get("final") is True
        details.setdefault(code, clean(str(body.get("detail") or ""), 200))
    return [Refused(code, number, final[code], details[code]) for code, number in counts.most_common(30)]


def picture_bytes(folder: Folder, name: str) -> bytes | None:
    """Return a picture's file; None for one that is not in the folder's list or is too large."""
    if name not in picture_names(folder):
        return None
    path = folder.path / name
    try:
        return path.read_bytes() if path.stat().st_size <= _BYTES else None
    except OSError:
        return None


def thumbnail_of(data: bytes) -> bytes | None:
    """Return a picture as a small WebP without any of its metadata; None where it cannot be decoded."""
    try:
        image = decode(data).image.convert("RGB")
    except Undecodable:
        return None
    image.thumbnail((_SIDE, _SIDE))
    out = BytesIO()
    image.save(out, "WEBP", quality=88)
    return out.getvalue()


class Verdicts:
    """Verdicts on pictures, kept by the state of all that they depend on. Safe to use from many threads.

    `trust` names our own issuers' certificates; None: as the environment says.
    """

    def __init__(self, trust: Path | None = None) -> None:
        self._trust = trust
        self._found: OrderedDict[str, tuple[Verdict, Report]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, opened: Opened, folder: Folder, name: str) -> tuple[Verdict, Report] | None:
        """Return what is found of a picture; None for one that is not there."""
        data = picture_bytes(folder, name)
        if data is None:
            return None
        anchors = trust_anchors(self._trust)
        key = _key(opened, folder, name, data, anchors)
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
                return self._found[key]
        found = verify(opened, folder, name, data, anchors)
        with self._lock:
            self._found[key] = found
            while len(self._found) > _KEPT:
                self._found.popitem(last=False)
        return found


def _key(opened: Opened, folder: Folder, name: str, data: bytes, anchors: str) -> str:
    """Return what a verdict depends on as a hash: bytes, anchors, register, and the dataset's version."""
    states = [sha256(data).hexdigest(), str(folder.path), name, anchors, opened.name]
    for path in (folder.path / REGISTER, opened.place.path / MANIFEST, opened.place.path / "trainings"):
        states.append(str(path.stat().st_mtime_ns) if path.exists() else "")
    return blake2b("\0".join(states).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def trust_anchors(trust: Path | None = None) -> str:
    """Return the operator's certificates, empty where none are set. Raises `BadInput` where they cannot be read."""
    named = os.environ.get(TRUST) if trust is None else str(trust)
    if not named:
        return ""
    try:
        found = Path(named).read_text(encoding="ascii")
    except (OSError, ValueError):
        found = ""
    if "-----BEGIN CERTIFICATE-----" not in found:
        raise BadInput(f"{'--trust' if trust else '$' + TRUST} names no certificates in PEM form that can be read")
    return found


def verify(opened: Opened, folder: Folder, name: str, data: bytes, anchors: str) -> tuple[Verdict, Report]:
    """Verify one picture's credential against anchors, the folder's register and the run. Marks are not looked for."""
    from training.hallmark.registry import open_register
    from training.hallmark.verify import Verifier

    notes: list[str] = []
    with ExitStack() as stack:
        register, path = None, folder.path / REGISTER
        try:
            if path.is_file() and within(path, folder.path):
                register = stack.enter_context(open_register(str(path)))
        except AssayError:
            notes.append("the folder's register of hallmarks cannot be read")
        run = opened.run if opened.run.finished() else None
        report = Verifier(anchors=anchors, registry=register, run=run).verify(name, data)
        claim = report.claim or report.credential.claim
        registered = bool(register and claim and register.get(claim.id) is not None)
    hidden = str(opened.place.path)
    credential = report.credential
    verdict = Verdict(
        name,
        report.ok,
        credential.verdict,
        bool(anchors),
        clean(credential.signer, 200),
        clean(credential.signed_at, 40),
        registered,
        clean(claim.id if claim else "", 80),
        clean(claim.model if claim else "", 200),
        clean(claim.checkpoint if claim else "", 64),
        clean(claim.dataset if claim else "", 64),
        clean(str(claim.created_at) if claim else "", 40),
        [clean(f"{one.algorithm} {one.value}", 120) for one in claim.bindings] if claim else [],
        [clean(text.replace(hidden, opened.name), 400) for text in report.problems],
        [clean(text.replace(hidden, opened.name), 400) for text in (*notes, *report.notes)],
    )
    return verdict, report
