"""Folders of models and of generated pictures below the root: found by listing, named by where they lie in it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dashboards.web.places import within
from filters.errors import BadInput
from pipelines.run.trainings import Training
from training.checkpoints import checkpoints, read_facts
from training.recorder import METRICS

#: What `assay generate` writes beside its pictures; its own module needs torch.
RECORD, REFUSALS, REGISTER = "generation.json", "refused.jsonl", "hallmarks.sqlite"

#: Folders of one kind that are listed; bytes of a small file that is read whole.
_FOLDERS, _SMALL = 200, 8 << 20

_CONFIGURATION = "training.yaml"


@dataclass(frozen=True)
class Folder:
    """A folder below the root: its name in addresses, and where it lies with all links resolved."""

    name: str
    path: Path


def model_folders(root: Path, recorded: list[Training]) -> list[Folder]:
    """Return the folders of trainings that lie in `root`, and those below it that the records of a run name."""
    base = root.resolve()
    found = {item.name: item for item in _listed(base) if _is_model(item.path)}
    for record in recorded:
        place = Path(record.path)
        for folder in (place.parent, place.parent.parent):
            if within(folder, base) and folder.resolve() != base and _is_model(folder.resolve()):
                name = folder.resolve().relative_to(base).as_posix()
                found.setdefault(name, Folder(name, folder.resolve()))
                break
    return sorted(found.values(), key=lambda item: item.name)[:_FOLDERS]


def picture_folders(root: Path) -> list[Folder]:
    """Return the folders in `root`, or one level deeper, that `assay generate` wrote pictures into."""
    base, found = root.resolve(), []
    for item in _listed(base):
        if _holds(item.path, RECORD):
            found.append(item)
        elif not (item.path / "recipe.yaml").exists():
            inner = [folder for folder in _listed(item.path) if _holds(folder.path, RECORD)]
            found += [Folder(f"{item.name}/{folder.name}", folder.path) for folder in inner]
    return found[:_FOLDERS]


def _listed(base: Path) -> list[Folder]:
    """Return the folders in `base` by name; a link that leads out of it is none, nor a name nobody can say."""
    found = []
    try:
        entries = sorted(os.scandir(base), key=lambda entry: entry.name)
    except OSError:
        return []
    for entry in entries:
        path = Path(entry.path).resolve()
        if entry.name.startswith(".") or not entry.name.isprintable() or len(entry.name) > 200:
            continue
        if path.is_dir() and path.is_relative_to(base) and path != base:
            found.append(Folder(entry.name, path))
    return found


def _is_model(path: Path) -> bool:
    return _holds(path, METRICS) or _holds(path, _CONFIGURATION)


def _holds(folder: Path, name: str) -> bool:
    return (folder / name).is_file() and within(folder / name, folder)


def small_json(path: Path, inside: Path) -> dict[str, Any] | None:
    """Return a JSON object from a file below `inside`; None for what is none, is too large, or lies elsewhere."""
    try:
        if not within(path, inside) or path.stat().st_size > _SMALL:
            return None
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def steps_of(folder: Path) -> list[tuple[int, Path, dict[str, Any]]]:
    """Return the checkpoints directly in a folder with their facts, by step, without those that cannot be read."""
    found = []
    for step, path in checkpoints(folder):
        facts = path / "assay.json"
        try:
            if within(facts, folder) and facts.stat().st_size <= _SMALL:
                found.append((step, path, read_facts(path)))
        except (BadInput, OSError):
            continue
    return found
