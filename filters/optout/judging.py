"""From rights signals and registry matches to reasons, for all samples of a part at once.

The rule is that of `filters.optout.resolution`, over columns: any `deny` wins, else any `allow`, else the
recipe's default. A signed grant of the registry is the only thing that overrides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.optout.base import SYNTHETIC_CHANNEL
from filters.reasons import Reason
from filters.rules import mask


@dataclass(frozen=True)
class Policy:
    """What the recipe makes of silence, of what cannot be read, of names in captions, of synthetic pictures."""

    silence_allows: bool = True
    unreadable_denies: bool = True
    captions_count: bool = True
    synthetic_allowed: bool = True


def rights_masks(uids: pa.Array, signals: pa.Table, matches: pa.Table, policy: Policy) -> np.ndarray:
    """Return uint64 reason masks (n,) for samples by uid; `signals` and `matches` hold 0..n rows a sample."""
    known = uids.unique()
    denied, allowed, unreadable, synthetic = (np.zeros(len(known), dtype=bool) for _ in range(4))
    verdict = signals.column("verdict").cast(pa.string())
    for flags, rows in (
        (denied, pc.equal(verdict, "deny")),
        (allowed, pc.equal(verdict, "allow")),
        (unreadable, signals.column("unreadable")),
        (synthetic, _synthetic(signals)),
    ):
        flags[_positions(signals.filter(rows), known)] = True
    masks = np.zeros(len(known), dtype=np.uint64)
    masks[denied] |= mask(Reason.OPTED_OUT)
    if policy.unreadable_denies:
        masks[unreadable] |= mask(Reason.OPT_OUT_UNREADABLE)
    if not policy.silence_allows:
        masks[(masks == 0) & ~allowed] |= mask(Reason.NO_PERMISSION)
    if not policy.synthetic_allowed:
        masks[synthetic] |= mask(Reason.SYNTHETIC_PICTURE)
    masks |= match_masks(known, matches, policy)
    granted = _positions(matches.filter(pc.equal(matches.column("outcome").cast(pa.string()), "grant")), known)
    # a grant settles who may train on the picture, not what the picture is
    masks[granted] &= mask(Reason.SYNTHETIC_PICTURE)
    spread: np.ndarray = masks[pc.index_in(uids, value_set=known).to_numpy(zero_copy_only=False)]
    return spread


def match_masks(known: pa.Array, matches: pa.Table, policy: Policy) -> np.ndarray:
    """Return the reason masks (n,) that registry matches give to the samples `known`, grants left aside."""
    masks = np.zeros(len(known), dtype=np.uint64)
    outcome, kind, method = (
        np.array(matches.column(name).cast(pa.string()).to_pylist(), dtype=object)
        for name in ("outcome", "kind", "method")
    )
    positions = pc.index_in(matches.column("uid").combine_chunks(), value_set=known).to_pylist()
    for position, result, what, how in zip(positions, outcome, kind, method, strict=True):
        reason = match_reason(result, what, how, policy)
        if position is not None and reason is not None:
            masks[position] |= mask(reason)
    return masks


def match_reason(outcome: str, kind: str, method: str, policy: Policy) -> Reason | None:
    """Return the reason that one registry match gives; None for a grant, or where the recipe sets it aside."""
    if outcome == "grant":
        return None
    if outcome == "review":
        return Reason.LOOK_ALIKE_REVIEW
    if method == "caption":
        return Reason.CREATOR_NAMED if policy.captions_count else None
    return Reason.LOOK_ALIKE if kind in ("pdq", "embedding") else Reason.REGISTRY_OPT_OUT


def _synthetic(signals: pa.Table) -> pa.ChunkedArray:
    return pc.equal(signals.column("channel").cast(pa.string()), SYNTHETIC_CHANNEL)


def _positions(rows: pa.Table, known: pa.Array) -> np.ndarray:
    found = pc.index_in(rows.column("uid").combine_chunks(), value_set=known)
    positions: np.ndarray = found.drop_null().to_numpy(zero_copy_only=False).astype(np.int64)
    return positions
