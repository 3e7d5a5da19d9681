"""Which sample stays: one of each uid, one of each duplicate cluster, at most so many of a group.

Pure functions over columns; all ties are broken by the data itself, never by the order of arrival.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np

#: What may decide which member of a cluster stays. True: more is better.
PREFERENCES = {
    "resolution": True,
    "similarity": True,
    "aesthetic": True,
    "licence": False,
    "date": False,
    "uid": False,
}


def repeated(uids: np.ndarray, alive: np.ndarray) -> np.ndarray:
    """Return for each row the position of the first living row with the same uid; own position when first.

    `uids`: (n,) strings; `alive`: (n,) bool. Rows that are not alive return their own position.
    """
    first = np.arange(len(uids))
    living = np.flatnonzero(alive)
    _, index, inverse = np.unique(uids[living], return_index=True, return_inverse=True)
    first[living] = living[index[inverse]]
    return first


def representatives(
    clusters: np.ndarray,
    alive: np.ndarray,
    keys: list[np.ndarray],
    near: Callable[[int, np.ndarray], np.ndarray],
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Return for each living row the position of the row that stays for it; -1 where not alive.

    `clusters`: (n,) int64, -1 for rows in no cluster (they stay for themselves). `keys`: columns in order
    of preference, smaller is better; NaN is worst. The last tie goes to the smallest position.
    `near(row, others)`: bool for each of `others`, whether it is a duplicate of `row` itself. The best of a
    cluster stays for all that are near to it, then the best of the rest, and so on: in a chain of likenesses
    the ends are not taken for the same picture.
    `groups` (n,) of str: before all keys, the member stays whose group has the fewest rows that stay so far (rows
    in no cluster count first, then cluster after cluster in their order); rows without a group come last.
    """
    stays = np.full(len(clusters), -1, dtype=np.int64)
    living = np.flatnonzero(alive)
    stays[living] = living
    members = living[clusters[living] >= 0]
    if len(members) == 0:
        return stays
    order = np.lexsort([members, *(key[members] for key in reversed(keys)), clusters[members]])
    ranked = members[order]
    single = living[clusters[living] < 0]
    counts: Counter[str] | None = None if groups is None else Counter(groups[single].tolist())
    for left in np.split(ranked, np.flatnonzero(np.diff(clusters[ranked])) + 1):
        while len(left):
            best = 0 if groups is None or counts is None else _rarest(groups[left], counts)
            taken = near(int(left[best]), left)
            taken[best] = True
            stays[left[taken]] = left[best]
            left = left[~taken]
    return stays


def _rarest(groups: np.ndarray, counts: Counter[str]) -> int:
    """Return the first of the members whose group is the rarest so far, and count it."""
    names: list[str] = groups.tolist()
    best = min(range(len(names)), key=lambda member: (not names[member], counts[names[member]], member))
    counts[names[best]] += 1
    return best


def preference_key(name: str, columns: dict[str, np.ndarray]) -> np.ndarray:
    """Return the sort key (smaller is better) for a preference name of `PREFERENCES`.

    `columns` holds what the name asks for: width and height for `resolution`, else a column of that name; `licence`
    and `date` as numbers of which the smaller is the better.
    """
    if name == "uid":
        return columns["uid"]
    wanted: np.ndarray = columns["width"] * columns["height"] if name == "resolution" else columns[name]
    key: np.ndarray = wanted.astype(np.float64)
    return -key if PREFERENCES[name] else key


def over_cap(groups: np.ndarray, uids: np.ndarray, alive: np.ndarray, cap: int, seed: int) -> np.ndarray:
    """Return (n,) bool: living rows beyond the first `cap` of their group.

    Who comes first is decided by a keyed hash of the uid (BLAKE2b, key = `seed`), so that the choice is
    random with respect to content, yet the same in every run and on every machine. `groups`: (n,) of str,
    None or "" for no group (never capped).
    """
    over = np.zeros(len(uids), dtype=bool)
    rows = np.flatnonzero(alive & np.array([bool(group) for group in groups], dtype=bool))
    if len(rows) == 0:
        return over
    lottery = tickets((str(uids[row]) for row in rows), seed)
    # numbered by a dictionary: an array of text would be as wide as its longest name
    numbers: dict[str, int] = {}
    group = np.fromiter((numbers.setdefault(str(groups[row]), len(numbers)) for row in rows), np.int64, len(rows))
    order = np.lexsort([uids[rows], lottery, group])
    starts = np.searchsorted(group[order], np.arange(len(numbers)))
    rank = np.arange(len(rows)) - starts[group[order]]
    over[rows[order[rank >= cap]]] = True
    return over


def tickets(uids: Iterable[str], seed: int) -> np.ndarray:
    """Return a number (n,) uint64 for each uid: BLAKE2b keyed with `seed`. Equal for a uid in every run."""
    key = seed.to_bytes(8, "big", signed=True)
    found = b"".join(hashlib.blake2b(uid.encode(), digest_size=8, key=key).digest() for uid in uids)
    return np.frombuffer(found, dtype=">u8").astype(np.uint64)


def salt(purpose: str) -> np.uint64:
    """Return a number for a purpose, to redraw tickets for it."""
    number: np.uint64 = np.uint64(int.from_bytes(hashlib.blake2b(purpose.encode(), digest_size=8).digest(), "big"))
    return number


def redrawn(lottery: np.ndarray, salts: np.ndarray | np.uint64) -> np.ndarray:
    """Return tickets (n,) drawn anew for one salt, or one each (n,): who comes early once need not come early again.

    The finaliser of SplitMix64 (Steele et al. 2014, Fast splittable pseudorandom number generators): a bijection.
    """
    mixed = lottery ^ salts
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    found: np.ndarray = mixed ^ (mixed >> np.uint64(31))
    return found


def unit(lottery: np.ndarray) -> np.ndarray:
    """Return tickets (n,) as numbers in [0, 1)."""
    uniform: np.ndarray = (lottery >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return uniform
