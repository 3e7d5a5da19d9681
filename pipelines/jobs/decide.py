"""Decide: pure rules over stored columns, then one of each duplicate, then caps; the ledger is the result.

No model runs and no picture is read. The per-row part works on one part at a time; the choice between
samples works on a few small columns of the survivors, on the driver.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil, floor, isfinite

import numpy as np
import pyarrow as pa

from filters.errors import BadInput
from filters.reasons import Reason, Stage
from filters.registry import COSTLY
from filters.rules import (
    MATCH_PROBABILITY,
    RULES,
    AnyRule,
    Rule,
    explain,
    judge,
    mask,
    masks_of_codes,
    needed_columns,
    primary_codes,
    reason_lists,
)
from filters.selection import over_cap, preference_key, repeated, representatives
from pipelines.jobs.calibrate import load_calibration
from pipelines.jobs.dedup import CLUSTERS_FILE
from pipelines.jobs.rights import rights_part, rights_state
from pipelines.run.directory import Run
from pipelines.run.parts import Marker, PartWriter, fingerprint, finished, part_name, read_marker, read_table
from pipelines.run.recipe import Duplicates
from pipelines.run.schema import LEDGER

VERSION = "3"

#: Columns that a cascade may leave null.
COSTLY_COLUMNS = frozenset(rule.column for rule in RULES.values() if rule.scorer in COSTLY)

#: Columns of samples and scores that choosing between samples may need.
_CHOICE = ["uid", "sha256", "phash", "width", "height", "similarity"]


@dataclass
class _Columns:
    """The run's small columns, all parts in order."""

    rows: list[int]
    masks: np.ndarray
    table: pa.Table
    groups: np.ndarray
    clusters: np.ndarray
    duplicate_of: np.ndarray


def decide(run: Run) -> list[Marker]:
    """Write all `ledger` parts; returns their markers. Raises `BadInput` where scores are missing."""
    parts = run.parts("scores")
    if not parts or parts != run.parts("samples"):
        raise BadInput(f"{run.store.url}: not every part is scored; run assay score first")
    wanted = decide_fingerprint(run)
    done = [finished(run.store, part_name("ledger", i, ""), wanted) for i in parts]
    markers = [marker for marker in done if marker]
    if len(markers) == len(parts):
        return markers
    rules = resolved_rules(run)
    columns = _judged(run, parts, rules)
    _drop_duplicates(run, columns)
    _drop_over_cap(run, columns)
    return _write(run, parts, columns, wanted, rules)


def decide_fingerprint(run: Run) -> str:
    """Return what the ledger depends on: the scores, the clusters and the recipe's decisions."""
    sections = {"rules", "rights", "licences", "languages", "duplicates", "balance", "shards"}
    recipe = run.recipe.model_dump(mode="json", include=sections)
    duplicates = read_marker(run.store, "duplicates/all")
    if duplicates is None:
        raise BadInput(f"{run.store.url}: no duplicates part; run assay dedup first")
    return fingerprint("decide", VERSION, recipe, duplicates.fingerprint, scores_state(run), rights_state(run))


def scores_state(run: Run) -> list[str]:
    """Return what the scores parts hold, as hashes: a part that was completed later is another one."""
    files = (run.marker("scores", i).files for i in run.parts("scores"))
    return [found[part_name("scores", i)].sha256 for i, found in zip(run.parts("scores"), files, strict=True)]


def resolved_rules(run: Run) -> list[AnyRule]:
    """Return the recipe's rules; fractions and match probabilities become the bounds that the run's scores give."""
    rules: list[AnyRule] = []
    for rule in run.recipe.filter_rules():
        if isinstance(rule, Rule) and rule.column == MATCH_PROBABILITY:
            rule = _calibrated(run, rule)
        if isinstance(rule, Rule) and rule.keep_top is not None:
            found = [joined(run, i, [rule.column]) for i in run.parts("scores")]
            values = [t.column(rule.column).to_numpy() for t in found if rule.column in t.column_names]
            scores = np.concatenate(values).astype(np.float64) if values else np.empty(0)
            rule = rule.resolve(scores)
        rules.append(rule)
    return rules


def _calibrated(run: Run, rule: Rule) -> Rule:
    """Turn bounds on the match probability into bounds on the similarity, rounded outward to six decimals."""
    calibration = load_calibration(run.store)
    if calibration is None:
        raise BadInput(f"{run.store.url}: no calibration for rules.{rule.name}; run assay score first")
    low = calibration.bound(rule.low) if isfinite(rule.low) else rule.low
    high = calibration.bound(rule.high) if isfinite(rule.high) else rule.high
    low = floor(low * 1e6) / 1e6 if isfinite(low) else low
    high = ceil(high * 1e6) / 1e6 if isfinite(high) else high
    return replace(rule, column="similarity", low=low, high=high)


