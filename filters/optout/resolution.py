"""From all signals of one picture to one answer: any `deny` wins, else any `allow`, else the recipe's default."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from filters.optout.base import Signal, Verdict
from filters.reasons import Reason


@dataclass(frozen=True)
class ResolutionPolicy:
    """What silence means (`default`), and what evidence that cannot be read means (`unreadable`)."""

    default: Literal["fail_open", "fail_closed"] = "fail_open"
    unreadable: Literal["deny", "default"] = "deny"


@dataclass(frozen=True)
class Resolution:
    """The answer: `reason` is None where the picture may be used; `deciding` are the signals that decided."""

    verdict: Verdict
    reason: Reason | None
    deciding: tuple[Signal, ...] = ()


def resolve(signals: Iterable[Signal], policy: ResolutionPolicy | None = None) -> Resolution:
    """Return what the signals of one picture come to. A licence grant of the registry is applied by the caller."""
    policy = policy or ResolutionPolicy()
    said = tuple(signals)
    denied = tuple(signal for signal in said if signal.verdict is Verdict.DENY)
    if denied:
        return Resolution(Verdict.DENY, Reason.OPTED_OUT, denied)
    unreadable = tuple(signal for signal in said if signal.unreadable)
    if unreadable and policy.unreadable == "deny":
        return Resolution(Verdict.DENY, Reason.OPT_OUT_UNREADABLE, unreadable)
    allowed = tuple(signal for signal in said if signal.verdict is Verdict.ALLOW)
    if allowed:
        return Resolution(Verdict.ALLOW, None, allowed)
    silence = Reason.NO_PERMISSION if policy.default == "fail_closed" else None
    return Resolution(Verdict.UNKNOWN, silence, ())
