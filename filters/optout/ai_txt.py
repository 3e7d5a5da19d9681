"""Spawning's `/ai.txt`: robots.txt grammar over globs such as `*.jpg`, meant for training alone.

`Disallow` refuses. `Allow` is recorded and not relied upon: other formats claim the same file name, and in those the
line means something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

from filters.optout.agents import listed, obeyed
from filters.optout.base import Document, Evidence, Signal, Verdict
from filters.optout.patterns import Pattern, canonical
from filters.optout.readers import NOTHING, Key, Reader, Voice, ask, compiled
from filters.optout.robots import ALLOW, DISALLOW, Line, RobotsFile, parse_robots
from filters.optout.robots_rules import AgentRules, Rule

NAME = "ai.txt"
SPEC = "Spawning ai.txt (2023-05)"
_MAX_SIGNALS = 20
#: A run of escaped octets that are not ASCII, in the canonical spelling.
_ESCAPED = re.compile("(?:%[89A-F][0-9A-F])+")


def ai_rules(lines: Iterable[Line]) -> list[Rule]:
    """Return the rules; file extensions in any case, a Disallow without a slash is a glob over the whole path."""
    rules = []
    for line in lines:
        if line.key not in (ALLOW, DISALLOW) or not line.value:
            continue
        value = line.value
        if line.key == DISALLOW and value[0] not in "/*":
            value = f"*{value}"
        pattern = Pattern.parse(value)
        pattern = replace(pattern, pieces=tuple(map(_lower, pattern.pieces)))
        rules.append(Rule(pattern, int(line.key == DISALLOW), line))
    return rules


def _lower(text: str) -> str:
    """Return canonical text with all its letters in lower case, the escaped ones too, in the canonical spelling."""
    if "%" not in text:
        return text.lower()
    return canonical(_ESCAPED.sub(lambda found: unquote(found[0], errors="surrogateescape"), text).lower())


class _AiTxtReader:
    def __init__(self, file: RobotsFile, agents: tuple[str, ...], voice: Voice) -> None:
        self.rules = AgentRules(file, agents, ai_rules)
        self._own, self._voice = agents[0], voice

    def key(self, path: str) -> Key:
        """Return which rules win on the path, in lower case."""
        return self.rules.key(_lower(path))

    def signals(self, key: Key) -> tuple[Signal, ...]:
        """Return one `deny` for each rule that refuses, one `unknown` for an Allow that binds us."""
        refused: dict[Rule, list[str]] = {}
        said: list[Signal] = []
        for winner in self.rules.winners(key):
            if winner.rule is None:
                continue
            if winner.rule.line.key == DISALLOW:
                refused.setdefault(winner.rule, []).extend(winner.agents)
            elif self._own in winner.agents:
                detail = "ai.txt does not refuse this path; that is not relied upon."
                said.append(self._voice.say(Verdict.UNKNOWN, winner.rule.line.raw, detail))
        for rule, agents in list(refused.items())[:_MAX_SIGNALS]:
            detail = f"ai.txt (line {rule.line.number}) refuses training for {listed(tuple(agents))}."
            said.append(self._voice.say(Verdict.DENY, rule.line.raw, detail))
        return tuple(said)


@dataclass(frozen=True)
class AiTxtChannel:
    """Reads ai.txt for `agents`, the own token first."""

    agents: tuple[str, ...] = field(default_factory=obeyed)
    name: str = NAME
    spec: str = SPEC

    def compile(self, document: Document) -> Reader:
        """Return the reader of one ai.txt."""
        return compiled(Voice(self.name, self.spec, document), "ai.txt", self._read)

    def _read(self, voice: Voice) -> Reader:
        reader = _AiTxtReader(parse_robots(voice.document.body), self.agents, voice)
        return reader if reader.rules else NOTHING

    def read(self, evidence: Evidence) -> list[Signal]:
        """Return what ai.txt says about the picture's URL."""
        if evidence.ai_txt is None or evidence.url is None:
            return []
        return ask(self.compile(evidence.ai_txt), evidence.url)
