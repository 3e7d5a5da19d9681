"""robots.txt as a rights statement: who shuts out Assay, or a crawler for training data, has reserved the work.

`Allow` permits crawling and no more: it is recorded as `unknown`, never as an `allow` for training. Crawlers on the
list that the file does not name are bound by its `*` group, also where it names Assay: that permits our visit only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from filters.optout.agents import listed, obeyed
from filters.optout.base import Document, Evidence, Signal, Verdict
from filters.optout.readers import Key, Reader, Voice, ask, compiled
from filters.optout.robots import DISALLOW, RobotsFile, parse_robots
from filters.optout.robots_rules import AgentRules, Rule, access_rules

NAME = "robots.txt"
SPEC = "RFC 9309"
#: Separate signals of one file for one path; further agents are counted in the last one's place.
_MAX_SIGNALS = 20


class AccessReader:
    """Allow and Disallow for all agents to obey, the own token first."""

    def __init__(self, file: RobotsFile, agents: tuple[str, ...], voice: Voice) -> None:
        """Compile the rules of `file` for `agents`."""
        self._rules = AgentRules(file, agents, access_rules)
        self._own = agents[0]
        self._voice = voice

    def key(self, path: str) -> Key:
        """Return which rules win on the canonical `path`."""
        if path == "/robots.txt":  # always allowed, §2.2.2
            return ()
        return self._rules.key(path)

    def may_crawl(self, key: Key) -> bool:
        """Return whether the own token may request a path with that key."""
        if not key:
            return True
        for winner in self._rules.winners(key):
            if self._own in winner.agents:
                return winner.rule is None or winner.rule.line.key != DISALLOW
        return True

    def signals(self, key: Key) -> tuple[Signal, ...]:
        """Return one `deny` for each rule that shuts out agents, one `unknown` for an Allow for ourselves."""
        if not key:
            return ()
        shut: dict[Rule, list[str]] = {}
        by_star: dict[Rule, bool] = {}
        said: list[Signal] = []
        for winner in self._rules.winners(key):
            if winner.rule is None:
                continue
            if winner.rule.line.key == DISALLOW:
                shut.setdefault(winner.rule, []).extend(winner.agents)
                by_star[winner.rule] = by_star.get(winner.rule, False) or winner.star
            elif self._own in winner.agents:
                detail = f"robots.txt lets {self._own} crawl this path; that is no permission to train."
                said.append(self._voice.say(Verdict.UNKNOWN, winner.rule.line.raw, detail))
        for rule, agents in list(shut.items())[:_MAX_SIGNALS]:
            said.append(self._denial(rule, tuple(agents), by_star[rule]))
        return tuple(said)

    def _denial(self, rule: Rule, agents: tuple[str, ...], star: bool) -> Signal:
        who = f"every crawler without rules of its own, {listed(agents)} too" if star else listed(agents)
        detail = f"robots.txt (line {rule.line.number}) shuts out {who}."
        return self._voice.say(Verdict.DENY, rule.line.raw, detail)


@dataclass(frozen=True)
class RobotsChannel:
    """Reads Allow and Disallow for `agents`, the own token first."""

    agents: tuple[str, ...] = field(default_factory=obeyed)
    name: str = NAME
    spec: str = SPEC

    def compile(self, document: Document) -> Reader:
        """Return the reader of one robots.txt."""
        return compiled(
            Voice(self.name, self.spec, document),
            "robots.txt, which shuts out all crawlers (RFC 9309 §2.3.1.4)",
            lambda voice: AccessReader(parse_robots(document.body), self.agents, voice),
        )

    def read(self, evidence: Evidence) -> list[Signal]:
        """Return what robots.txt says about the picture's URL."""
        if evidence.robots is None or evidence.url is None:
            return []
        return ask(self.compile(evidence.robots), evidence.url)
