"""The opt-out registry beside a run: its age, and entries that came after the state which the run was matched with.

Nothing is written: the registry is asked for its entries alone, by the code that `assay check` asks it with.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dashboards.text import clean
from dashboards.web.catalogue import Opened
from dashboards.web.places import within
from filters.errors import AssayError, BadInput
from filters.optout.entries import Entry, Kind
from pipelines.jobs.match import pinned
from pipelines.registry.sqlite import SqliteDatabase
from pipelines.registry.store import Registry
from pipelines.retraction.index import find_positions

#: Newer entries that are looked up in the run and listed one by one.
_LISTED = 100

#: Seconds that a page waits for a registry which somebody writes to.
_PATIENCE = 1.0

_DAY = 86_400.0


@dataclass(frozen=True)
class Pending:
    """One entry newer than the run's state. `may_hit` counts samples with one of its keys, None where not looked up.

    `kept` counts those of them that are in the shards now.
    """

    entry: int
    kind: str
    value: str
    created_at: str
    may_hit: int | None
    kept: int | None


@dataclass(frozen=True)
class RegistryFacts:
    """What was consulted, how long ago, and what came since. `problem` says why the registry itself was not asked.

    `state` is none (never consulted), fresh or old (by the recipe's `registry_max_age_days`). `newer` is None where
    the registry was not asked.
    """

    state: str
    seq: int
    hash: str
    at: str
    age_days: float
    allowed_days: float
    newer: int | None
    pending: list[Pending]
    problem: str


def registry_facts(opened: Opened, root: Path, now: datetime) -> RegistryFacts:
    """Return the state of a run's registry. One that lies outside `root`, or on a server, is not asked."""
    run = opened.run
    allowed = float(run.recipe.rights.registry_max_age_days)
    state = pinned(run)
    if state is None:
        return RegistryFacts("none", 0, "", "", 0.0, allowed, None, [], "No opt-out registry was consulted.")
    age = (now - state.at).total_seconds() / _DAY
    word = "old" if age > allowed else "fresh"
    newer, pending, problem = None, [], ""
    try:
        with _open(run.recipe.rights.registry, root) as registry:
            if not registry.holds(state):
                raise BadInput("the registry is not the one that this run was matched with, or was cut off since")
            last = registry.snapshot().seq
            newer = last - state.seq
            entries = list(registry.entries(state.seq, min(last, state.seq + _LISTED)))
        pending = [_pending(opened, entry) for entry in entries]
    except (AssayError, OSError) as error:
        problem = clean(str(error).replace(str(root), "RUNS"), 300)
        newer, pending = None, []
    shown = state.at.isoformat(timespec="seconds")
    return RegistryFacts(word, state.seq, clean(state.hash, 64), shown, age, allowed, newer, pending, problem)


def _open(url: str | None, root: Path) -> Registry:
    """Open the recipe's registry where it is a file below `root`. Raises `BadInput`: a run may name any place."""
    if url is None:
        raise BadInput("The recipe names no registry; assay check --registry asks one.")
    path = Path(url)
    if "://" in url or not within(path, root):
        raise BadInput("The registry lies outside the folder that is served; assay check asks it.")
    database = SqliteDatabase(path.resolve(), patience=_PATIENCE)
    try:
        if not database.exists():
            raise BadInput("The recipe's registry is no registry.")
        return Registry(url, database)
    except BaseException:
        database.close()
        raise


def _pending(opened: Opened, entry: Entry) -> Pending:
    value, at = clean(entry.value, 200), entry.created_at.isoformat(timespec="seconds")
    looked = entry.kind not in (Kind.PDQ, Kind.EMBEDDING) and bool(opened.run.parts("index"))
    if not looked:
        return Pending(entry.seq, entry.kind.value, value, at, None, None)
    rows = find_positions(opened.run, entry.keys).tolist()
    kept = opened.reader.rows(
        "SELECT count(*) FROM samples JOIN (SELECT unnest(?::BIGINT[]) AS place) ON rowid = place WHERE kept", [rows]
    )
    return Pending(entry.seq, entry.kind.value, value, at, len(rows), int(kept[0][0]))
