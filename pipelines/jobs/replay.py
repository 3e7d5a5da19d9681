"""Replay: another decision over the scores of a run. No model runs and no picture is read."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from filters.errors import BadInput
from pipelines.jobs.decide import decide
from pipelines.jobs.dedup import DUPLICATES, dedup, dedup_fingerprint
from pipelines.jobs.groups import assign_groups
from pipelines.retraction.versions import sealed
from pipelines.run.directory import MANIFEST, REGISTRY, Run, create_run, locked_place
from pipelines.run.lock import held_still
from pipelines.run.manifest import read_manifest
from pipelines.run.parts import read_marker
from pipelines.run.recipe import Recipe, load_recipe, parse_recipe
from pipelines.run.staged import committed
from pipelines.run.storage import Store, sha256_stream

#: What a new decision needs of the old run, and what galleries and later stages read.
CARRIED = (
    *("downloads", "samples", "signals", "policies", "matches"),
    *("statistics", "scores", "evidence", "embeddings", "thumbnails", "groups"),
)
_PARENT = "parent.json"
_MARKER = ".done.json"

#: What may differ between the old recipe and the new one: all that comes after the scores.
_REPLAYABLE = {"name", "rights", "rules", "licences", "languages", "duplicates", "balance", "shards", "audit", "gates"}

#: Of the rights section, what is used while signals and matches are read.
_READ = ("agents", "noindex", "registry", "grant_keys", "c2pa_anchors", "harmful", "look_alike")


def replayed_recipe(run: Run, overrides: list[str], file: Path | None = None) -> Recipe:
    """Return the run's recipe, or that of `file`, with overrides.

    Raises `BadInput` where it differs from the run's in what would need models or input again.
    """
    if file is not None:
        recipe = load_recipe(file, overrides)
    else:
        recipe = parse_recipe(run.recipe.dump(), f"{run.store.url}/recipe.yaml", overrides)
    old, new = run.recipe.model_dump(), recipe.model_dump()
    changed = sorted(key for key in new if new[key] != old[key] and key not in _REPLAYABLE)
    changed += sorted(f"rights.{key}" for key in _READ if new["rights"][key] != old["rights"][key])
    if changed:
        where = "--set" if file is None else f"{file}:"
        raise BadInput(f"{where} {', '.join(changed)}: cannot be replayed, it changes the scores; use assay run")
    return recipe


def replay(run: Run, overrides: list[str], out: str, file: Path | None = None) -> Run:
    """Decide the run again into the new run `out`; its shards are written by `assay balance`.

    Where `out` is an earlier replay, what the run has changed or lost since (an opt-out was applied) is so there too.
    `file`: a whole recipe instead of the run's own. Takes both runs' locks; none waits for the other. Raises
    `BadInput`.
    """
    if not run.parts("scores") or run.parts("scores") != run.parts("samples"):
        raise BadInput(f"{run.store.url}: not every part is scored; run assay score first")
    recipe = replayed_recipe(run, overrides, file)
    _require_apart(run.store, Store(out))
    with locked_place(out):
        new = create_run(out, recipe)
        sealed(new.store)
        if set(new.parts("scores")) - set(run.parts("scores")):
            raise BadInput(f"{out}: has parts that {run.store.url} does not have; give another --out")
        with held_still(run.store):
            _carry_run(run, new)
        dedup(new)
        assign_groups(new)
        decide(new)
    return new


def _require_apart(old: Store, new: Store) -> None:
    """Refuse a place that is the run or inside it. Raises `BadInput`."""
    if old.local != new.local:
        return
    here, there = (os.path.realpath(s.root) if s.local else s.root for s in (old, new))
    if there == here:
        raise BadInput(f"{new.url}: is the run itself; give another --out")
    if there.startswith(here.rstrip("/") + "/"):
        raise BadInput(f"{new.url}: lies inside the run {old.url}; give another --out")


def _carry_run(run: Run, new: Run) -> None:
    """Give the new run all that its decisions need. Raises `BadInput` where the run changes meanwhile.

    The registry's state, which vouches for the matches, is taken first, written last, and missing in between: what a
    killed replay leaves is not taken for a dataset that is up to date with its registry.
    """
    state = _state(run.store)
    new.store.delete(REGISTRY)
    for artefact in CARRIED:
        _carry_folder(run.store, new.store, artefact)
    _carry_duplicates(run, new)
    parent = read_manifest(run)["content_hash"] if run.finished() else None
    # not every store has a lock
    if committed(run.store) or _state(run.store) != state:
        raise BadInput(f"{run.store.url}: was changed by another job meanwhile; run the same command again")
    new.store.write(_PARENT, json.dumps({"content_hash": parent, "run": run.store.url}).encode())
    if state[0] is not None:
        new.store.write(REGISTRY, state[0])


def _state(store: Store) -> tuple[bytes | None, bytes | None]:
    """Return the registry's state that a run is up to date with, and its manifest, as they are."""
    return store.find(REGISTRY), store.find(MANIFEST)


def parent_of(run: Run) -> str | None:
    """Return the content hash of the dataset that this run was replayed from, None for an original run."""
    if not run.store.exists(_PARENT):
        return None
    found: str | None = json.loads(run.store.read(_PARENT))["content_hash"]
    return found


def _carry_duplicates(run: Run, new: Run) -> None:
    """Give the run's duplicates to the new one where it would find the same: they hang on scores and bounds alone."""
    found = read_marker(run.store, DUPLICATES)
    if found is not None and found.fingerprint == dedup_fingerprint(new, new.parts("scores")):
        _carry_folder(run.store, new.store, DUPLICATES.partition("/")[0])


def _carry_folder(old: Store, new: Store, folder: str) -> None:
    """Make a folder of the new run hold what that of the old one does, from whatever an earlier replay left."""
    names = old.list(folder)
    for name in set(new.list(folder)) - set(names):
        new.delete(name)
    markers = [name for name in names if name.endswith(_MARKER)]
    # a marker vouches for its part: an older one goes before the part changes, and the new one comes last
    for name in markers:
        if new.exists(name) and not _same(old, new, name):
            new.delete(name)
    for name in [name for name in names if not name.endswith(_MARKER)] + markers:
        _carry(old, new, name)


def _carry(old: Store, new: Store, name: str) -> None:
    """Give `name` of the old run to the new one: a hard link where both are on one disk, else a copy.

    Parts are never changed in place (only replaced), so a link is safe.
    """
    if new.size(name) is not None and _same(old, new, name):
        return
    if old.local and new.local:
        target = Path(new.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            target.hardlink_to(old.path(name))
            return
        except OSError:
            pass  # another disk, or a file system without links: copy
    with new.create(name) as path, old.open(name) as stream, path.open("wb") as copy:
        shutil.copyfileobj(stream, copy)


def _same(old: Store, new: Store, name: str) -> bool:
    """Tell whether both runs have the file with the same content; of another state it may well have the same size."""
    if new.size(name) != old.size(name):
        return False
    if old.local and new.local and Path(new.path(name)).samefile(old.path(name)):
        return True
    with old.open(name) as one, new.open(name) as other:
        return sha256_stream(one) == sha256_stream(other)
