"""The tally counts exactly, adds up in any order, and its sums are those of the ledger."""

import random
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from audit.counts import count
from audit.groups import Assigner, Group
from audit.tally import TABLE, Key, Tally, tally
from filters.errors import BadInput
from filters.reasons import PRECEDENCE, Reason, Stage
from filters.rules import mask, primary_codes, reason_lists

GROUPS = [
    Group("gender", "terms", lexicon="gender_terms"),
    Group("jobs", "terms", lexicon="occupations", overlap="each"),
    Group("region", "domain"),
]
REASONS = [Reason.OPTED_OUT, Reason.DECODE_ERROR, Reason.NSFW, Reason.LOW_AESTHETIC, Reason.NEAR_DUPLICATE]


def made(n, seed):
    source = random.Random(seed)
    found = [sorted({r for r in REASONS if source.random() < 0.15}, key=PRECEDENCE.get) for _ in range(n)]
    masks = np.array([mask(*reasons) for reasons in found], dtype=np.uint64)
    words = ["a woman", "a man", "a man and a woman", "a tree"]
    captions = [f"{source.choice(words)}, {source.choice(['nurse', 'nurse and CEO', 'lawyer', ''])}" for _ in found]
    domains = [source.choice(["a.ke", "b.de", "c.com", None]) for _ in found]
    table = pa.table(
        {
            "caption": captions,
            "domain": pa.array(domains, pa.string()),
            "decision": pa.array(["dropped" if r else "kept" for r in found]).dictionary_encode(),
            "primary_reason": primary_codes(masks),
            "reasons": reason_lists(masks),
        }
    )
    return table, found


def counted(table):
    return tally(table, Assigner(GROUPS).assign(table), [("jobs", "gender"), ("region", "gender")])


def test_every_count_is_that_of_a_plain_loop():
    table, found = made(500, 1)
    memberships = Assigner(GROUPS).assign(table)
    values = [[set() for _ in found] for _ in GROUPS]
    for number, membership in enumerate(memberships):
        for row, code in zip(membership.rows, membership.codes, strict=True):
            values[number][row].add((membership.group, membership.values[code]))
    stages = list(Stage)
    by_hand = Counter()
    for row, reasons in enumerate(found):
        outcomes = ["all", *(["kept"] if not reasons else [f"first:{reasons[0].value}"])]
        if len(reasons) == 1:
            outcomes.append(f"only:{reasons[0].value}")
        for number, stage in enumerate(stages):
            if all(stages.index(r.stage) >= number for r in reasons):
                outcomes.append(f"reached:{stage.value}")
                outcomes += [f"failed:{r.value}" for r in reasons if r.stage is stage]
        gender, jobs, region = (values[i][row] for i in range(3))
        cells = [("", "", "", ""), *((*v, "", "") for v in gender | jobs | region)]
        cells += [(*a, *b) for one in (jobs, region) for a in one for b in gender]
        by_hand.update(Key(*cell, outcome) for cell in cells for outcome in outcomes)
    assert counted(table) == by_hand


def test_parts_add_up_in_any_order_to_the_whole():
    table, _ = made(300, 2)
    whole = counted(table)
    parts = [counted(table.slice(start, size)) for start, size in ((200, 100), (0, 1), (1, 199), (5, 0))]
    assert Tally.of(parts).counts == whole
    assert Tally.of(reversed(parts)).table() == Tally(whole).table()


def test_the_sums_are_those_of_the_ledger():
    table, found = made(400, 3)
    total = Tally(counted(table))
    counts = count([table], 400)
    assert total.total() == 400
    assert total.total("kept") == counts.kept
    assert {r: total.total(f"first:{r}") for r in total.reasons() if total.total(f"first:{r}")} == counts.dropped
    gender = total.by("gender")
    assert set(gender) == {"feminine", "masculine", "mixed"}
    assert sum(gender.values()) == sum("tree" not in caption for caption in table.column("caption").to_pylist())
    assert total.both(("gender", "feminine"), ("jobs", "nurse")) == total.both(
        ("jobs", "nurse"), ("gender", "feminine")
    )
    assert total.groups == ["gender", "jobs", "region"]
    assert total.values("nothing") == []
    assert total.count("gender", "nothing") == 0
    assert len(found) == 400


def test_a_table_gives_the_tally_back():
    total = Tally(counted(made(100, 4)[0]))
    table = total.table()
    assert table.schema == TABLE
    assert Tally.from_table(table) == total
    assert all(number > 0 for number in table.column("count").to_pylist())


def test_an_empty_part_and_one_without_any_value_count():
    empty = made(5, 5)[0].slice(0, 0)
    assert counted(empty) == Counter()
    assert Tally.of([]).total() == 0
    plain = made(5, 6)[0].set_column(0, "caption", pa.array([None] * 5, pa.string()))
    assert Tally(counted(plain)).total() == 5


def test_a_pair_of_unknown_groups_is_a_mistake_of_the_caller():
    table, _ = made(5, 7)
    with pytest.raises(KeyError):
        tally(table, Assigner(GROUPS).assign(table), [("jobs", "nothing")])


def weighed(*weights):
    rows = len(weights)
    reasons = pa.array([[]] * rows, pa.list_(pa.string()))
    return tally(pa.table({"decision": ["kept"] * rows, "reasons": reasons, "weight": list(weights)}), [])


def test_weights_that_do_not_add_up_in_64_bits_are_refused_in_a_part_and_over_all_parts():
    heavy = Tally(weighed(2e6, 0.5))
    assert heavy.weight(squared=True) == 4e12 + 0.25
    assert Tally.from_table(heavy.table()) == heavy
    for weights in ((3.1e6,), (2e6, 2e6), (1e30,)):
        with pytest.raises(BadInput, match=r"squares of the weights.*balance\.rake\.trim"):
            weighed(*weights)
    with pytest.raises(BadInput, match="squares of the weights"):
        Tally.of([heavy.counts] * 2).table()
