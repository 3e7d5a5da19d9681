"""X-Robots-Tag header fields of the picture's answer and of the page that shows it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from filters.optout.agents import obeyed
from filters.optout.base import Evidence, Signal, Verdict, header_values
from filters.optout.directives import REFUSING, SEARCH, UNAVAILABLE, Directive, parse_directives, parsed_date
from filters.optout.readers import Voice, voice_of

NAME = "x-robots-tag"
SPEC = "X-Robots-Tag: noai, noimageai (DeviantArt 2022); noindex, unavailable_after (Google)"
_MAX_SIGNALS = 50


@dataclass(frozen=True)
class DirectivePolicy:
    """Whom directives bind, and whether those meant for search engines count.

    `agents` are the tokens to obey; a directive for another agent is recorded and does not count. With `noindex`,
    noindex, none, noimageindex and an `unavailable_after` that has passed are refusals.
    """

    agents: tuple[str, ...] = field(default_factory=obeyed)
    noindex: bool = False

    def binds(self, agent: str | None) -> bool:
        """Return whether directives for that agent bind us: those for everyone, for us, for training crawlers."""
        return agent is None or agent in ("*", "robots") or agent in {token.lower() for token in self.agents}

    def judge(self, directives: Iterable[Directive], voice: Voice, raw: str, at: datetime | None) -> list[Signal]:
        """Return the signals of one value: one `deny` if it refuses, else one `unknown`. `at`: time of the answer."""
        refusing: list[str] = []
        unread: list[str] = []
        for directive in directives:
            if not self.binds(directive.agent):
                continue
            shown = f"{directive.name} for {directive.agent}" if directive.agent else directive.name
            if directive.name in REFUSING or (self.noindex and directive.name in SEARCH):
                refusing.append(shown)
            elif directive.name == UNAVAILABLE and self.noindex:
                expired = _expired(directive.value, at)
                if expired is not False:
                    (unread if expired is None else refusing).append(f"{shown} {directive.value}")
        if refusing:
            return [voice.say(Verdict.DENY, raw, f"Refuses training: {', '.join(dict.fromkeys(refusing))}.")]
        if unread:
            return [voice.unreadable(f"Whether it has passed cannot be told: {', '.join(unread)}.", raw)]
        return [voice.say(Verdict.UNKNOWN, raw, "Holds no refusal of training that binds us.")]


def _expired(text: str, at: datetime | None) -> bool | None:
    """Return whether the date had passed at the time of the answer; None where either is not known."""
    when = parsed_date(text)
    if when is None or at is None or at.tzinfo is None:
        return None
    return when <= at


@dataclass(frozen=True)
class XRobotsChannel:
    """Reads the X-Robots-Tag fields of both answers by `policy`."""

    policy: DirectivePolicy = field(default_factory=DirectivePolicy)
    name: str = NAME
    spec: str = SPEC

    def read(self, evidence: Evidence) -> list[Signal]:
        """Return one signal for each field."""
        page = evidence.page.url if evidence.page is not None else "page"
        said: list[Signal] = []
        for headers, where in ((evidence.headers, evidence.url or "answer"), (evidence.page_headers, page)):
            # Robots-Tag is the name in draft-illyes-repext, the grammar is the same
            values = header_values(headers, "x-robots-tag") + header_values(headers, "robots-tag")
            voice = voice_of(self.name, self.spec, f"{where} (header X-Robots-Tag)", evidence)
            for value in values:
                said += self.policy.judge(parse_directives(value), voice, value, evidence.fetched_at)
        # refusals first, so that a flood of others cannot push one out
        return sorted(said, key=lambda signal: signal.verdict is not Verdict.DENY)[:_MAX_SIGNALS]
