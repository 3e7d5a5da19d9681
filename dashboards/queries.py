"""What the report asks of a run: pure functions over its parquet, one part in memory at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dashboards.histograms import Histogram, Spread, make_axis
from filters.errors import BadInput
from filters.reasons import Reason, Stage
from filters.rules import RULES, mask, masks_of_codes
from pipelines.jobs.decide import joined
from pipelines.run.directory import Run

_LEDGER = ["uid", "decision", "primary_reason", "reasons", "cluster", "duplicate_of", "group"]


@dataclass(frozen=True)
class AppliedRule:
    """A rule as the ledger was judged by it: bounds resolved, or a list of allowed values."""

    name: str
    column: str
    reason: Reason
    low: float = -inf
    high: float = inf
    keep_top: float | None = None
    allow: tuple[str, ...] | None = None
    missing: str | None = None

    @property
    def unit(self) -> str:
        """What the column holds, in words."""
        return RULES[self.name].unit if self.name in RULES else self.column

    @property
    def sides(self) -> list[tuple[str, float]]:
        """The finite bounds by side."""
        return [(s, b) for s, b in (("low", self.low), ("high", self.high)) if abs(b) != inf]


@dataclass(frozen=True)
class Column:
    """A numeric score column, with what its field's metadata tells."""

    name: str
    scorer: str
    doc: str
    integer: bool


@dataclass(frozen=True)
class View:
    """One part, its columns aligned. `values` are float64, NaN where there is no score.

    `failures`: masks of why a sample could not be read, 0 where it could.
    `tickets`: (n,) in [0, 1), from the uid; as good as random with respect to content, and always the same.
    """

    part: int
    rows: pa.Table
    ledger: pa.Table
    failures: np.ndarray
    masks: np.ndarray
    primary: np.ndarray
    kept: np.ndarray
    tickets: np.ndarray

    def values(self, column: str) -> np.ndarray:
        """Return a numeric column (n,)."""
        if column not in self.rows.column_names:
            return np.full(self.rows.num_rows, np.nan)
        return np.asarray(self.rows.column(column).cast(pa.float64()).to_numpy(), dtype=np.float64)

    def has(self, reason: Reason) -> np.ndarray:
        """Return (n,) bool: samples to which the reason applies, primary or not."""
        return np.asarray((self.masks & mask(reason)) != 0, dtype=bool)


@dataclass
class Survey:
    """Counts over the whole run beside the funnel's."""

    with_reason: Counter[str] = field(default_factory=Counter)
    alone: Counter[str] = field(default_factory=Counter)
    capped: Counter[str] = field(default_factory=Counter)
    outside: Counter[tuple[str, str]] = field(default_factory=Counter)
    readable: int = 0
    histograms: dict[str, Histogram] = field(default_factory=dict)

    def add(self, view: View, rules: list[AppliedRule]) -> None:
        """Take in one part."""
        readable = view.failures == 0
        self.readable += int(readable.sum())
        for reason in Reason:
            has = view.has(reason)
            if has.any():
                self.with_reason[reason.value] += int(has.sum())
                self.alone[reason.value] += int((view.masks == mask(reason)).sum())
        for name, histogram in self.histograms.items():
            values = view.values(name)
            usable = np.isfinite(values) & readable
            histogram.add(values[usable], view.kept[usable])
        for rule in rules:
            self._add_rule(view, rule)
        self.capped.update(_capped_groups(view))

    def _add_rule(self, view: View, rule: AppliedRule) -> None:
        judged = _judged_by(view, rule)
        if rule.allow is not None:
            self.outside[rule.name, "list"] += int(not_listed(view, rule)[judged].sum())
            self.outside[rule.name, "missing"] += int((~_stated(view, rule))[judged].sum())
            return
        values = view.values(rule.column)[judged]
        self.outside[rule.name, "low"] += int((values < rule.low).sum())
        self.outside[rule.name, "high"] += int((values > rule.high).sum())
        self.outside[rule.name, "missing"] += int(np.isnan(values).sum())


def applied_rules(run: Run) -> list[AppliedRule]:
    """Return the rules that the ledger's markers name, with the recipe's `keep_top` beside its bound."""
    rules = []
    for described in run.marker("ledger", run.parts("ledger")[0]).facts["rules"]:
        allow = described.get("allow")
        bounds = run.recipe.rules.get(described["name"]) if allow is None else None
        keep_top = bounds.keep_top if bounds else None
        # `explain` leaves out infinite bounds; a resolved keep_top without one let nothing pass
        low = described.get("low", inf if keep_top is not None else -inf)
        rules.append(
            AppliedRule(
                described["name"],
                described["column"],
                Reason[described["reason"]],
                low,
                described.get("high", inf),
                keep_top,
                tuple(allow) if allow is not None else None,
                described.get("missing"),
            )
        )
    return rules


