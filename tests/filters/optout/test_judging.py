"""Signals and matches become the reasons that the resolution rule gives."""

import numpy as np
import pyarrow as pa
import pytest

from filters.optout.judging import Policy, match_reason, rights_masks
from filters.rules import reason_lists
from pipelines.run.schema import MATCHES, SIGNALS


def signal(uid: str, verdict: str, unreadable: bool = False, channel: str = "robots.txt") -> dict[str, object]:
    texts = dict.fromkeys(("source", "raw", "spec", "detail"), "x")
    return {"uid": uid, "channel": channel, "verdict": verdict, "unreadable": unreadable, **texts}


def match(uid: str, outcome: str = "deny", kind: str = "domain", method: str = "domain") -> dict[str, object]:
    return {"uid": uid, "entry": 1, "kind": kind, "method": method, "outcome": outcome, "detail": "x"}


def reasons(signals=(), matches=(), policy=None, uids=("a",)) -> list[list[str]]:
    tables = pa.Table.from_pylist(list(signals), SIGNALS), pa.Table.from_pylist(list(matches), MATCHES)
    return reason_lists(rights_masks(pa.array(uids), *tables, policy or Policy())).to_pylist()


def test_any_deny_wins_over_any_allow():
    assert reasons([signal("a", "allow"), signal("a", "deny")]) == [["OPTED_OUT"]]


def test_silence_is_what_the_recipe_says():
    assert reasons() == [[]]
    assert reasons(policy=Policy(silence_allows=False)) == [["NO_PERMISSION"]]
    assert reasons([signal("a", "unknown")], policy=Policy(silence_allows=False)) == [["NO_PERMISSION"]]
    assert reasons([signal("a", "allow")], policy=Policy(silence_allows=False)) == [[]]


def test_unreadable_evidence_fails_closed_even_beside_an_allow():
    found = [signal("a", "unknown", unreadable=True), signal("a", "allow")]
    assert reasons(found) == [["OPT_OUT_UNREADABLE"]]
    assert reasons(found, policy=Policy(unreadable_denies=False)) == [[]]


def test_each_kind_of_match_has_its_reason():
    assert reasons(matches=[match("a")]) == [["REGISTRY_OPT_OUT"]]
    assert reasons(matches=[match("a", kind="creator", method="caption")]) == [["CREATOR_NAMED"]]
    assert reasons(matches=[match("a", kind="pdq", method="pdq")]) == [["LOOK_ALIKE"]]
    assert reasons(matches=[match("a", outcome="review", kind="embedding")]) == [["LOOK_ALIKE_REVIEW"]]
    assert match_reason("deny", "creator", "caption", Policy(captions_count=False)) is None


def test_a_grant_overrides_every_denial_but_not_what_the_picture_is():
    found = [signal("a", "deny"), signal("a", "unknown", channel="iptc:digital-source")]
    matches = [match("a"), match("a", outcome="grant", kind="grant")]
    policy = Policy(silence_allows=False, synthetic_allowed=False)
    assert reasons(found, matches, policy) == [["SYNTHETIC_PICTURE"]]
    assert reasons(found, [match("a")], policy) == [["OPTED_OUT", "REGISTRY_OPT_OUT", "SYNTHETIC_PICTURE"]]


def test_each_row_of_a_repeated_uid_is_judged_and_other_uids_are_not():
    assert reasons([signal("b", "deny"), signal("z", "deny")], uids=("b", "a", "b")) == [
        ["OPTED_OUT"],
        [],
        ["OPTED_OUT"],
    ]


@pytest.mark.parametrize("seed", range(20))
def test_columns_and_one_sample_at_a_time_agree(seed):
    """The same signals, resolved all at once and uid by uid."""
    draw = np.random.default_rng(seed)
    uids = [f"u{i}" for i in range(12)]
    found = [
        signal(str(draw.choice(uids)), str(draw.choice(["deny", "allow", "unknown"])), bool(draw.random() < 0.2))
        for _ in range(20)
    ]
    policy = Policy(*(bool(draw.random() < 0.5) for _ in range(4)))
    alone = [reasons([s for s in found if s["uid"] == uid], policy=policy, uids=(uid,))[0] for uid in uids]
    assert reasons(found, policy=policy, uids=uids) == alone
