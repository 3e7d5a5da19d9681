"""Any refusal wins, else any permission, else the default."""

from __future__ import annotations

from itertools import permutations

import pytest

from filters.optout.base import Signal, Verdict
from filters.optout.resolution import Resolution, ResolutionPolicy, resolve
from filters.reasons import Reason


def signal(verdict: Verdict, unreadable: bool = False) -> Signal:
    return Signal("c", verdict, "raw", "spec", "source", "detail", unreadable=unreadable)


DENY, ALLOW, SILENT = (signal(verdict) for verdict in (Verdict.DENY, Verdict.ALLOW, Verdict.UNKNOWN))
BROKEN = signal(Verdict.UNKNOWN, unreadable=True)


@pytest.mark.parametrize(
    ("said", "closed", "lenient", "verdict", "reason", "deciding"),
    [
        ([], False, False, Verdict.UNKNOWN, None, ()),
        ([], True, False, Verdict.UNKNOWN, Reason.NO_PERMISSION, ()),
        ([SILENT], False, False, Verdict.UNKNOWN, None, ()),
        ([SILENT], True, False, Verdict.UNKNOWN, Reason.NO_PERMISSION, ()),
        ([SILENT, ALLOW], True, False, Verdict.ALLOW, None, (ALLOW,)),
        ([DENY, ALLOW, BROKEN], False, True, Verdict.DENY, Reason.OPTED_OUT, (DENY,)),
        ([BROKEN, ALLOW], False, False, Verdict.DENY, Reason.OPT_OUT_UNREADABLE, (BROKEN,)),
        ([BROKEN, ALLOW], False, True, Verdict.ALLOW, None, (ALLOW,)),
        ([BROKEN], False, True, Verdict.UNKNOWN, None, ()),
        ([BROKEN], True, True, Verdict.UNKNOWN, Reason.NO_PERMISSION, ()),
    ],
)
def test_resolution(said, closed, lenient, verdict, reason, deciding):
    policy = ResolutionPolicy("fail_closed" if closed else "fail_open", "default" if lenient else "deny")
    for order in permutations(said):
        assert resolve(order, policy) == Resolution(verdict, reason, deciding)


def test_without_a_policy_silence_permits_and_the_unreadable_does_not():
    assert resolve([]).reason is None
    assert resolve([BROKEN]).reason is Reason.OPT_OUT_UNREADABLE
