"""The balance's part of the decision: whom it leaves out, and what those that stay weigh.

It looks only at samples that all other rules keep, and never makes a copy of one. Counts are taken on the driver from
a few small columns (DESIGN §4.3; benchmarks/balance.py measures it); who stays depends on uid and seed, not on parts.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from audit.weighting.choice import Coded, choose, last_in_line
from audit.weighting.concepts import drawn, probabilities
from audit.weighting.statement import dropped_by_value
from audit.weighting.temperature import tempered
from filters.errors import BadInput
from filters.reasons import Reason
from filters.rules import mask
from filters.selection import over_cap, redrawn, salt, tickets, unit
from pipelines.jobs.balance_weights import weigh
from pipelines.jobs.decide_groups import Pairs
from pipelines.run.directory import Run
from pipelines.run.parts import PartWriter, finished
from pipelines.run.recipe import Recipe
from pipelines.run.recipe_audit import possible_values
from pipelines.run.recipe_balance import Balance

#: Version of balance.json: a new key raises the second number, anything that an old reader would misread the first.
SCHEMA_VERSION = "1.0"
STATEMENT = "balance/balance.json"
#: Decimals of its figures.
FIGURES = 9
_NAME = "balance/all"


@dataclass
class Selection:
    """Which samples stay as the steps go on: `masks` (n,) of reasons, and what each step says of itself."""

    masks: np.ndarray
    steps: list[dict[str, Any]] = field(default_factory=list)

    @property
    def alive(self) -> np.ndarray:
        """(n,) bool: samples that nothing has dropped yet."""
        found: np.ndarray = self.masks == 0
        return found

    def drop(self, rows: np.ndarray, reason: Reason) -> None:
        """Drop the rows (n,) bool for a reason."""
        self.masks[rows] |= mask(reason)


@dataclass(frozen=True)
class Balanced:
    """What the balance comes to: reason masks (n,), weights (n,) with mean 1 over the kept, and its statement."""

    masks: np.ndarray
    weights: np.ndarray
    statement: dict[str, Any] | None


def balance_samples(
    recipe: Recipe, uids: pa.ChunkedArray, by: np.ndarray, masks: np.ndarray, groups: dict[str, Pairs]
) -> Balanced:
    """Carry out the recipe's balance over all samples of a run.

    `by` (n,): values of the column of the cap; `masks` (n,): reasons so far; `groups`: those that the balance names.
    Raises `BadInput` for a value that no sample of the run has, where only the data could tell.
    """
    balance = recipe.balance
    if balance is None:
        return Balanced(masks, np.ones(len(masks)), None)
    _check_values(recipe, balance, groups)
    coded = {name: groups[name].coded() for name in balance.dividing()}
    selection = Selection(masks.copy())
    before = selection.alive
    lottery = np.zeros(len(masks), dtype=np.uint64)
    lottery[before] = tickets(uids.filter(pa.array(before)).to_pylist(), balance.seed)
    _cap(selection, balance, by, uids)
    _concepts(selection, balance, groups, lottery)
    _temperature(selection, balance, coded, lottery)
    _quotas(selection, balance, coded, lottery)
    weights, statement = weigh(balance, groups, coded, before, selection.alive)
    dropped = int(before.sum() - selection.alive.sum())
    return Balanced(
        selection.masks,
        weights,
        {
            "samples": {"before": int(before.sum()), "dropped": dropped, "after": int(selection.alive.sum())},
            "seed": balance.seed,
            "steps": selection.steps,
            **statement,
        },
    )


def _check_values(recipe: Recipe, balance: Balance, groups: dict[str, Pairs]) -> None:
    declared = {group.name: group for group in recipe.groups()}
    for name, named in balance.dividing().items():
        if possible_values(declared[name]) is None:
            unknown = sorted(named - set(groups[name].values))
            if unknown:
                some = ", ".join(groups[name].values[:12]) or "none"
                raise BadInput(f"balance: no sample has the value {unknown[0]!r} of group {name}; there is {some}")


def _cap(selection: Selection, balance: Balance, by: np.ndarray, uids: pa.ChunkedArray) -> None:
    if balance.cap is None:
        return
    over = over_cap(by, np.array(uids.to_pylist()), selection.alive, balance.cap, balance.seed)
    # no array of text, which would be as wide as its longest name
    values = sorted({str(value) for value in by[over]})
    place = {value: at for at, value in enumerate(values)}
    codes = np.fromiter((place[str(value)] for value in by[over]), np.int64)
    selection.drop(over, Reason.BALANCE_CAP)
    selection.steps.append(
        {
            "step": "cap",
            "reason": Reason.BALANCE_CAP.value,
            "by": balance.by,
            "cap": balance.cap,
            "dropped": int(over.sum()),
            "by_value": dropped_by_value(values, codes),
        }
    )


def _concepts(selection: Selection, balance: Balance, groups: dict[str, Pairs], lottery: np.ndarray) -> None:
    asked = balance.concepts
    if asked is None:
        return
    alive = selection.alive
    pairs = groups[asked.group].among(alive)
    counts = pairs.counts()
    p = probabilities(np.array(list(counts.values()), dtype=np.int64), asked.t)
    salts = np.array([salt(f"concepts {asked.group} {value}") for value in pairs.values], dtype=np.uint64)
    uniform = unit(redrawn(lottery[pairs.rows], salts[pairs.codes]))
    kept = drawn(pairs.rows, pairs.codes, p, uniform, len(alive))
    matched = np.zeros(len(alive), dtype=bool)
    matched[pairs.rows] = True
    gone = alive & ~kept & (matched if asked.unmatched == "keep" else True)
    selection.drop(gone, Reason.BALANCE_CONCEPT)
    selection.steps.append(
        {
            "step": "concepts",
            "reason": Reason.BALANCE_CONCEPT.value,
            "group": asked.group,
            "t": asked.t,
            "unmatched": asked.unmatched,
            "concepts_over_t": int((p < 1).sum()),
            "dropped": int(gone.sum()),
            "dropped_unmatched": int((gone & ~matched).sum()),
            "by_value": dropped_by_value(pairs.values, pairs.codes[gone[pairs.rows]]),
        }
    )


def _temperature(selection: Selection, balance: Balance, coded: dict[str, Coded], lottery: np.ndarray) -> None:
    asked = balance.temperature
    if asked is None or asked.keep is None:
        return
    group, alive = coded[asked.group], selection.alive
    counts = group.counts(alive)
    keep = tempered(counts, asked.tau, round(asked.keep * sum(counts.values())))
    gone = last_in_line(group, alive, keep, redrawn(lottery, salt(f"temperature {asked.group}")))
    selection.drop(gone, Reason.BALANCE_TEMPERATURE)
    selection.steps.append(
        {
            "step": "temperature",
            "reason": Reason.BALANCE_TEMPERATURE.value,
            **asked.model_dump(mode="json"),
            "dropped": int(gone.sum()),
            "by_value": dropped_by_value(group.values, group.codes[gone]),
        }
    )


def _quotas(selection: Selection, balance: Balance, coded: dict[str, Coded], lottery: np.ndarray) -> None:
    if not balance.quotas:
        return
    quotas = [asked.unit(name) for name, asked in balance.quotas.items()]
    lines = [redrawn(lottery, salt(f"quotas {quota.group}")) for quota in quotas]
    found = choose(coded, selection.alive, quotas, lines)
    stated = []
    for quota, gone, filled in zip(quotas, found.dropped, found.filled, strict=True):
        group = coded[quota.group]
        stated.append(
            {
                "group": quota.group,
                "asked": {value: float(least) for value, least in quota.minimum.items()},
                "among": None if quota.among is None else list(quota.among),
                "max_drop": quota.max_drop,
                "dropped": int(gone.sum()),
                "by_value": dropped_by_value(group.values, group.codes[gone]),
                "reached": filled.reached and found.settled,
                "short": dict(filled.short),
                "absent": list(filled.absent),
            }
        )
        selection.drop(gone, Reason.BALANCE_QUOTA)
    dropped = sum(int(gone.sum()) for gone in found.dropped)
    step = {"step": "quotas", "reason": Reason.BALANCE_QUOTA.value, "dropped": dropped}
    selection.steps.append({**step, "turns": found.turns, "settled": found.settled, "quotas": stated})


def ledger_state(run: Run) -> str:
    """Return a SHA-256 over the contents of the ledger's parts: which version of the dataset it is."""
    contents = [run.marker("ledger", index).facts["content"] for index in run.parts("ledger")]
    return hashlib.sha256("\n".join(contents).encode()).hexdigest()


