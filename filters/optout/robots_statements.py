"""Statements about use that stand in robots.txt groups beside Allow and Disallow (Content-Usage, Content-Signal).

They bind as access rules do: our own token's groups, else those of `*`. Where the file does not address us by name, a
refusal that is addressed to a crawler for training data counts as well, and so does one before the first group. A
permission counts only where it binds us.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from filters.optout.agents import listed
from filters.optout.base import Signal, Verdict
from filters.optout.patterns import PathIndex, Pattern
from filters.optout.readers import Key, Voice
from filters.optout.robots import DISALLOW, Line, RobotsFile
from filters.optout.robots_rules import AgentRules, Rule, Winner, access_rules

#: Rank of a verdict among statements on equally long paths: the most restrictive first.
RANKS = (Verdict.DENY, Verdict.ALLOW, Verdict.UNKNOWN)
_MAX_SIGNALS = 20


@dataclass(frozen=True)
class Kind:
    """One kind of statement: its key in robots.txt, its name for people, and how its preference is judged."""

    key: str
    label: str
    judge: Callable[[str], Verdict]

    def rules(self, lines: tuple[Line, ...]) -> list[Rule]:
        """Return the statements of that kind; a value that starts with `/` begins with a path, up to a blank."""
        found = []
        for line in lines:
            if line.key != self.key:
                continue
            path, preference = "", line.value
            if preference.startswith("/"):
                path, *rest = preference.split(None, 1)
                preference = rest[0] if rest else ""
            found.append(Rule(Pattern.parse(path), RANKS.index(self.judge(preference)), line))
        return found


class StatementReader:
    """The statements of one kind in one robots.txt; the first number of a key says whether we may crawl."""

    def __init__(self, file: RobotsFile, agents: tuple[str, ...], voice: Voice, kind: Kind) -> None:
        """Compile the statements of `kind` for `agents`, the own token first."""
        self._rules = AgentRules(file, agents, lambda lines: kind.rules(tuple(lines)))
        self._access = AgentRules(file, agents[:1], access_rules)
        self._orphans = sorted(
            (rule for rule in kind.rules(file.outside) if RANKS[rule.rank] is Verdict.DENY),
            key=lambda rule: rule.order,
        )
        self._orphan_index = PathIndex([rule.pattern for rule in self._orphans])
        self._own, self._voice, self._label = agents[0], voice, kind.label

    def __bool__(self) -> bool:
        """Return whether there is any statement."""
        return bool(self._rules) or bool(self._orphans)

    def key(self, path: str) -> Key:
        """Return whether we may crawl, the orphan that matches, and the winning statement of each group."""
        return (self._may_crawl(path), self._orphan_index.first(path), *self._rules.key(path))

    def _may_crawl(self, path: str) -> int:
        if not self._access:
            return 1
        winners = self._access.winners(self._access.key(path))
        return int(not any(winner.rule and winner.rule.line.key == DISALLOW for winner in winners))

    def signals(self, key: Key) -> tuple[Signal, ...]:
        """Return the statements that bind; none for a path that may not be crawled (attach-05 §3)."""
        crawlable, orphan, *rest = key
        if not crawlable:
            return ()
        winners = [winner for winner in self._rules.winners(tuple(rest)) if winner.rule is not None]
        own = next((winner for winner in winners if self._own in winner.agents), None)
        said: list[Signal] = []
        if own is not None and own.rule is not None and RANKS[own.rule.rank] is not Verdict.DENY:
            verdict = RANKS[own.rule.rank]
            does = "permits" if verdict is Verdict.ALLOW else "says nothing of"
            detail = f"{self._label} in robots.txt (line {own.rule.line.number}) {does} training."
            said.append(self._voice.say(verdict, own.rule.line.raw, detail))
        for rule, agents in list(self._refused(winners, own).items())[:_MAX_SIGNALS]:
            said.append(self._refusal(rule, f"for {agents}"))
        if orphan >= 0:
            said.append(self._refusal(self._orphans[orphan], "before the first group"))
        return tuple(said)

    def _refused(self, winners: list[Winner], own: Winner | None) -> dict[Rule, str]:
        """Return the refusals that count, with whom they address."""
        by_name = own is not None and not own.star
        found: dict[Rule, list[str]] = {}
        for winner in winners:
            counts = winner is own or not (by_name or winner.star)
            if counts and winner.rule is not None and RANKS[winner.rule.rank] is Verdict.DENY:
                found.setdefault(winner.rule, []).extend(("all crawlers",) if winner.star else winner.agents)
        return {rule: listed(tuple(agents)) for rule, agents in found.items()}

    def _refusal(self, rule: Rule, where: str) -> Signal:
        detail = f"{self._label} in robots.txt (line {rule.line.number}), {where}, refuses training."
        return self._voice.say(Verdict.DENY, rule.line.raw, detail)
