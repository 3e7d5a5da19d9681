"""Rules judge columns; reasons come out in order of precedence, and nothing missing passes."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.reasons import PRECEDENCE, Reason, Stage, primary
from filters.rules import RULES, AllowRule, Rule, judge, mask, masks_of_codes, primary_codes, reason_lists


def test_bounds_are_inclusive_and_missing_never_passes():
    rule = Rule("similarity", "similarity", Reason.LOW_SIMILARITY, low=0.2, high=0.9)
    verdict = rule.judge(pa.array([0.2, 0.9, 0.19, 0.91, None, float("nan"), float("inf")]))
    low, missing = Reason.LOW_SIMILARITY.value, Reason.SCORE_MISSING.value
    assert verdict.to_pylist() == [None, None, low, low, missing, missing, low]


def test_integers_and_half_floats_are_judged_too():
    rule = Rule("min_side", "min_side", Reason.IMAGE_TOO_SMALL, low=64)
    assert rule.judge(pa.array([63, 64, None], pa.int32())).to_pylist() == ["IMAGE_TOO_SMALL", None, "SCORE_MISSING"]


def test_allow_list_tells_missing_from_not_allowed():
    rule = AllowRule("licences", "licence", Reason.LICENCE_NOT_ALLOWED, frozenset({"CC0"}), Reason.LICENCE_MISSING)
    found = rule.judge(pa.array(["CC0", "GPL", None, "", "  ", "cc0"])).to_pylist()
    assert found == [None, "LICENCE_NOT_ALLOWED", *["LICENCE_MISSING"] * 3, "LICENCE_NOT_ALLOWED"]


def test_keep_top_becomes_a_bound_that_keeps_the_fraction_and_all_ties():
    rule = Rule("similarity", "similarity", Reason.LOW_SIMILARITY, keep_top=0.3)
    assert rule.resolve(np.arange(10.0)).low == 7.0
    assert rule.resolve(np.array([1.0, 1.0, 1.0, np.nan])).low == 1.0
    assert rule.resolve(np.array([np.nan])).low == float("inf")
    with pytest.raises(ValueError, match="resolve"):
        rule.judge(pa.array([1.0]))


def test_where_less_is_better_the_best_fraction_are_the_smallest_values():
    rule = Rule("nsfw", "nsfw", Reason.NSFW, keep_top=0.3, less_is_better=True).resolve(np.arange(10.0)[::-1])
    assert rule.judge(pa.array([0.0, 2.0, 3.0])).to_pylist() == [None, None, "NSFW"]
    for name in ("nsfw", "watermark", "text_area", "aspect_ratio", "caption_repeats"):
        assert RULES[name].less_is_better, name
    for name in ("similarity", "aesthetic", "sharpness", "quality", "min_side"):
        assert not RULES[name].less_is_better, name


def test_a_column_that_is_not_there_counts_as_missing():
    masks = judge([Rule("nsfw", "nsfw", Reason.NSFW, high=0.5)], pa.table({"uid": ["a", "b"]}))
    assert primary_codes(masks).to_pylist() == ["SCORE_MISSING"] * 2


@given(st.lists(st.sets(st.sampled_from(list(Reason))), max_size=40))
def test_masks_hold_any_set_of_reasons_in_order_of_precedence(sets):
    masks = np.array([mask(*reasons) for reasons in sets], dtype=np.uint64)
    lists = reason_lists(masks).to_pylist()
    assert lists == [[r.value for r in sorted(reasons, key=PRECEDENCE.__getitem__)] for reasons in sets]
    first = [primary(list(reasons)) for reasons in sets]
    assert primary_codes(masks).to_pylist() == [r.value if r else None for r in first]


def test_codes_survive_the_way_to_masks_and_back():
    codes = pa.array([reason.value for reason in Reason] + [None])
    assert primary_codes(masks_of_codes(codes)).to_pylist() == codes.to_pylist()
    with pytest.raises(ValueError, match="unknown"):
        masks_of_codes(pa.array(["NO_SUCH_CODE"]))


def test_precedence_follows_the_order_of_the_stages():
    order = [list(Stage).index(reason.stage) for reason in Reason]
    assert order == sorted(order)
    assert all(reason.meaning.endswith(".") and reason.remedy for reason in Reason)