def joined(run: Run, index: int, columns: list[str]) -> pa.Table:
    """Return one part's samples and scores side by side: `columns`, and one `failure` column of both."""
    samples = run.table("samples", index, ["uid", "failure", *columns])
    scores = run.table("scores", index, ["uid", "failure", "skipped", *columns])
    if not samples.column("uid").equals(scores.column("uid")):
        raise BadInput(f"{run.store.url}: samples and scores part {index} do not belong together; run assay score")
    first = masks_of_codes(samples.column("failure"))
    failures = np.where(first != 0, first, masks_of_codes(scores.column("failure")))
    table = samples.drop_columns(["failure"]).append_column("failure", primary_codes(failures))
    for name in scores.column_names:
        if name not in table.column_names:
            table = table.append_column(scores.schema.field(name), scores.column(name))
    return table


def _judged(run: Run, parts: list[int], rules: list[AnyRule]) -> _Columns:
    by = run.recipe.balance.by if run.recipe.balance else None
    wanted = sorted({*needed_columns(rules), *_CHOICE, *([by] if by else [])} - {"uid"})
    tables, masks = [], []
    undecided = 0
    for index in parts:
        table = joined(run, index, wanted)
        failures = masks_of_codes(table.column("failure"))
        rights = rights_part(run, index, table.column("uid").combine_chunks())
        judged = judge_scored(rules, table) | rights
        undecided += int(((judged == 0) & (failures == 0) & lacking(rules, table)).sum())
        masks.append(np.where(failures != 0, failures | _rights(rules, table, failures, rights), judged))
        tables.append(table.select([n for n in table.column_names if n in {*_CHOICE, by}]))
    if undecided:
        raise BadInput(
            f"{run.store.url}: {undecided} samples need scores that the cascade spared them; "
            f"run assay score {run.store.url} --missing, which scores just those, then assay decide {run.store.url}"
        )
    table = pa.concat_tables(tables)
    groups = np.array(table.column(by).to_pylist() if by else [None] * table.num_rows, dtype=object)
    clusters = np.full(table.num_rows, -1, dtype=np.int64)
    found = read_table(run.store, CLUSTERS_FILE, ["position", "cluster"])
    clusters[found.column("position").to_numpy()] = found.column("cluster").to_numpy()
    nobody = np.full(table.num_rows, -1, dtype=np.int64)
    return _Columns([t.num_rows for t in tables], np.concatenate(masks), table, groups, clusters, nobody)


def judge_scored(rules: list[AnyRule], table: pa.Table) -> np.ndarray:
    """Judge rows by all rules; a score that the cascade spared a row speaks neither for nor against it."""
    masks = judge([rule for rule in rules if rule.column not in COSTLY_COLUMNS], table)
    skipped = ~table.column("skipped").combine_chunks().is_null().to_numpy(zero_copy_only=False)
    for rule in rules:
        if rule.column in COSTLY_COLUMNS:
            found = judge([rule], table)
            masks |= np.where(skipped & (found == mask(Reason.SCORE_MISSING)), np.uint64(0), found)
    return masks


def lacking(rules: list[AnyRule], table: pa.Table) -> np.ndarray:
    """Return (n,) bool: rows that were spared a score that a rule reads."""
    skipped = ~table.column("skipped").combine_chunks().is_null().to_numpy(zero_copy_only=False)
    missing = np.zeros(table.num_rows, dtype=bool)
    for rule in rules:
        if rule.column in COSTLY_COLUMNS and rule.column in table.column_names:
            missing |= table.column(rule.column).combine_chunks().is_null().to_numpy(zero_copy_only=False)
    found: np.ndarray = skipped & missing
    return found


def _rights(rules: list[AnyRule], table: pa.Table, failures: np.ndarray, rights: np.ndarray) -> np.ndarray:
    """Judge samples without scores by their signals and matches and by the rules on their rights alone.

    What their missing scores would fail says nothing; and of a record that could not be read at all, nothing
    is known, so no rights are held against it either.
    """
    masks = rights | judge([rule for rule in rules if rule.reason.stage is Stage.RIGHTS], table)
    readable = (failures & mask(*(r for r in Reason if r.stage is Stage.INGEST))) == 0
    found: np.ndarray = np.where(readable, masks, np.uint64(0))
    return found


def _drop_duplicates(run: Run, columns: _Columns) -> None:
    """Keep one row of each uid, then one of each cluster, among the rows that no rule has dropped."""
    uids = np.array(columns.table.column("uid").to_pylist())
    here = np.arange(len(uids))
    first = repeated(uids, columns.masks == 0)
    _mark(columns, first, first != here, mask(Reason.SAME_SAMPLE))
    settings = run.recipe.duplicates
    if settings is None:
        return
    values = {name: numbers(columns.table, name) for name in ("width", "height", "similarity")}
    keys = [preference_key(name, {**values, "uid": uids}) for name in settings.keep]
    hashes = np.array(columns.table.column("sha256").to_pylist(), dtype=object)
    stays = representatives(columns.clusters, columns.masks == 0, keys, nearness(columns.table, hashes, settings))
    loses = (stays >= 0) & (stays != here)
    exact = loses & (hashes == hashes[np.where(loses, stays, 0)])
    _mark(columns, stays, exact, mask(Reason.EXACT_DUPLICATE))
    _mark(columns, stays, loses & ~exact, mask(Reason.NEAR_DUPLICATE))


