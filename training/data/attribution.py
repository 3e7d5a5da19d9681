"""What a checkpoint owes to whom, by a stated rule over its exposure log."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction

import pyarrow.compute as pc

from filters.errors import BadInput
from filters.optout.names import name_key
from pipelines.retraction.versions import version_records
from pipelines.run.directory import Run
from pipelines.run.manifest import read_manifest
from training.data.exposure import Exposure

#: The rules by which a pool is shared out.
RULES = {
    "exposure": "in proportion to how often the checkpoint was trained on the creator's works",
    "works": "in proportion to how many of the creator's works the checkpoint was trained on, however often",
}

#: Most parts that a pool is cut into; more could not be told from a typing error.
_MAX_PARTS = 10**18


@dataclass(frozen=True)
class Share:
    """One creator's part: `creator` as most works have it, empty where no work states one."""

    creator: str
    works: int
    exposures: int
    amount: Decimal


def read_pool(text: str) -> tuple[int, Decimal]:
    """Return a pool as a whole number of its smallest unit, and that unit. Raises `BadInput`.

    `1000.00` has a hundred thousand units of 0.01; an amount without a fraction is cut to 0.01 too.
    """
    try:
        pool = Decimal(text)
        if not pool.is_finite() or pool <= 0 or not text.strip().replace(".", "", 1).isdecimal():
            raise InvalidOperation
    except InvalidOperation:
        raise BadInput(f"--pool {text[:50]}: an amount above 0 such as 1000.00") from None
    places = max(2, -int(pool.as_tuple().exponent))
    unit = Decimal(1).scaleb(-places)
    if places > 9 or pool / unit > _MAX_PARTS:
        raise BadInput(f"--pool {text[:50]}: at most 9 decimal places and {_MAX_PARTS} parts")
    return int(pool / unit), unit


def largest_remainder(weights: list[int], units: int) -> list[int]:
    """Share out `units` in proportion to whole `weights` (not all 0), so that the parts add up exactly.

    The method of the largest remainder (Hamilton's); of equal remainders the first gets the unit.
    """
    total = sum(weights)
    quotas = [Fraction(weight * units, total) for weight in weights]
    parts = [int(quota) for quota in quotas]
    order = sorted(range(len(weights)), key=lambda at: (parts[at] - quotas[at], at))
    for at in order[: units - sum(parts)]:
        parts[at] += 1
    return parts


def attribute(run: Run, exposure: Exposure, pool: str, rule: str) -> list[Share]:
    """Return each creator's share of a pool, largest first. Spellings of a name count as one creator.

    Works without a stated creator are one line of their own, so that the parts still add up to the pool. Raises
    `BadInput` where the checkpoint was trained on another dataset.
    """
    if rule not in RULES:
        raise BadInput(f"--rule {rule}: one of {', '.join(RULES)}")
    units, unit = read_pool(pool)
    _same_dataset(run, exposure)
    counts = exposure.counts()
    if not counts:
        raise BadInput("the checkpoint has seen no sample; there is nothing to attribute")
    names: dict[str, Counter[str]] = defaultdict(Counter)
    seen: Counter[str] = Counter()
    works: Counter[str] = Counter()
    for uid, creator in _creators(run, counts).items():
        key = name_key(creator) or creator.strip()
        names[key][creator.strip()] += 1
        seen[key] += counts[uid]
        works[key] += 1
    keys = sorted(seen)
    amounts = largest_remainder([(seen if rule == "exposure" else works)[key] for key in keys], units)
    shares = [
        Share(_usual(names[key]), works[key], seen[key], part * unit) for key, part in zip(keys, amounts, strict=True)
    ]
    return sorted(shares, key=lambda share: (-share.amount, -share.exposures, share.creator))


def _usual(names: Counter[str]) -> str:
    """Return the spelling that most works have; of equals the first by alphabet."""
    return min(names, key=lambda name: (-names[name], name))


def _creators(run: Run, counts: dict[str, int]) -> dict[str, str]:
    """Return the stated creator of each uid, empty where there is none. Raises `BadInput` for unknown uids."""
    found: dict[str, str] = {}
    for table in run.tables("samples", ["uid", "creator"]):
        uids, creators = table.column("uid").to_pylist(), pc.fill_null(table.column("creator"), "").to_pylist()
        found |= {uid: creator for uid, creator in zip(uids, creators, strict=True) if uid in counts}
    missing = len(counts) - len(found)
    if missing:
        raise BadInput(f"{run.store.url}: {missing} samples of the checkpoint are not in this run")
    return found


def _same_dataset(run: Run, exposure: Exposure) -> None:
    known = {read_manifest(run)["content_hash"], *(record["before"] for record in version_records(run.store))}
    others = sorted({view.content for view in exposure.views.values()} - known)
    if others:
        raise BadInput(f"{run.store.url}: the checkpoint was trained on another dataset, {others[0][:16]}…")
