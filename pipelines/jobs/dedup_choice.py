"""Who stays of each duplicate cluster: what the recipe's order reads, and the evidence for each that goes.

`decide` chooses over the whole run, a retraction among a few rows; both by the functions here, so that they agree.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.duplicates import METHODS
from filters.duplicates_likeness import Likeness
from filters.duplicates_thinning import thin
from filters.errors import BadInput
from filters.reasons import Reason
from filters.rules import mask
from filters.selection import preference_key, representatives
from filters.semantic import usable
from pipelines.jobs.dedup import EDGES_FILE
from pipelines.jobs.dedup_columns import SAMPLE_COLUMNS, SCORE_COLUMNS, features_of, hashes_of, part_vectors
from pipelines.run.directory import Run
from pipelines.run.parts import read_table
from pipelines.run.recipe import Recipe

#: Columns that comparing pictures may need.
FEATURE_COLUMNS = (*SAMPLE_COLUMNS, *SCORE_COLUMNS)

#: Columns of samples and scores that a preference reads.
_READ = {
    "resolution": ("width", "height"),
    "similarity": ("similarity",),
    "aesthetic": ("aesthetic",),
    "licence": ("licence",),
    "date": ("fetched_at", "metadata"),
    "uid": ("uid",),
}

#: What a drop is called by the method that found it.
REASONS = {
    "sha256": Reason.EXACT_DUPLICATE,
    "pixels": Reason.EXACT_DUPLICATE,
    "phash": Reason.NEAR_DUPLICATE,
    "pdq": Reason.NEAR_DUPLICATE,
    "pdq_dihedral": Reason.NEAR_DUPLICATE,
    "embedding": Reason.SEMANTIC_DUPLICATE,
}

#: Every reason by which a sample is dropped for another one of its cluster.
DUPLICATE = mask(*set(REASONS.values()))

#: Reasons by which a maker has taken the picture out, so that its kept duplicates deserve a look.
OPTED = mask(Reason.OPTED_OUT, Reason.REGISTRY_OPT_OUT, Reason.LOOK_ALIKE)


@dataclass(frozen=True)
class Evidence:
    """Why each of n rows went: the row that stays for it (-1: none), method (place in `METHODS`, -1), distance."""

    stays: np.ndarray
    method: np.ndarray
    distance: np.ndarray

    @classmethod
    def none(cls, count: int) -> Evidence:
        """Return the evidence of rows that all stay."""
        return cls(np.full(count, -1, np.int64), np.full(count, -1, np.int8), np.zeros(count, np.float32))

    def set(self, rows: np.ndarray, stays: np.ndarray, method: np.ndarray | int, distance: np.ndarray | float) -> None:
        """Enter the evidence of some rows."""
        self.stays[rows], self.method[rows], self.distance[rows] = stays, method, distance

    def columns(self) -> tuple[pa.Array, pa.Array]:
        """Return the ledger's columns of method and distance."""
        none = self.method < 0
        codes = pa.array(np.where(none, 0, self.method).astype(np.int8), mask=none)
        # four decimals: the last bits of a cosine are the machine's, and the ledger's content must not be
        distance = pa.array(np.round(self.distance, 4), mask=none)
        return pa.DictionaryArray.from_arrays(codes, pa.array(METHODS)), distance


def choice_columns(recipe: Recipe) -> list[str]:
    """Return the columns of samples and scores that the choice between duplicates reads."""
    settings = recipe.duplicates
    if settings is None:
        return ["uid"]
    groups = [settings.representation] if settings.representation else []
    wanted = [*FEATURE_COLUMNS, *groups, *(column for name in settings.keep for column in _READ[name])]
    return list(dict.fromkeys(["uid", *wanted]))


def numbers(table: pa.Table, name: str) -> np.ndarray:
    """Return a column as float64 (n,), NaN where it is null or absent."""
    if name not in table.column_names:
        return np.full(table.num_rows, np.nan)
    values: np.ndarray = table.column(name).to_numpy()
    return values.astype(np.float64)


def preference_keys(recipe: Recipe, table: pa.Table) -> list[np.ndarray]:
    """Return the recipe's order of preference as sort keys (n,), smaller is better, NaN where a row has no value."""
    settings = recipe.duplicates
    names = settings.keep if settings else []
    columns: dict[str, np.ndarray] = {
        name: numbers(table, name) for name in ("width", "height", "similarity", "aesthetic")
    }
    columns["uid"] = np.array(table.column("uid").to_pylist(), dtype=str)
    if "licence" in names:
        columns["licence"] = _licence_ranks(table, recipe.licences.allow if recipe.licences else [])
    if "date" in names:
        columns["date"] = _days(table)
    return [preference_key(name, columns) for name in names]


def _licence_ranks(table: pa.Table, allowed: Sequence[str]) -> np.ndarray:
    """Return the place of each licence among the allowed ones; others after them, none last."""
    places = {licence: float(place) for place, licence in enumerate(allowed)}
    stated = table.column("licence").to_pylist() if "licence" in table.column_names else [None] * table.num_rows
    return np.array([places.get(licence, float(len(places))) if licence else np.nan for licence in stated])


def _days(table: pa.Table) -> np.ndarray:
    """Return when each picture was made (the input's `date`, year first), else was fetched: days since 1970."""
    fetched = table.column("fetched_at").to_pylist() if "fetched_at" in table.column_names else [None] * table.num_rows
    texts = table.column("metadata").to_pylist() if "metadata" in table.column_names else [None] * table.num_rows
    days = [_day(text) for text in texts]
    return np.array(
        [
            day if day is not None else found.timestamp() / 86400 if found else np.nan
            for day, found in zip(days, fetched, strict=True)
        ]
    )