def stated(run: Run, wanted: str) -> bool:
    """Tell whether the statement that the recipe asks for is there (none, where it asks for no balance)."""
    return run.recipe.balance is None or finished(run.store, _NAME, wanted) is not None


def write_statement(run: Run, statement: dict[str, Any] | None, wanted: str) -> None:
    """Write `balance/balance.json` for the ledger as it stands; without a balance, take away an older one."""
    if statement is None:
        for name in (f"{_NAME}.done.json", STATEMENT):
            run.store.delete(name)
        return
    of = {"ledger": ledger_state(run), "samples": run.rows("ledger"), "kept": statement["samples"]["after"]}
    body = _rounded({"schema_version": SCHEMA_VERSION, "of": of, **statement})
    writer = PartWriter(run.store, _NAME, wanted)
    with run.store.create(STATEMENT) as path:
        path.write_text(json.dumps(body, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
        writer.add_file(STATEMENT, path)
    writer.commit(1)


def _rounded(value: Any) -> Any:
    """Return the statement with `FIGURES` decimals: in the last bits, the order of samples would show."""
    if isinstance(value, float):
        return round(value, FIGURES)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def read_statement(run: Run) -> tuple[dict[str, Any], bool] | None:
    """Return the balance's statement and whether it speaks of the ledger as it is now; None where there is none.

    After a retraction it speaks of the version before: weights stay as they were, and nobody is chosen anew. Raises
    `BadInput` for a file of another major version.
    """
    if not run.store.exists(STATEMENT):
        return None
    try:
        body: dict[str, Any] = json.loads(run.store.read(STATEMENT))
        version, ledger = str(body["schema_version"]), body["of"]["ledger"]
    except (ValueError, KeyError, TypeError):
        raise BadInput(f"{run.store.url}/{STATEMENT}: not a balance's statement; run assay decide again") from None
    if version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        raise BadInput(f"{run.store.url}/{STATEMENT}: version {version}, this Assay reads {SCHEMA_VERSION}")
    return body, ledger == ledger_state(run)
