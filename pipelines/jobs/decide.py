"""Decide: pure rules over stored columns, then one of each duplicate, then caps; the ledger is the result.

No model runs and no picture is read. The per-row part works on one part at a time; the choice between
samples works on a few small columns of the survivors, on the driver.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import partial
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
    judge,
    mask,
    masks_of_codes,
    needed_columns,
    primary_codes,
    reason_lists,
)
from filters.selection import repeated
from pipelines.jobs.calibrate import load_calibration
from pipelines.jobs.decide_balance import Balanced, balance_samples, stated, write_statement
from pipelines.jobs.decide_groups import (
    Exceptions,
    exceptions,
    explained,
    group_table,
    groups_state,
    judge_by_group,
    read_groups,
)
from pipelines.jobs.dedup import CLUSTERS_FILE, DUPLICATES, dedup_fingerprint
from pipelines.jobs.dedup_against import CONTAMINATION_FILE
from pipelines.jobs.dedup_choice import Evidence, alike_opt_outs, choice_columns, choose, likeness_of_run, thinned
from pipelines.jobs.rights import require_matched, rights_part, rights_state, unseen
from pipelines.run.directory import Run
from pipelines.run.parts import Marker, PartWriter, fingerprint, finished, part_name, read_marker, read_table
from pipelines.run.schema import LEDGER

VERSION = "5"

#: Columns that a cascade may leave null.
COSTLY_COLUMNS = frozenset(rule.column for rule in RULES.values() if rule.scorer in COSTLY)


@dataclass
class _Columns:
    """The run's small columns, all parts in order."""

    rows: list[int]
    masks: np.ndarray
    table: pa.Table
    groups: np.ndarray
    clusters: np.ndarray
    evidence: Evidence
    alike: np.ndarray


def decide(run: Run) -> list[Marker]:
    """Write all `ledger` parts; returns their markers. Raises `BadInput` where scores are missing."""
    parts = run.parts("scores")
    if not parts or parts != run.parts("samples"):
        raise BadInput(f"{run.store.url}: not every part is scored; run assay score first")
    require_matched(run)
    wanted = decide_fingerprint(run)
    done = [finished(run.store, part_name("ledger", i, ""), wanted) for i in parts]
    markers = [marker for marker in done if marker]
    if len(markers) == len(parts) and stated(run, wanted):
        return markers
    rules = resolved_rules(run)
    others = exceptions(run.recipe, lambda rule: _calibrated(run, rule) if rule.column == MATCH_PROBABILITY else rule)
    columns = _judged(run, parts, rules, others)
    _drop_duplicates(run, columns)
    balanced = _balanced(run, columns)
    markers = _write(run, parts, columns, balanced, wanted, [explained(rule, others) for rule in rules])
    write_statement(run, balanced.statement, wanted)
    return markers


def decide_fingerprint(run: Run) -> str:
    """Return what the ledger depends on: the scores, the clusters and the recipe's decisions."""
    sections = {"rules", "rights", "licences", "languages", "duplicates", "balance", "shards"}
    recipe = run.recipe.model_dump(mode="json", include=sections)
    duplicates = read_marker(run.store, DUPLICATES)
    if duplicates is None:
        raise BadInput(f"{run.store.url}: no duplicates part; run assay dedup first")
    if duplicates.fingerprint != dedup_fingerprint(run, run.parts("scores")):
        raise BadInput(
            f"{run.store.url}: the duplicates were found among other scores; "
            f"run assay dedup {run.store.url}, then assay decide {run.store.url}"
        )
    states = (scores_state(run), rights_state(run), groups_state(run))
    # fractions of these once kept the largest values; what was decided so is decided anew
    turned = (name for name, bounds in run.recipe.rules.items() if bounds.keep_top and RULES[name].less_is_better)
    return fingerprint("decide", VERSION, recipe, duplicates.fingerprint, *states, *turned)


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


def _judged(run: Run, parts: list[int], rules: list[AnyRule], others: Exceptions) -> _Columns:
    by = run.recipe.balance.by if run.recipe.balance and run.recipe.balance.cap else None
    named = sorted({group for found in others.values() for group, _, _ in found})
    choice = choice_columns(run.recipe)
    wanted = sorted({*needed_columns(rules), *choice, *([by] if by else [])} - {"uid"})
    tables, masks = [], []
    undecided = 0
    for index in parts:
        table = joined(run, index, wanted)
        failures = masks_of_codes(table.column("failure"))
        rights = rights_part(run, index, table.column("uid").combine_chunks())
        groups = group_table(run, index, named) if named else None
        judged = judge_by_group(partial(judge_scored, table=table), rules, others, groups) | rights
        undecided += int(spared(run, index, rules, table, (judged == 0) & (failures == 0)).sum())
        masks.append(np.where(failures != 0, failures | _rights(rules, table, failures, rights), judged))
        tables.append(table.select([n for n in table.column_names if n in {*choice, by}]))
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
    evidence, nobody = Evidence.none(table.num_rows), np.full(table.num_rows, -1, dtype=np.int64)
    return _Columns([t.num_rows for t in tables], np.concatenate(masks), table, groups, clusters, evidence, nobody)