def _day(metadata: str | None) -> float | None:
    try:
        body = json.loads(metadata) if metadata else None
        date = body.get("date") if isinstance(body, dict) else None
        return (
            float(np.datetime64(date[:10], "D").astype(np.int64))
            if isinstance(date, str) and date[:4].isdigit()
            else None
        )
    except ValueError:
        return None


def likeness_of(table: pa.Table, recipe: Recipe, vectors: np.ndarray | None) -> Likeness:
    """Return the comparison of a table's rows by the recipe's bounds; `vectors` (n, d) where a cosine is asked for."""
    assert recipe.duplicates is not None
    bounds = recipe.duplicates.bounds()
    return Likeness(features_of(hashes_of(table), vectors, bounds), bounds)


def likeness_of_run(run: Run, table: pa.Table) -> Likeness:
    """Return the comparison of all rows of a run. Of the embeddings, only those in semantic pairs are read."""
    likeness = likeness_of(table, run.recipe, None)
    if likeness.bounds.cosine is None:
        return likeness
    edges = read_table(run.store, EDGES_FILE)
    edges = edges.filter(pc.equal(edges.column("method").cast(pa.string()), "embedding"))
    wanted = np.zeros(table.num_rows, dtype=bool)
    for side in ("a", "b"):
        wanted[edges.column(side).to_numpy()] = True
    vectors, vector = vectors_at(run, wanted)
    old = likeness.features
    return Likeness(replace(old, vectors=vectors, vector=vector), likeness.bounds)


def vectors_at(run: Run, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the picture embeddings of the wanted rows (n,) of a run, float16 (m, d), and each row's place there.

    The place is -1 for rows that are not wanted or have no usable embedding.
    """
    found, places, start, count = [], np.full(len(wanted), -1, dtype=np.int64), 0, 0
    for index in run.parts("scores"):
        rows = np.flatnonzero(wanted[start : start + run.marker("scores", index).rows])
        vectors = part_vectors(run, index) if len(rows) else None
        if vectors is not None:
            rows = rows[usable(vectors[rows])]
            found.append(vectors[rows])
            places[start + rows] = np.arange(count, count + len(rows))
            count += len(rows)
        start += run.marker("scores", index).rows
    return np.concatenate(found) if found else np.zeros((0, 1), np.float16), places


def group_column(recipe: Recipe, table: pa.Table) -> np.ndarray | None:
    """Return the groups (n,) of `duplicates.representation`, "" for none. Raises `BadInput` for an unknown column."""
    name = recipe.duplicates.representation if recipe.duplicates else None
    if name is None:
        return None
    if name not in table.column_names:
        raise BadInput(f"duplicates.representation: samples and scores have no column {name!r}")
    values = [_as_text(value) for value in table.column(name).to_pylist()]
    return np.array(values, dtype=object)


def _as_text(value: object) -> str:
    return "" if value is None or value != value else str(value)


def choose(
    recipe: Recipe, table: pa.Table, clusters: np.ndarray, alive: np.ndarray, likeness: Likeness
) -> tuple[Evidence, np.ndarray]:
    """Choose who stays of each cluster; return the evidence for who goes, and its reason masks (n,)."""
    keys = preference_keys(recipe, table)
    stays = representatives(clusters, alive, keys, likeness.near, group_column(recipe, table))
    rows = np.flatnonzero((stays >= 0) & (stays != np.arange(len(stays))))
    evidence, masks = Evidence.none(len(stays)), np.zeros(len(stays), dtype=np.uint64)
    method, distance = likeness.explain(rows, stays[rows])
    evidence.set(rows, stays[rows], method, distance)
    reasons = np.array([mask(REASONS[name]) for name in METHODS], dtype=np.uint64)
    masks[rows] = reasons[method]
    return evidence, masks


def thinned(run: Run, table: pa.Table, alive: np.ndarray, evidence: Evidence) -> np.ndarray:
    """Thin the living rows as the recipe says; return those that go (n,) bool, and enter their evidence."""
    gone = np.zeros(len(alive), dtype=bool)
    settings = run.recipe.duplicates.thin if run.recipe.duplicates else None
    if settings is None:
        return gone
    keys = preference_keys(run.recipe, table)
    living = np.flatnonzero(alive)
    ranked = living[np.lexsort([living, *(key[living] for key in reversed(keys))])]
    vectors, place = vectors_at(run, alive)
    ranked = ranked[place[ranked] >= 0]
    surplus = None if settings.target is None else max(0, settings.target - (len(living) - len(ranked)))
    found = thin(vectors[place[ranked]], settings.epsilon, surplus)
    rows = np.flatnonzero(found.gone)
    gone[ranked[rows]] = True
    evidence.set(ranked[rows], ranked[found.stays[rows]], METHODS.index("embedding"), found.distance[rows])
    return gone


def alike_opt_outs(clusters: np.ndarray, masks: np.ndarray, likeness: Likeness) -> np.ndarray:
    """Return for each kept row (n,) int64 the first opted-out row that it is a duplicate of; -1 for none."""
    found = np.full(len(masks), -1, dtype=np.int64)
    opted = np.flatnonzero(((masks & OPTED) != 0) & (clusters >= 0))
    kept = np.flatnonzero((masks == 0) & (clusters >= 0))
    kept = kept[np.argsort(clusters[kept], kind="stable")]
    ranked = clusters[kept]
    for row in opted:
        begin, end = np.searchsorted(ranked, [clusters[row], clusters[row] + 1])
        some = kept[begin:end]
        near = some[likeness.near(int(row), some)] if len(some) else some
        found[near[found[near] < 0]] = row
    return found
