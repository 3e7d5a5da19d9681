"""Chances decided by hashing: the same for a seed and a sample on every machine, in every process, at any time."""

from __future__ import annotations

import numpy as np

from filters.errors import BadInput

#: Purposes of a draw, so that the same sample's draws are independent of each other.
ORDER, SHARDS, PHASE, DROPOUT, FLIP, CROP_X, CROP_Y = range(1, 8)


def mix(values: np.ndarray) -> np.ndarray:
    """Return uint64 of the same shape, each bit of which depends on every bit of the value.

    The finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
    """
    with np.errstate(over="ignore"):
        z = np.asarray(values, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: np.ndarray = z ^ (z >> np.uint64(31))
        return mixed


def keys(words: np.ndarray, purpose: int, seed: int, *numbers: np.ndarray | int) -> np.ndarray:
    """Return uint64 (n,): a draw for each uid.

    `words`: uint64 (n, 2), the uids; `numbers`: what else the draw depends on (epoch, repeat), each whole or (n,).
    """
    state = mix(np.array([seed & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64) ^ np.uint64(purpose << 56))
    for number in numbers:
        state = mix(state ^ np.asarray(number).astype(np.int64).view(np.uint64))
    return mix(mix(words[:, 0] ^ state) ^ words[:, 1])


def uniform(drawn: np.ndarray) -> np.ndarray:
    """Return float64 in [0, 1): the upper 53 bits of each draw."""
    found: np.ndarray = (drawn >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return found


def uid_words(uids: list[str], where: str) -> np.ndarray:
    """Return uint64 (n, 2) of uids of 32 hex digits; `where` names their file. Raises `BadInput`."""
    try:
        data = bytes.fromhex("".join(uids))  # which would pass over white space
        if any(len(uid) != 32 for uid in uids) or len(data) != 16 * len(uids):
            raise ValueError
        return np.frombuffer(data, dtype=">u8").reshape(-1, 2).astype(np.uint64)
    except ValueError:
        raise BadInput(f"{where}: a uid is 32 hex digits, and one here is not") from None


def uid_texts(words: np.ndarray) -> list[str]:
    """Return the uids of uint64 (n, 2)."""
    text = words.astype(">u8").tobytes().hex()
    return [text[at : at + 32] for at in range(0, len(text), 32)]


def find_words(known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return int64 (m,): the row of each uid of `wanted` (m, 2) in `known` (n, 2), -1 where it is not there."""
    if len(known) == 0 or len(wanted) == 0:
        return np.full(len(wanted), -1, dtype=np.int64)
    order = np.argsort(known[:, 0], kind="stable")
    first = known[order, 0]
    left = np.searchsorted(first, wanted[:, 0], side="left")
    rows = order[np.minimum(left, len(known) - 1)]
    found = np.where((known[rows] == wanted).all(axis=1), rows, -1).astype(np.int64)
    # equal first halves: none among honest uids, which are hashes
    right = np.searchsorted(first, wanted[:, 0], side="right")
    for at in np.flatnonzero((found < 0) & (right - left > 1)):
        for row in order[left[at] : right[at]]:
            if (known[row] == wanted[at]).all():
                found[at] = row
                break
    return found
