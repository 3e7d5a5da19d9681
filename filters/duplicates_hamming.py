"""All pairs of hashes within a number of bits: multi-index hashing with a guarantee, whatever the codes are.

Guarantee: **every pair within r bits is found, and no other.** A code is cut into m bands. Of two codes that differ
in at most r bits, some band differs in at most f = r // m bits (pigeonhole). So for every band, all codes are put
into buckets by the band's value, each code looks into the buckets of all values within f bits of its own, and every
candidate is verified on all bits. A pair that several bands find is reported by the first of them only.

Buckets are capped without a loss: where two buckets have more than `CROWD` candidates between them, their codes are
searched again by themselves, with their bits dealt out anew, so that every band gets its share of those that differ.
All other candidates are verified in blocks of bounded memory. Where comparing everything is cheaper, everything is
compared. Only where the *result* would not fit into memory it is reduced to pairs that hold together the same rows,
and says so.

Source of the idea: Norouzi, Punjani, Fleet, Fast Exact Search in Hamming Space with Multi-Index Hashing (2014) §3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import minimum_spanning_tree

#: Given rows a and rows b of candidates within the radius, tells (n,) bool which of them count.
Accept = Callable[[np.ndarray, np.ndarray], np.ndarray]

#: Pairs of one unit above which only a spanning forest of them is kept (18 bytes each); `Pairs.thinned` tells.
MAX_PAIRS = 1 << 26
#: Candidates between two buckets above which these are searched by themselves; how often within each other.
CROWD, _LEVELS = 1 << 22, 2
#: Candidates verified at once; bounds the memory (about 40 bytes each).
_BLOCK = 1 << 20
#: Queries of the exhaustive search at once.
_FLAT_BLOCK = 4096
#: A band's table has 2^width places.
_MAX_WIDTH = 24
#: Measured cost of one candidate, one probe, and of one comparison of the exhaustive search (ns, one core).
_CANDIDATE_NS, _PROBE_NS, _FLAT_NS = 10.0, 12.0, 0.5
#: Below this many codes, everything is compared.
_SMALL = 2048


@dataclass(frozen=True)
class Pairs:
    """Rows a and b (int64) and differing bits (int16); in no order.

    `thinned`: there were more than `MAX_PAIRS`; only pairs that hold together the same rows are left.
    """

    a: np.ndarray
    b: np.ndarray
    distance: np.ndarray
    thinned: bool = False

    def __len__(self) -> int:
        return len(self.a)


@dataclass(frozen=True)
class Band:
    """One unit of a search: band `index` of `count`, values up to `flips` bits apart; `count` 0 compares everything.

    The pairs of all units of a search are disjoint, and together they are all pairs.
    """

    index: int
    count: int
    flips: int


def bands(codes: np.ndarray, radius: int) -> list[Band]:
    """Return the units of the cheapest search among `codes` uint64 (n, words). Depends on the codes alone."""
    n, bits = len(codes), 64 * codes.shape[1]
    flat_ns = n * n / 2 * _FLAT_NS * codes.shape[1]
    best, cheapest = 0, flat_ns
    for count in range(1, min(radius + 1, bits) + 1):
        width, flips = -(-bits // count), radius // count
        if width > _MAX_WIDTH:
            continue
        probes = _ball(width, flips)
        nanoseconds = n * count * probes * (_PROBE_NS + _CANDIDATE_NS * n / 2 ** (width + 1))
        if nanoseconds < cheapest:
            best, cheapest = count, nanoseconds
    if n <= _SMALL or best == 0 or _crowded(codes, best, radius // best, flat_ns):
        return [Band(0, 0, 0)]
    return [Band(index, best, radius // best) for index in range(best)]


def _ball(width: int, flips: int) -> int:
    return sum(comb(width, k) for k in range(flips + 1))


def _crowded(codes: np.ndarray, count: int, flips: int, flat_ns: float) -> bool:
    """Tell whether the codes are so uneven that their buckets hold more work than comparing everything."""
    total = 0.0
    for index in range(count):
        low, width = _place(codes.shape[1] * 64, index, count)
        sizes = np.bincount(_keys(codes, low, width), minlength=1 << width)
        used = np.flatnonzero(sizes)
        for flip in _flips(width, flips):
            products = sizes[used].astype(np.float64) * sizes[used ^ flip] / 2
            products[products > CROWD] *= _FLAT_NS * codes.shape[1] / _CANDIDATE_NS
            total += float(products.sum())
            if total * _CANDIDATE_NS > flat_ns:
                return True
    return False


def within(codes: np.ndarray, radius: int, band: Band, accept: Accept | None = None) -> Pairs:
    """Return the pairs a != b, each once, that one unit finds among `codes` uint64 (n, words)."""
    search = _flat(codes, codes, radius, True) if band.count == 0 else _banded(codes, codes, radius, band, True)
    return _collected(_accepted(search, accept), len(codes))


def between(queries: np.ndarray, base: np.ndarray, radius: int, band: Band, accept: Accept | None = None) -> Pairs:
    """Return the pairs (row of `queries`, row of `base`) that one unit of `bands(base, radius)` finds."""
    if len(queries) == 0 or len(base) == 0:
        return _collected(iter(()), 0)
    whole = band.count == 0
    search = _flat(queries, base, radius, False) if whole else _banded(queries, base, radius, band, False)
    shift = len(queries)  # so that both sides are rows of one graph
    shifted = (Pairs(block.a, block.b + shift, block.distance) for block in _accepted(search, accept))
    found = _collected(shifted, shift + len(base))
    return Pairs(found.a, found.b - shift, found.distance, found.thinned)


def _accepted(blocks: Iterator[Pairs], accept: Accept | None) -> Iterator[Pairs]:
    """Yield what counts of each block, before any of it could be thinned."""
    for block in blocks:
        keep = slice(None) if accept is None else accept(block.a, block.b)
        yield Pairs(block.a[keep], block.b[keep], block.distance[keep])


def _collected(blocks: Iterator[Pairs], rows: int) -> Pairs:
    """Return the blocks as one; `rows` is the number of rows of both sides together (b counts behind a)."""
    found: list[Pairs] = []
    thinned = False
    for block in blocks:
        found.append(block)
        if sum(map(len, found)) > MAX_PAIRS:
            found, thinned = [_spanning(_merged(found), rows)], True
    merged = _merged(found)
    return Pairs(merged.a, merged.b, merged.distance, thinned)


def _merged(found: list[Pairs]) -> Pairs:
    if not found:
        return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int16))
    a, b, distance = (np.concatenate([getattr(block, name) for block in found]) for name in ("a", "b", "distance"))
    return Pairs(a, b, distance)


def _spanning(pairs: Pairs, rows: int) -> Pairs:
    """Return those pairs, the nearest ones, that hold together what all of them hold together."""
    weights = pairs.distance.astype(np.float64) + 1  # a weight of 0 would be no edge
    tree = minimum_spanning_tree(coo_matrix((weights, (pairs.a, pairs.b)), shape=(rows, rows))).tocoo()
    return Pairs(tree.row.astype(np.int64), tree.col.astype(np.int64), (tree.data - 1).astype(np.int16))


def _flat(queries: np.ndarray, base: np.ndarray, radius: int, itself: bool) -> Iterator[Pairs]:
    import faiss  # slow to import, and not every search needs it

    bits = 64 * base.shape[1]
    search = faiss.IndexBinaryFlat(bits)
    search.add(np.ascontiguousarray(base).view(np.uint8).reshape(len(base), -1))
    packed = np.ascontiguousarray(queries).view(np.uint8).reshape(len(queries), -1)
    for start in range(0, len(packed), _FLAT_BLOCK):
        # faiss compares strictly (distance < radius), hence + 1
        limits, distances, labels = search.range_search(packed[start : start + _FLAT_BLOCK], radius + 1)
        counts: np.ndarray = np.diff(limits.astype(np.int64))
        rows = start + np.repeat(np.arange(len(limits) - 1), counts)
        keep = rows < labels if itself else np.ones(len(rows), dtype=bool)
        yield Pairs(rows[keep].astype(np.int64), labels[keep].astype(np.int64), distances[keep].astype(np.int16))


def _place(bits: int, index: int, count: int) -> tuple[int, int]:
    """Return the lowest bit and the width of a band."""
    low = bits * index // count
    return low, bits * (index + 1) // count - low


def _keys(codes: np.ndarray, low: int, width: int) -> np.ndarray:
    """Return the bits low to low + width of each code as int64 (n,)."""
    word, shift = divmod(low, 64)
    found = codes[:, word] >> np.uint64(shift)
    if shift + width > 64:
        found = found | (codes[:, word + 1] << np.uint64(64 - shift))
    keys: np.ndarray = (found & np.uint64((1 << width) - 1)).astype(np.int64)
    return keys


def _banded(
    queries: np.ndarray, base: np.ndarray, radius: int, band: Band, itself: bool, level: int = 0
) -> Iterator[Pairs]:
    low, width = _place(64 * base.shape[1], band.index, band.count)
    keys = _keys(base, low, width)
    order = np.argsort(keys, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=1 << width))])
    ranked = np.ascontiguousarray(base[order])
    # in the order of the buckets, look-ups and candidates lie side by side in memory
    turn = order if itself else np.argsort(_keys(queries, low, width), kind="stable")
    asked, wanted = np.ascontiguousarray(queries[turn]), _keys(queries[turn], low, width)
    for flip in _flips(width, band.flips):
        other = wanted ^ flip
        begin, end = starts[other], starts[other + 1]
        if itself and flip == 0:
            begin = np.arange(1, len(wanted) + 1)
        elif itself:
            end = np.where(wanted < other, end, begin)  # each pair of buckets once
        if level < _LEVELS:
            for crowd, places_there in _crowds(wanted, begin, end):
                alone = itself and flip == 0
                there = crowd if alone else places_there
                for pairs in _again(asked[crowd], ranked[there], radius, alone, level + 1):
                    first, second = crowd.start + pairs.a, there.start + pairs.b
                    fresh = _first_band(asked[first], ranked[second], band)
                    yield Pairs(turn[first[fresh]], order[second[fresh]], pairs.distance[fresh])
                end[crowd] = begin[crowd]
        for rows, places in _expanded(begin, end):
            first, second, distance = _verified(asked, ranked, rows, places, radius)
            fresh = _first_band(asked[first], ranked[second], band)
            yield Pairs(turn[first[fresh]], order[second[fresh]], distance[fresh])


def _crowds(wanted: np.ndarray, begin: np.ndarray, end: np.ndarray) -> list[tuple[slice, slice]]:
    """Return rows and places of those buckets (rows of one key lie together) that have too many candidates."""
    sizes = np.maximum(end - begin, 0)
    starts = np.flatnonzero(np.concatenate([[True], np.diff(wanted) != 0]))
    stops = np.append(starts[1:], len(wanted))
    total = np.add.reduceat(sizes, starts) if len(wanted) else sizes
    crowded = np.flatnonzero(total > CROWD)
    return [(slice(int(starts[i]), int(stops[i])), slice(int(begin[starts[i]]), int(end[starts[i]]))) for i in crowded]


def _again(one: np.ndarray, other: np.ndarray, radius: int, itself: bool, level: int) -> Iterator[Pairs]:
    """Search the codes of crowded buckets by themselves, with their bits dealt out evenly."""
    bits = np.argsort(-_spread(other), kind="stable")
    # the bits that differ most go to the bands in turns, whatever the number of bands will be
    deal = np.concatenate([bits[start::16] for start in range(16)])
    queries, base = _dealt(one, deal), _dealt(other, deal)
    for band in bands(base, radius):
        if band.count == 0:
            yield from _flat(queries, base, radius, itself)
        else:
            yield from _banded(queries, base, radius, band, itself, level)


def _spread(codes: np.ndarray) -> np.ndarray:
    """Return for each bit how much it tells among a sample of the codes: 0 where it is the same in all."""
    step = max(1, len(codes) // 4096)
    set_ = np.unpackbits(np.ascontiguousarray(codes[::step]).view(np.uint8), axis=1, bitorder="little").mean(axis=0)
    found: np.ndarray = set_ * (1 - set_)
    return found


def _dealt(codes: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """Return the codes with their bits in another order; distances stay."""
    found = np.empty_like(codes)
    for start in range(0, len(codes), 1 << 16):
        block = np.ascontiguousarray(codes[start : start + (1 << 16)]).view(np.uint8)
        dealt = np.ascontiguousarray(np.unpackbits(block, axis=1, bitorder="little")[:, bits])
        found[start : start + (1 << 16)] = np.packbits(dealt, axis=1, bitorder="little").view(np.uint64)
    return found


def _flips(width: int, flips: int) -> Iterator[int]:
    for number in range(flips + 1):
        for places in combinations(range(width), number):
            yield sum(1 << place for place in places)


def _expanded(begin: np.ndarray, end: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield row and place for every place in [begin, end) of every row, in blocks."""
    rows = np.flatnonzero(end > begin)
    begin, sizes = begin[rows], (end - begin)[rows]
    total = np.cumsum(sizes)
    start = 0
    while start < len(rows):
        before = total[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(total, before + _BLOCK, side="right")))
        # one row's bucket may be larger than a block: it is cut, never dropped
        for offset in range(0, int(sizes[start]), _BLOCK) if stop == start + 1 else (0,):
            some = np.minimum(sizes[start:stop] - offset, _BLOCK) if stop == start + 1 else sizes[start:stop]
            ends = np.cumsum(some)
            steps = np.arange(int(ends[-1])) - np.repeat(ends - some, some)
            yield np.repeat(rows[start:stop], some), np.repeat(begin[start:stop] + offset, some) + steps
        start = stop


def _verified(
    asked: np.ndarray, ranked: np.ndarray, rows: np.ndarray, places: np.ndarray, radius: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return those candidates within the radius; words are compared one after the other and most end early."""
    distance = np.zeros(len(rows), dtype=np.int16)
    for word in range(asked.shape[1]):
        distance += np.bitwise_count(asked[rows, word] ^ ranked[places, word])
        left = distance <= radius
        rows, places, distance = rows[left], places[left], distance[left]
    return rows, places, distance


def _first_band(one: np.ndarray, other: np.ndarray, band: Band) -> np.ndarray:
    """Return (n,) bool: pairs that no earlier band finds."""
    fresh = np.ones(len(one), dtype=bool)
    if len(one) == 0:
        return fresh
    for index in range(band.index):
        low, width = _place(64 * one.shape[1], index, band.count)
        fresh &= np.bitwise_count(_keys(one, low, width) ^ _keys(other, low, width)) > band.flips
    return fresh
