"""Checkpoints: folders that appear whole or not at all, the newest few kept.

Each is a folder `step-00001000` in diffusers' layout, with the state that a training goes on from in `state/` and the
facts about it in `assay.json`. Its identity is the SHA-256 over the hashes of all its files but those of the state;
`facts.json` among them is a copy of the facts, so that the identity covers what the facts say.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filters.errors import BadInput
from filters.json_text import read_json
from pipelines.run.manifest import canonical
from pipelines.run.storage import sha256_file

FACTS = "assay.json"
COPY = "facts.json"
STATE = "state"
FORMAT = 1

_NAME = re.compile(r"step-(\d{8,})")
_TEMPORARY = ".tmp-"


def checkpoint_name(step: int) -> str:
    """Return the folder's name."""
    return f"step-{step:08d}"


def checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Return the whole checkpoints in a folder by step; none where the folder is absent."""
    if not folder.is_dir():
        return []
    found = [(match, path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return sorted((int(match.group(1)), path) for match, path in found if (path / FACTS).is_file())


def newest(path: Path) -> Path:
    """Return the checkpoint: the folder itself, or the newest one of a training's folder."""
    found = checkpoints(path)
    return found[-1][1] if found else path


def write_checkpoint(
    folder: Path, step: int, fill: Callable[[Path], None], facts: dict[str, Any]
) -> tuple[Path, dict[str, Any]]:
    """Write one checkpoint atomically; return its path and facts with `checkpoint` (64 hex digits) and `files`.

    `fill` writes into the folder that it is given. An older one of the same step is replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{_TEMPORARY}{os.getpid()}-{checkpoint_name(step)}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        fill(temporary)
        (temporary / COPY).write_text(_text(facts), encoding="utf-8")
        files = {
            path.relative_to(temporary).as_posix(): sha256_file(path)
            for path in sorted(temporary.rglob("*"))
            if path.is_file()
        }
        shipped = {name: digest for name, digest in files.items() if not name.startswith(f"{STATE}/")}
        identity = hashlib.sha256(canonical(shipped)).hexdigest()
        body = {"format": FORMAT, "checkpoint": identity, **facts, "files": files}
        (temporary / FACTS).write_text(_text(body), encoding="utf-8")
        _sync(temporary)
        return _publish(temporary, folder / checkpoint_name(step)), body
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _text(body: Mapping[str, Any]) -> str:
    return json.dumps(body, indent=1, ensure_ascii=False) + "\n"


def _publish(temporary: Path, target: Path) -> Path:
    if target.exists():
        aside = target.with_name(f"{_TEMPORARY}{os.getpid()}-old-{target.name}")
        os.replace(target, aside)
        os.replace(temporary, target)
        shutil.rmtree(aside, ignore_errors=True)
    else:
        os.replace(temporary, target)
    _sync_one(target.parent)
    return target


def prune(folder: Path, keep: int) -> list[Path]:
    """Delete all but the newest `keep` checkpoints; return the deleted ones."""
    old = [path for _, path in checkpoints(folder)[:-keep]]
    for path in old:
        aside = path.with_name(f"{_TEMPORARY}{os.getpid()}-old-{path.name}")
        os.replace(path, aside)  # so that no half-deleted checkpoint is ever seen
        shutil.rmtree(aside, ignore_errors=True)
    return old


def sweep(folder: Path) -> None:
    """Delete what a killed process left behind. Only under the training's lock."""
    for path in folder.glob(f"{_TEMPORARY}*") if folder.is_dir() else []:
        shutil.rmtree(path, ignore_errors=True)


def read_facts(checkpoint: Path) -> dict[str, Any]:
    """Return a checkpoint's facts. Raises `BadInput` where it is none, or of another format."""
    path = checkpoint / FACTS
    try:
        body: dict[str, Any] = read_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise BadInput(f"{checkpoint}: not a checkpoint of assay train (no readable {FACTS})") from None
    if not isinstance(body, dict) or body.get("format") != FORMAT or not isinstance(body.get("checkpoint"), str):
        raise BadInput(f"{path}: not the facts of a checkpoint of format {FORMAT}")
    return body


def stated_files(checkpoint: Path, facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of each file that the facts name. Raises `BadInput` where they name none, or one outside."""
    files = facts.get("files")
    if not isinstance(files, dict):
        raise BadInput(f"{checkpoint}: its facts name no files")
    root = checkpoint.resolve()
    for name in files:
        if not _is_inside(checkpoint / name, root):
            raise BadInput(f"{checkpoint}: its facts name a file outside: {name[:200]!r}")
    return {name: str(digest) for name, digest in files.items()}


def _is_inside(path: Path, root: Path) -> bool:
    try:
        path.is_file()  # raises for names that the file system cannot have
        return path.resolve().is_relative_to(root)
    except (OSError, ValueError):
        return False


def verified_facts(checkpoint: Path) -> dict[str, Any]:
    """Return a checkpoint's facts, with every shipped file held against its hash, and the hashes against the identity.

    Facts are held against their copy, where there is one (older checkpoints have none). The state may be missing: it
    is no part of the identity. Raises `BadInput`.
    """
    facts = read_facts(checkpoint)
    files = stated_files(checkpoint, facts)
    shipped = {name: digest for name, digest in files.items() if not name.startswith(f"{STATE}/")}
    for name, digest in shipped.items():
        if not (checkpoint / name).is_file() or sha256_file(checkpoint / name) != digest:
            raise BadInput(f"{checkpoint}: {name} is missing or was changed since the training wrote it")
    if hashlib.sha256(canonical(shipped)).hexdigest() != facts["checkpoint"]:
        raise BadInput(f"{checkpoint}: the hashes of its files do not give the identity that it states")
    if COPY in shipped and not _is_copy(checkpoint / COPY, facts):
        raise BadInput(f"{checkpoint}: {FACTS} was changed since the training wrote it: {COPY} says something else")
    return facts


def _is_copy(path: Path, facts: Mapping[str, Any]) -> bool:
    """Tell whether a copy says what the facts say, but for what is known only when all files are written."""
    try:
        copy = read_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    written = {name: value for name, value in facts.items() if name not in ("format", "checkpoint", "files")}
    # as text, because a metric that is no number is not equal to itself
    return json.dumps(copy, sort_keys=True) == json.dumps(written, sort_keys=True)


def require_room(folder: Path, needed: int) -> None:
    """Refuse to begin where the disk has not `needed` bytes free. Raises `BadInput`."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BadInput(
            f"{folder}: {_amount(free)} free, but the checkpoints need about {_amount(needed)}; "
            "free the disk, lower checkpoints.keep, or use another --out"
        )


def _amount(size: int) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"


def _sync(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        _sync_one(path)
    _sync_one(folder)


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
