"""The compliance check, part by part: what a kept sample must have, tested again from the evidence itself.

Nothing here trusts the ledger's reasons. It takes the ledger's word only for who is kept, and asks of each kept
sample whether its signals, the registry's matches, its licence and its evidence allow that.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.rules import primary_codes

#: Most examples that a problem names.
_EXAMPLES = 5


@dataclass(frozen=True)
class Problem:
    """One thing that a check found wrong: a code for programs, a detail for people."""

    code: str
    detail: str


#: What the check may find, by code; `docs/opt-outs.md` lists them from here.
PROBLEMS = {
    "FILE_MISSING": "A file that the manifest names is not there.",
    "FILE_CHANGED": "A file does not have the SHA-256 that the manifest states.",
    "CONTENT_HASH": "The manifest's content does not have the hash that it states.",
    "SIGNATURE_INVALID": "The manifest is not what was signed.",
    "SIGNATURE_UNREADABLE": "The signature of the manifest is not a signature.",
    "NOT_SIGNED": "The manifest is not signed, and the key that must have signed it was given.",
    "WRONG_KEY": "The manifest is signed by another key than the given one.",
    "CHAIN_BROKEN": "A version does not name the one before it, or a shard is not the file that the content names.",
    "VERSION_MISSING": "The manifest of an earlier version is not there.",
    "VERSION_CHANGED": "The manifest of an earlier version is not what it was.",
    "NO_REGISTRY": "No opt-out registry was consulted, or none is named to check against.",
    "REGISTRY_OTHER": "The registry is not the one, or not in the state, that the dataset was matched with.",
    "REGISTRY_BROKEN": "The registry's own chain of hashes is broken.",
    "REGISTRY_OLD": "The registry was consulted longer ago than the recipe allows.",
    "UNAPPLIED_ENTRY": "The registry has entries that were not applied to the dataset.",
    "UNAPPLIED_CHANGE": "A kept sample needs a grant that no longer holds, or a verdict that was corrected since.",
    "NOT_COMPARED": "The registry knows works by embeddings of an encoder that the dataset was not scored with.",
    "DENIED_BUT_KEPT": "A kept sample has a signal or match that denies training, or lacks the permission asked for.",
    "LICENCE_NOT_ALLOWED": "A kept sample's licence is not on the recipe's list.",
    "EVIDENCE_MISSING": "A kept sample's rights were never read.",
    "EVIDENCE_LOST": "The evidence that a signal names is not in the dataset.",
    "SHARD_DISAGREES": "A shard does not hold exactly the samples that the ledger says.",
    "GATE_FAILED": "A gate failed and nobody has waived it.",
}


@dataclass
class Tally:
    """Collects what is wrong with single samples into one problem a code."""

    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, code: str, found: list[str]) -> None:
        """Count samples (or files) for a code."""
        if found:
            self.counts[code] += len(found)
            self.examples[code] += found[: max(0, _EXAMPLES - len(self.examples[code]))]

    def problems(self) -> list[Problem]:
        """Return one problem a code, in the order of `PROBLEMS`."""
        return [
            Problem(code, f"{PROBLEMS[code]} {self.counts[code]} found, for example {', '.join(self.examples[code])}")
            for code in PROBLEMS
            if self.counts[code]
        ]


def denied(uids: pa.Array, kept: np.ndarray, masks: np.ndarray) -> list[str]:
    """Return kept samples whose rights masks (n,) give a reason, each with that reason."""
    rows = np.flatnonzero(kept & (masks != 0))
    codes = primary_codes(masks[rows]).cast(pa.string()).to_pylist()
    return [f"{uids[int(row)].as_py()} ({code})" for row, code in zip(rows, codes, strict=True)]


def unlicensed(uids: pa.Array, kept: np.ndarray, licences: pa.Array, allow: list[str], missing: bool) -> list[str]:
    """Return kept samples whose licence is not one of `allow`; `missing` tells whether none is allowed too."""
    text = licences.cast(pa.string()).to_pylist()
    allowed = set(allow)
    found = []
    for row in np.flatnonzero(kept):
        value = (text[row] or "").strip()
        if not (missing if not value else text[row] in allowed):
            found.append(f"{uids[int(row)].as_py()} ({value or 'none'})")
    return found


def evidence_lost(signals: pa.Table, kept_uids: pa.Array, stored: set[str]) -> list[str]:
    """Return hashes that signals of kept samples name and that are not among the `stored` ones."""
    mine = signals.filter(pc.is_in(signals.column("uid"), value_set=kept_uids))
    named = set(mine.column("evidence_sha256").drop_null().to_pylist())
    return sorted(named - stored)


def too_old(consulted: datetime, now: datetime, days: float) -> str | None:
    """Return a sentence where the registry was consulted more than `days` ago, None where it was not.

    A time more than a day ahead is a clock's fault on one machine or the other, and says nothing of the true age.
    """
    age = (now - consulted).total_seconds() / 86_400
    if age < -1:
        return f"consulted {-age:.1f} days from now, by a clock that is wrong"
    return f"consulted {age:.1f} days ago, the recipe allows {days:g}" if age > days else None