def judge_scored(rules: list[AnyRule], table: pa.Table) -> np.ndarray:
    """Judge rows by all rules; a score that the cascade spared a row speaks neither for nor against it."""
    masks = judge([rule for rule in rules if rule.column not in COSTLY_COLUMNS], table)
    skipped = _skipped(table)
    for rule in rules:
        if rule.column in COSTLY_COLUMNS:
            found = judge([rule], table)
            masks |= np.where(skipped & (found == mask(Reason.SCORE_MISSING)), np.uint64(0), found)
    return masks


def spared(run: Run, index: int, rules: list[AnyRule], table: pa.Table, alive: np.ndarray) -> np.ndarray:
    """Return (n,) bool: rows of the part still `alive` that were spared what a rule, or the registry, must look at."""
    found: np.ndarray = (alive & lacking(rules, table)) | unseen(run, index, alive & _skipped(table))
    return found


def _skipped(table: pa.Table) -> np.ndarray:
    found: np.ndarray = ~table.column("skipped").combine_chunks().is_null().to_numpy(zero_copy_only=False)
    return found


def lacking(rules: list[AnyRule], table: pa.Table) -> np.ndarray:
    """Return (n,) bool: rows that were spared a score that a rule reads."""
    skipped = _skipped(table)
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
    """Drop what is in other sets; keep one row of each uid, then one of each cluster, then thin what is left.

    Only rows that no rule has dropped are kept for others: a picture that opted out never stands for its duplicates.
    """
    settings = run.recipe.duplicates
    if settings and settings.against:
        found = read_table(run.store, CONTAMINATION_FILE, ["position"]).column("position").to_numpy()
        columns.masks[found] |= mask(Reason.CONTAMINATED)
    uids = np.array(columns.table.column("uid").to_pylist())
    first = repeated(uids, columns.masks == 0)
    again = np.flatnonzero(first != np.arange(len(uids)))
    columns.masks[again] |= mask(Reason.SAME_SAMPLE)
    columns.evidence.stays[again] = first[again]
    if settings is None:
        return
    likeness = likeness_of_run(run, columns.table)
    evidence, masks = choose(run.recipe, columns.table, columns.clusters, columns.masks == 0, likeness)
    rows = np.flatnonzero(masks)
    columns.masks |= masks
    columns.evidence.set(rows, evidence.stays[rows], evidence.method[rows], evidence.distance[rows])
    gone = thinned(run, columns.table, columns.masks == 0, columns.evidence)
    columns.masks[gone] |= mask(Reason.THINNED)
    columns.alike = alike_opt_outs(columns.clusters, columns.masks, likeness)


def _balanced(run: Run, columns: _Columns) -> Balanced:
    balance = run.recipe.balance
    groups = read_groups(run, sorted({*balance.dividing(), *balance.overlapping()})) if balance else {}
    found = balance_samples(run.recipe, columns.table.column("uid"), columns.groups, columns.masks, groups)
    columns.masks = found.masks
    return found


def _write(
    run: Run, parts: list[int], columns: _Columns, balanced: Balanced, wanted: str, rules: list[dict[str, object]]
) -> list[Marker]:
    shards = planned_shards(columns.masks == 0, run.recipe.shards.samples)
    alike = np.where(columns.masks == 0, columns.alike, -1)
    whole = ledger_table(
        columns.table,
        columns.masks,
        columns.clusters,
        columns.evidence,
        alike,
        columns.groups,
        shards,
        balanced.weights,
    )
    markers, start = [], 0
    for index, rows in zip(parts, columns.rows, strict=True):
        table = whole.slice(start, rows)
        start += rows
        writer = PartWriter(run.store, part_name("ledger", index, ""), wanted)
        writer.add_table(part_name("ledger", index), table)
        kept = int((columns.masks[start - rows : start] == 0).sum())
        markers.append(writer.commit(rows, {"kept": kept, "rules": rules, "content": content_digest(table)}))
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
    evidence: Evidence,
    alike: np.ndarray,
    groups: np.ndarray,
    shards: np.ndarray,
    weights: np.ndarray | None = None,
) -> pa.Table:
    """Build the ledger from reason masks (n,) and the choices between samples; without weights, all are 1."""
    kept = masks == 0
    weights = np.ones(len(masks)) if weights is None else weights
    uids = samples.column("uid").combine_chunks()
    decision = pa.DictionaryArray.from_arrays(
        pa.array(np.where(kept, 0, 1).astype(np.int8)), pa.array(["kept", "dropped"])
    )
    arrays = [
        uids,
        decision,
        primary_codes(masks),
        reason_lists(masks),
        pa.array(weights.astype(np.float32), mask=~kept),
        pa.array(clusters, mask=clusters < 0),
        uids.take(pa.array(evidence.stays, mask=evidence.stays < 0)),
        *evidence.columns(),
        uids.take(pa.array(alike, mask=alike < 0)),
        pa.array(groups.tolist(), pa.string()),
        pa.array(shards, pa.int32(), mask=~kept),
    ]
    return pa.Table.from_arrays(arrays, schema=LEDGER)
