"""Rules of one robots.txt for several crawlers at once: which one binds whom on a path.

Each group is indexed once, whatever the number of agents that it binds; equal groups count as one. Per path only the
winning rule of each group is looked up; who is bound by what follows from those numbers and can be remembered by them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from filters.optout.patterns import PathIndex, Pattern
from filters.optout.robots import ALLOW, DISALLOW, Line, RobotsFile

Key = tuple[int, ...]


@dataclass(frozen=True)
class Rule:
    """One rule with a path: the longest pattern wins, among equal lengths the lowest rank."""

    pattern: Pattern
    rank: int
    line: Line

    @property
    def order(self) -> tuple[int, int]:
        """Return the sort key: the winner is the smallest."""
        return (-self.pattern.octets, self.rank)


@dataclass(frozen=True)
class Winner:
    """The rule that binds some agents on a path; None where no rule matches. `star`: by the `*` group."""

    agents: tuple[str, ...]
    star: bool
    rule: Rule | None


Extract = Callable[[Iterable[Line]], list[Rule]]


class AgentRules:
    """The rules of one kind (`extract`) of a file, for the given agents."""

    def __init__(self, file: RobotsFile, agents: Sequence[str], extract: Extract) -> None:
        """Index every group that binds one of `agents`."""
        self._tables: list[list[Rule]] = []
        self._indexes: list[PathIndex] = []
        table_of: dict[int, int] = {}
        known: dict[tuple[tuple[str, str], ...], int] = {}
        bound: dict[tuple[tuple[int, ...], bool], list[str]] = {}
        for agent in agents:
            places = file.select(agent)
            bound.setdefault((places, not file.named(agent)), []).append(agent)
            for place in places:
                if place not in table_of:
                    table_of[place] = self._table(file.groups[place].lines, extract, known)
        self._bound = [
            (tuple(dict.fromkeys(table_of[place] for place in places if table_of[place] >= 0)), star, tuple(found))
            for (places, star), found in bound.items()
        ]

    def _table(self, lines: Iterable[Line], extract: Extract, known: dict[tuple[tuple[str, str], ...], int]) -> int:
        """Return the number of the table that holds the rules of `lines`, -1 for none; equal ones are shared."""
        rules = sorted(extract(lines), key=lambda rule: rule.order)
        if not rules:
            return -1
        content = tuple((rule.line.key, rule.line.value) for rule in rules)
        if content not in known:
            known[content] = len(self._tables)
            self._tables.append(rules)
            self._indexes.append(PathIndex([rule.pattern for rule in rules]))
        return known[content]

    def __bool__(self) -> bool:
        """Return whether there is any rule."""
        return bool(self._tables)

    def key(self, path: str) -> Key:
        """Return the number of the winning rule in each table for the canonical `path`, -1 for none."""
        return tuple([index.first(path) for index in self._indexes])

    def winners(self, key: Key) -> list[Winner]:
        """Return what binds each agent, in the order of the agents, for a `key` of this object."""
        found = []
        for tables, star, agents in self._bound:
            rules = [self._tables[table][key[table]] for table in tables if key[table] >= 0]
            found.append(Winner(agents, star, min(rules, key=lambda rule: rule.order, default=None)))
        return found


def access_rules(lines: Iterable[Line]) -> list[Rule]:
    """Return the Allow and Disallow rules (§2.2.2); Allow wins a tie; rules without a value say nothing."""
    rules = []
    for line in lines:
        if line.key not in (ALLOW, DISALLOW) or not line.value:
            continue
        value = line.value
        if line.key == DISALLOW:
            value = _rooted(value)
        rules.append(Rule(Pattern.parse(value), int(line.key == DISALLOW), line))
    return rules


def _rooted(value: str) -> str:
    """Return a Disallow path with the leading slash that the grammar demands and authors forget."""
    for scheme in ("http://", "https://"):
        if value.lower().startswith(scheme):
            return "/" + value[len(scheme) :].partition("/")[2]
    return value if value[0] in "/*" else "/" + value
