"""Random groups of what belongs together (hosts, creators, clusters of duplicates), to resample by."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from audit.groups.assign import BUCKETS, Membership


def bucketed(name: str, keys: Sequence[str | None], uids: Sequence[str]) -> Membership:
    """Put samples into `BUCKETS` sets by the hash of their key, of their uid where they have none."""
    numbers = np.array([_bucket(f"u{uid}" if not key else f"k{key}") for key, uid in zip(keys, uids, strict=True)])
    values = tuple(f"{number:03d}" for number in range(BUCKETS))
    return Membership(name, values, np.arange(len(numbers)), numbers.astype(np.int64))


def _bucket(key: str) -> int:
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") % BUCKETS
