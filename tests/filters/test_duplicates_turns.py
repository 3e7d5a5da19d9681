"""Flips and turns of a PDQ hash are those of the picture, and undo each other as they should."""

import numpy as np
import pytest
from PIL import Image

from filters.duplicates import Codes, joined, searches
from filters.duplicates_turns import INVERSE, TRIED, TURNS, turned
from filters.optout.look_alike import dihedral
from filters.scorers.pdq import dihedral_hashes

CODES = np.random.default_rng(0).integers(0, 2**64, (40, 4), dtype=np.uint64)


def test_the_eight_are_those_of_the_opt_out_look_alikes():
    assert {turned(CODES[:1], turn).tobytes() for turn in TURNS} == set(dihedral(CODES[0].tobytes()))


@pytest.mark.parametrize("turn", TURNS)
def test_a_turn_and_its_inverse_leave_the_hash(turn):
    assert (turned(turned(CODES, turn), INVERSE.get(turn, turn)) == CODES).all()


def test_derived_hashes_are_near_to_computed_ones():
    noise = np.random.default_rng(1).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((200, 160), Image.Resampling.BICUBIC)
    own, _ = dihedral_hashes(image)
    words = np.frombuffer(b"".join(own), dtype=np.uint64).reshape(8, 4)
    derived = np.concatenate([turned(words[:1], turn) for turn in TURNS])
    bits = np.bitwise_count(derived[:, None] ^ words[None]).sum(axis=2)
    assert (bits.min(axis=1) <= 16).all()
    assert len(set(bits.argmin(axis=1).tolist())) == 8


@pytest.mark.parametrize("since", [0, 30, 70])
def test_the_search_finds_all_turned_pairs_that_are_not_alike_without(since):
    copies = [turned(CODES[:8], turn) ^ np.uint64(0b111 << 20) for turn in TURNS]
    codes, found = np.concatenate([CODES, *copies]), set()
    for turn in TURNS:
        bits = np.bitwise_count(turned(codes, turn)[:, None] ^ codes[None]).sum(axis=2)
        plain = np.bitwise_count(codes[:, None] ^ codes[None]).sum(axis=2)
        found |= {(min(a, b), max(a, b)) for a, b in zip(*np.nonzero((bits <= 31) & (plain > 31)), strict=True)}
    coded = Codes.of(codes, np.ones(len(codes), bool))
    edges = joined(unit.run(coded, 31)[0] for unit in searches(coded, 31, since, TRIED))
    want = {(a, b) for a, b in found if b >= since}
    assert set(zip(edges.a.tolist(), edges.b.tolist(), strict=True)) == want
    assert want
