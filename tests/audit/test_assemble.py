"""All sections of an audit: who is compared with whom, and what is left of groups with many values."""

import numpy as np
import pyarrow as pa
import pytest

from audit import planted
from audit.assemble import sections
from audit.findings import State
from audit.groups import Assigner, Group, reference
from audit.questions import Questions
from audit.sections import crossing, lexicon_rate
from audit.sections_impact import crossed_impact
from audit.tally import Tally, tally

GENDER = Group("gender", "terms", lexicon="gender_terms")
REGION = Group("region", "place")


def audited(table, groups, pairs=()):
    return Tally(tally(table, Assigner(groups).assign(table), pairs))


def one(findings, metric, **subject):
    (found,) = [f for f in findings if f.metric == metric and subject.items() <= f.subject.items()]
    return found


def labelled(values, dropped):
    """The tally of a column of labels, of which the rows in `dropped` are lost."""
    table = planted._table(["x"] * len(values), [None] * len(values), np.isin(np.arange(len(values)), dropped), {})
    group = Group("kin", "column", column="kin")
    return audited(table.append_column("kin", pa.array(values)), [group]), group


def test_a_label_that_is_really_called_mixed_is_compared_like_any_other():
    total, group = labelled(["white"] * 400 + ["mixed"] * 300, range(420, 700))
    (section,) = [s for s in sections(total, Questions((group,), {})) if s.name == "impact"]
    assert one(section.findings, "disparate_impact", value="mixed", reason="chain").state is State.FOUND


def test_samples_of_several_values_are_compared_with_nobody():
    captions = ["a woman"] * 100 + ["a man"] * 100 + ["a woman and a man"] * 100
    table = planted._table(captions, [None] * 300, np.arange(300) >= 200, {})
    found = sections(audited(table, [GENDER, REGION], [("gender", "region")]), Questions((GENDER,), {}))
    for section in found:
        if section.name in ("impact", "attribution"):
            assert "mixed" not in {item.subject.get("value") for item in section.findings}
    (impacts,) = [s.findings for s in found if s.name == "impact"]
    assert one(impacts, "amplification", value="masculine", reason="chain").value == 1.0


def test_values_that_are_not_listed_are_among_all_others():
    # 21 values of 40 samples, of which all pass, and 500 of 2 samples, of which none does
    values = [f"v{i % 21:02d}" for i in range(840)] + [f"w{i % 500}" for i in range(1000)]
    total, group = labelled(values, range(840, 1840))
    found = {s.name: s.findings for s in sections(total, Questions((group,), {}))}
    amplified = one(found["impact"], "amplification", value="v01", reason="chain")
    assert amplified.value == pytest.approx((40 / 840) / (40 / 1840))
    step = one(found["attribution"], "step_ratio", value="v01")
    assert step.value == pytest.approx(1 / (800 / 1800))
    impacts = [item for item in found["impact"] if item.metric == "disparate_impact"]
    assert {item.subject["value"] for item in impacts} == {f"v{i:02d}" for i in range(1, 21)}
    mine = reference("mine", dict.fromkeys(set(values), 1.0), "s", "d")
    excluded = {s.name: s.findings for s in sections(total, Questions((group,), {"kin": mine}))}["exclusion"]
    assert one(excluded, "amplification", value="v01").value == pytest.approx(amplified.value)
    assert len(excluded) == 21
    # the test behind each ratio is against all others too, but none is lower than its base
    assert all(item.value == 1.0 for item in impacts)


def test_crosses_of_a_large_group_are_those_of_its_largest_values():
    rows = 3000
    table = planted._table(["x"] * rows, [None] * rows, np.arange(rows) % 7 == 0, {})
    creators = [f"c{min(i % 500, 61):03d}" for i in range(rows)]
    table = table.append_column("who", pa.array(creators)).append_column("side", pa.array(["l", "r"] * (rows // 2)))
    groups = [Group("who", "column", column="who"), Group("side", "column", column="side")]
    total = audited(table, groups, [("who", "side")])
    crossed = crossing(total, "who", "side", "all")
    assert len(crossed) == 120
    # margins are those of all samples, so that c061 is among the crosses with what it has and is expected
    assert one(crossed, "residual", value="c061", other_value="l").n == total.both(("who", "c061"), ("side", "l"))
    compared = crossed_impact(total, "who", "side")
    assert len({item.subject["value"] for item in compared}) <= 120
    rates = lexicon_rate(total, "side", "who")
    assert len(rates) == 2 + 2 * 60