def nearness(table: pa.Table, hashes: np.ndarray, settings: Duplicates) -> Callable[[int, np.ndarray], np.ndarray]:
    """Return the test whether rows are duplicates of one row, by equal bytes or by bits of the pHash."""
    found = table.column("phash").to_pylist() if "phash" in table.column_names else [None] * table.num_rows
    codes = np.array([code or 0 for code in found], dtype=np.uint64)
    coded = np.array([code is not None for code in found], dtype=bool)
    radius = settings.phash_distance

    def near(row: int, others: np.ndarray) -> np.ndarray:
        same: np.ndarray = (hashes[others] == hashes[row]) & settings.exact
        if radius is not None and coded[row]:
            same |= coded[others] & (np.bitwise_count(codes[others] ^ codes[row]) <= radius)
        return same

    return near


def _mark(columns: _Columns, stays: np.ndarray, rows: np.ndarray, reason: np.uint64) -> None:
    columns.masks[rows] |= reason
    columns.duplicate_of[rows] = stays[rows]


def _drop_over_cap(run: Run, columns: _Columns) -> None:
    if run.recipe.balance:
        uids = np.array(columns.table.column("uid").to_pylist())
        balance = run.recipe.balance
        over = over_cap(columns.groups, uids, columns.masks == 0, balance.cap, balance.seed)
        columns.masks[over] |= mask(Reason.BALANCE_CAP)


def numbers(table: pa.Table, name: str) -> np.ndarray:
    """Return a column as float64 (n,), NaN where it is null or absent."""
    if name not in table.column_names:
        return np.full(table.num_rows, np.nan)
    values: np.ndarray = table.column(name).to_numpy()
    return values.astype(np.float64)


def _write(run: Run, parts: list[int], columns: _Columns, wanted: str, rules: list[AnyRule]) -> list[Marker]:
    shards = planned_shards(columns.masks == 0, run.recipe.shards.samples)
    whole = ledger_table(columns.table, columns.masks, columns.clusters, columns.duplicate_of, columns.groups, shards)
    markers, start = [], 0
    described = [explain(rule) for rule in rules]
    for index, rows in zip(parts, columns.rows, strict=True):
        table = whole.slice(start, rows)
        start += rows
        writer = PartWriter(run.store, part_name("ledger", index, ""), wanted)
        writer.add_table(part_name("ledger", index), table)
        kept = int((columns.masks[start - rows : start] == 0).sum())
        markers.append(writer.commit(rows, {"kept": kept, "rules": described, "content": content_digest(table)}))
    return markers


def planned_shards(kept: np.ndarray, size: int) -> np.ndarray:
    """Return the output shard (n,) of each kept sample: filled in the order of the run, `size` samples each."""
    shards: np.ndarray = (np.cumsum(kept) - 1) // size
    return shards


def content_digest(ledger: pa.Table) -> str:
    """Return a SHA-256 over the ledger's rows, independent of how parquet lays them out."""
    digest = hashlib.sha256()
    for name in ledger.column_names:
        column = ledger.column(name).combine_chunks()
        if pa.types.is_list(column.type):
            values: list[object] = [",".join(codes) for codes in column.to_pylist()]
        else:
            values = column.to_pylist()
        digest.update(json.dumps([name, values]).encode())
    return digest.hexdigest()


def ledger_table(
    samples: pa.Table,
    masks: np.ndarray,
    clusters: np.ndarray,
    duplicate_of: np.ndarray,
    groups: np.ndarray,
    shards: np.ndarray,
) -> pa.Table:
    """Build the ledger's columns from reason masks (n,) and the choices between samples."""
    kept = masks == 0
    uids = samples.column("uid").combine_chunks()
    decision = pa.DictionaryArray.from_arrays(
        pa.array(np.where(kept, 0, 1).astype(np.int8)), pa.array(["kept", "dropped"])
    )
    arrays = [
        uids,
        decision,
        primary_codes(masks),
        reason_lists(masks),
        pa.array(np.ones(len(masks), dtype=np.float32), mask=~kept),
        pa.array(clusters, mask=clusters < 0),
        uids.take(pa.array(duplicate_of, mask=duplicate_of < 0)),
        pa.array(groups.tolist(), pa.string()),
        pa.array(shards, pa.int32(), mask=~kept),
    ]
    return pa.Table.from_arrays(arrays, schema=LEDGER)
