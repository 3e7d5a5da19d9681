"""The groups of all samples as arrays for the decision, and rules with other bounds for some values of a group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from audit.weighting.choice import Coded
from filters.errors import BadInput
from filters.rules import AnyRule, Rule, explain
from pipelines.run.directory import Run
from pipelines.run.parts import part_name
from pipelines.run.recipe import Recipe


@dataclass(frozen=True)
class Pairs:
    """A group over the whole run: sample `rows[i]` has `values[codes[i]]`, values sorted, of `samples` samples."""

    values: tuple[str, ...]
    rows: np.ndarray
    codes: np.ndarray
    samples: int

    def coded(self) -> Coded:
        """Return the group as one code a sample; for groups whose values divide the samples."""
        codes = np.full(self.samples, -1, dtype=np.int64)
        codes[self.rows] = self.codes
        return Coded(self.values, codes)

    def among(self, alive: np.ndarray) -> Pairs:
        """Return the pairs of the samples `alive` (n,) only."""
        mine = alive[self.rows]
        return Pairs(self.values, self.rows[mine], self.codes[mine], self.samples)

    def counts(self) -> dict[str, int]:
        """Return how many samples have each value."""
        found = np.bincount(self.codes, minlength=len(self.values))
        return dict(zip(self.values, found.tolist(), strict=True))


def used_groups(recipe: Recipe) -> list[str]:
    """Return the groups that the recipe's decisions read, sorted; those of the audit alone are none."""
    found = {name for bounds in recipe.rules.values() for name in bounds.by_group}
    if recipe.balance:
        found |= {*recipe.balance.dividing(), *recipe.balance.overlapping()}
    return sorted(found)


def groups_state(run: Run) -> list[str]:
    """Return what the groups parts hold, as hashes; nothing where no decision reads them. Raises `BadInput`."""
    if not used_groups(run.recipe):
        return []
    return [run.marker("groups", i).files[part_name("groups", i)].sha256 for i in run.parts("samples")]


def read_groups(run: Run, names: Sequence[str]) -> dict[str, Pairs]:
    """Return groups of all parts in order. Raises `BadInput` where a part lacks one, or rows of samples."""
    rows: dict[str, list[np.ndarray]] = {name: [] for name in names}
    values: dict[str, list[pa.Array]] = {name: [] for name in names}
    start = 0
    for index in run.parts("samples") if names else []:
        table = group_table(run, index, names)
        for name in names:
            column = table.column(name).combine_chunks()
            rows[name].append(pc.list_parent_indices(column).to_numpy(zero_copy_only=False).astype(np.int64) + start)
            values[name].append(column.flatten().dictionary_encode())
        start += table.num_rows
    return {name: _pairs(rows[name], values[name], start) for name in names}


def group_table(run: Run, index: int, names: Sequence[str]) -> pa.Table:
    """Return the named groups of one part, rows as in samples."""
    table = run.table("groups", index, list(names))
    if set(names) - set(table.column_names) or table.num_rows != run.marker("samples", index).rows:
        raise BadInput(f"{run.store.url}: groups part {index} does not fit the recipe; run assay decide again")
    return table.select(list(names))


def _pairs(rows: list[np.ndarray], values: list[pa.Array], samples: int) -> Pairs:
    encoded = pa.chunked_array(values).unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    names = encoded.dictionary.to_pylist()
    order = sorted(range(len(names)), key=names.__getitem__)
    place = np.empty(len(names), dtype=np.int64)
    place[order] = np.arange(len(names))
    codes = place[encoded.indices.to_numpy(zero_copy_only=False)] if names else np.empty(0, dtype=np.int64)
    return Pairs(tuple(names[at] for at in order), np.concatenate(rows), codes, samples)


#: A rule's other bounds: group, value, and the rule with them.
Exceptions = Mapping[str, Sequence[tuple[str, str, Rule]]]


def exceptions(recipe: Recipe, resolve: Callable[[Rule], Rule]) -> Exceptions:
    """Return for each rule with bounds by group the rules that take its place; `resolve` makes bounds final."""
    found = {}
    for rule in recipe.filter_rules():
        bounds = recipe.rules[rule.name].by_group if isinstance(rule, Rule) else {}
        if isinstance(rule, Rule) and bounds:
            found[rule.name] = [
                (group, value, resolve(replace(rule, low=_or(own.low, -inf), high=_or(own.high, inf), keep_top=None)))
                for group, values in bounds.items()
                for value, own in values.items()
            ]
    return found


def _or(bound: float | None, otherwise: float) -> float:
    return otherwise if bound is None else bound


def judge_by_group(
    judge: Callable[[list[AnyRule]], np.ndarray], rules: list[AnyRule], others: Exceptions, groups: pa.Table | None
) -> np.ndarray:
    """Judge rows by all rules, each by its other bounds where a row has the value that they are for.

    `judge` returns the reason masks (n,) of the rows by some rules; `groups` has the same rows. A row with several of
    the values passes if one of their bounds lets it pass.
    """
    masks = judge([rule for rule in rules if rule.name not in others])
    for rule in rules:
        if rule.name in others and groups is not None:
            masks = masks | _excepted(judge, rule, others[rule.name], groups)
    return masks


def _excepted(
    judge: Callable[[list[AnyRule]], np.ndarray],
    rule: AnyRule,
    others: Sequence[tuple[str, str, Rule]],
    groups: pa.Table,
) -> np.ndarray:
    size = groups.num_rows
    failing, touched, passed = np.zeros(size, np.uint64), np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
    for group, value, other in others:
        mine, masks = has_value(groups.column(group), value), judge([other])
        failing |= np.where(mine, masks, np.uint64(0))
        touched |= mine
        passed |= mine & (masks == 0)
    judged: np.ndarray = np.where(touched, np.where(passed, np.uint64(0), failing), judge([rule]))
    return judged


def has_value(column: pa.ChunkedArray, value: str) -> np.ndarray:
    """Return (n,) bool: rows of a list column that hold the value."""
    lists = column.combine_chunks()
    found = np.zeros(len(lists), dtype=bool)
    hits = pc.equal(lists.flatten(), value).to_numpy(zero_copy_only=False)
    found[pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)[hits]] = True
    return found


def explained(rule: AnyRule, others: Exceptions) -> dict[str, object]:
    """Describe a rule as `filters.rules.explain` does, with its bounds by group where it has some."""
    described = explain(rule)
    by_group: dict[str, dict[str, object]] = {}
    for group, value, other in others.get(rule.name, ()):
        bounds = {side: bound for side, bound in explain(other).items() if side in ("low", "high")}
        by_group.setdefault(group, {})[value] = bounds
    return {**described, "by_group": by_group} if by_group else described