def score_columns(run: Run) -> list[Column]:
    """Return the numeric score columns in the order of the scores parts. 64-bit hashes are no scores."""
    columns = []
    for item in run.table("scores", run.parts("scores")[0]).schema:
        integer = pa.types.is_integer(item.type) and not pa.types.is_uint64(item.type)
        if not (integer or pa.types.is_floating(item.type)):
            continue
        facts = {key.decode(): value.decode() for key, value in (item.metadata or {}).items()}
        columns.append(Column(item.name, facts.get("scorer", ""), facts.get("doc", ""), integer))
    return columns


def views(run: Run, columns: list[str]) -> Iterator[View]:
    """Yield the run's parts one by one. Raises `BadInput` where ledger and samples do not belong together."""
    for part in run.parts("ledger"):
        rows = joined(run, part, columns)
        ledger = run.table("ledger", part, _LEDGER)
        uids = rows.column("uid")
        if not uids.equals(ledger.column("uid")):
            raise BadInput(f"{run.store.url}: samples and ledger part {part} do not belong together; run assay decide")
        kept = pc.equal(ledger.column("decision").cast(pa.string()), "kept").to_numpy()
        tickets = np.array([int(uid[:13], 16) for uid in uids.to_pylist()], dtype=np.float64) / 16**13
        primary = masks_of_codes(ledger.column("primary_reason"))
        failures, masks = masks_of_codes(rows.column("failure")), _reason_masks(ledger.column("reasons"))
        yield View(part, rows, ledger, failures, masks, primary, kept, tickets)


def _reason_masks(column: pa.ChunkedArray) -> np.ndarray:
    lists = column.combine_chunks()
    masks = np.zeros(len(lists), dtype=np.uint64)
    if len(lists):
        np.bitwise_or.at(masks, pc.list_parent_indices(lists).to_numpy(), masks_of_codes(pc.list_flatten(lists)))
    return masks


def _capped_groups(view: View) -> Counter[str]:
    over = view.ledger.column("group").filter(pa.array(view.has(Reason.BALANCE_CAP)))
    found = pc.value_counts(over.combine_chunks()).to_pylist()
    return Counter({item["values"]: item["counts"] for item in found if item["values"]})


def _judged_by(view: View, rule: AppliedRule) -> np.ndarray:
    """Return (n,) bool: samples that the rule can judge. Rights are known of unreadable pictures too."""
    if rule.reason.stage is not Stage.RIGHTS:
        return np.asarray(view.failures == 0, dtype=bool)
    unknown = mask(*(reason for reason in Reason if reason.stage is Stage.INGEST))
    return np.asarray((view.failures & unknown) == 0, dtype=bool)


def not_listed(view: View, rule: AppliedRule) -> np.ndarray:
    """Return (n,) bool: samples that state a value which the rule's list does not allow."""
    listed = pc.is_in(_text(view, rule), value_set=pa.array(rule.allow or (), pa.string())).to_numpy()
    return np.asarray(_stated(view, rule) & ~listed, dtype=bool)


def _stated(view: View, rule: AppliedRule) -> np.ndarray:
    return np.asarray(pc.not_equal(pc.utf8_trim_whitespace(_text(view, rule)), "").to_numpy(), dtype=bool)


def _text(view: View, rule: AppliedRule) -> pa.ChunkedArray:
    if rule.column not in view.rows.column_names:
        return pa.chunked_array([pa.array([""] * view.rows.num_rows, pa.string())])
    return pc.fill_null(view.rows.column(rule.column).cast(pa.string()), "")


def empty_histograms(run: Run, columns: list[Column], rules: list[AppliedRule]) -> dict[str, Histogram]:
    """Return histograms with their axes chosen by one pass over the scores' ranges."""
    spreads = {column.name: Spread() for column in columns}
    names = list(spreads)
    for table in run.tables("scores", names):
        for name in table.column_names:
            values = table.column(name).cast(pa.float64()).to_numpy()
            spreads[name].add(values[np.isfinite(values)])
    bounds = {name: [b for rule in rules if rule.column == name for _, b in rule.sides] for name in names}
    axes = {column.name: make_axis(spreads[column.name], column.integer, bounds[column.name]) for column in columns}
    return {name: Histogram(axes[name], spreads[name]) for name in names}
