"""Cloudflare's Content Signals in robots.txt: `Content-Signal: search=yes, ai-train=no`, also with a path.

An absent key neither grants nor restricts. No document defines a header field of that name; where one is sent, its
`no` is respected and its `yes` is not relied upon (some converters send it without being told to).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from filters.optout.agents import obeyed
from filters.optout.base import Document, Evidence, Fetched, Signal, Verdict, header_values
from filters.optout.readers import NOTHING, Reader, Voice, ask, compiled, voice_of
from filters.optout.robots import SIGNAL, parse_robots
from filters.optout.robots_statements import Kind, StatementReader

NAME = "content-signal"
SPEC = "Content Signals Policy (Cloudflare, 2025-09)"
_TRAIN = re.compile(r"(?<![\w.-])ai-train[ \t]*=[ \t]*([\w-]*)", re.IGNORECASE)
_WELL_FORMED = re.compile(r"[ \t]*[a-z-]+[ \t]*=[ \t]*[a-z]+[ \t]*", re.IGNORECASE)


def judge(statement: str) -> Verdict:
    """Return what a statement says about training: any `ai-train=no` refuses; `yes` allows if all of it is clean."""
    values = {value.lower() for value in _TRAIN.findall(statement)}
    if values & {"no", "n"}:
        return Verdict.DENY
    clean = all(_WELL_FORMED.fullmatch(part) for part in statement.split(","))
    return Verdict.ALLOW if values == {"yes"} and clean else Verdict.UNKNOWN


SIGNAL_KIND = Kind(SIGNAL, "Content-Signal", judge)


@dataclass(frozen=True)
class ContentSignalChannel:
    """Reads Content-Signal lines for `agents`, the own token first, and refusals in a header of that name."""

    agents: tuple[str, ...] = field(default_factory=obeyed)
    name: str = NAME
    spec: str = SPEC

    def compile(self, document: Document) -> Reader:
        """Return the reader of one robots.txt. An unreachable one is the matter of the robots channel."""
        if document.state is not Fetched.FOUND:
            return NOTHING
        return compiled(Voice(self.name, self.spec, document), "robots.txt", self._rules)

    def _rules(self, voice: Voice) -> Reader:
        reader = StatementReader(parse_robots(voice.document.body), self.agents, voice, SIGNAL_KIND)
        return reader if reader else NOTHING

    def headers(self, evidence: Evidence) -> list[Signal]:
        """Return what a `Content-Signal` header field says; it can refuse and not allow."""
        said = []
        voice = voice_of(self.name, self.spec, f"{evidence.url or 'answer'} (header Content-Signal)", evidence)
        for value in header_values(evidence.headers, "content-signal"):
            refused = judge(value) is Verdict.DENY
            verdict = Verdict.DENY if refused else Verdict.UNKNOWN
            words = "refuses training" if refused else "does not refuse training; only robots.txt can permit it"
            said.append(voice.say(verdict, value, f"The header Content-Signal {words}."))
        return said

    def read(self, evidence: Evidence) -> list[Signal]:
        """Return the signals of robots.txt and of the header."""
        robots = evidence.robots
        told = ask(self.compile(robots), evidence.url) if robots is not None and evidence.url is not None else []
        return told + self.headers(evidence)
