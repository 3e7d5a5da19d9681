"""One parse of robots.txt (RFC 9309) for all channels that live in it.

Kept are all lines, the unknown ones too: Content-Usage, Content-Signal and License belong to other specifications.

Where the text is loose, this reading takes a side:

- Only rules end a run of `User-agent` lines: Allow, Disallow, Content-Usage, Content-Signal and Crawl-delay (which
  nobody means for the agents of the next group). Any other line does not disturb the grouping (§2.2.4).
- Common misspellings of `Disallow` and `User-agent` and a missing colon are read as they were meant.
- A file that is cut at the limit loses its last line, which may be half a rule. One that has no line end up to
  there cannot be read: it shuts out everybody, as one that cannot be had does (§2.3.1.4).
- A `User-agent` value names the crawler by its leading token (`GPTBot/1.1` is GPTBot), or by the whole value for
  names with a blank. Digits belong to the name, or `img2dataset` would be `img`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

#: Octets of a robots.txt that are read; RFC 9309 §2.5 asks for at least 500 KiB.
MAX_BYTES = 1024 * 1024

AGENT = "user-agent"
ALLOW = "allow"
DISALLOW = "disallow"
USAGE = "content-usage"
SIGNAL = "content-signal"
LICENSE = "license"
DELAY = "crawl-delay"

_RULES = frozenset({ALLOW, DISALLOW, USAGE, SIGNAL, DELAY})
_SPELLINGS = {
    "useragent": AGENT,
    "user agent": AGENT,
    "dissallow": DISALLOW,
    "dissalow": DISALLOW,
    "disalow": DISALLOW,
    "diasllow": DISALLOW,
    "disallaw": DISALLOW,
    "crawl delay": DELAY,
    "crawldelay": DELAY,
}
_KNOWN = {**_SPELLINGS, **{key: key for key in (AGENT, *sorted(_RULES))}}
_LINE_ENDS = re.compile(r"\r\n|\r|\n")
_TOKEN = re.compile(r"[^\s/;(]+")


@dataclass(frozen=True, slots=True)
class Line:
    """One line: key in its canonical spelling, value, number from 1, and the text as written, without comment."""

    key: str
    value: str
    number: int
    raw: str


@dataclass(frozen=True)
class Group:
    """Lines for some agents; `names` are their lower-case names, `*` for all others."""

    names: frozenset[str]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class RobotsFile:
    """A whole file: its groups in order, and the lines before the first of them."""

    groups: tuple[Group, ...] = ()
    outside: tuple[Line, ...] = ()
    #: Positions of the groups of each name.
    places: dict[str, tuple[int, ...]] = field(default_factory=dict, compare=False)

    def named(self, token: str) -> tuple[int, ...]:
        """Return the positions of the groups that name the product token (case-insensitive, §2.2.1)."""
        return self.places.get(token.lower(), ())

    def select(self, token: str) -> tuple[int, ...]:
        """Return the positions of all groups that bind the token: those that name it, else those of `*`."""
        return self.named(token) or self.places.get("*", ())

    def lines_for(self, token: str, key: str) -> list[Line]:
        """Return the lines with that key in the groups that bind the token."""
        return [line for place in self.select(token) for line in self.groups[place].lines if line.key == key]


#: What a file says that cannot be read.
_SHUT = RobotsFile(
    (Group(frozenset({"*"}), (Line(DISALLOW, "/", 1, f"(not readable: no line end in {MAX_BYTES:,} octets)"),)),),
    (),
    {"*": (0,)},
)


def decoded(body: bytes, limit: int = MAX_BYTES) -> str | None:
    """Return the text of a policy file: UTF-8 with stray octets kept as surrogates, UTF-16 where a mark says so.

    None where it is over the limit and has no line end (LF or CR) below it: nothing of it can be read.
    """
    if len(body) > limit:  # a rule that is cut in its middle would be another rule
        end = max(body.rfind(b"\n", 0, limit), body.rfind(b"\r", 0, limit))
        if end < 0:
            return None
        body = body[:end]
    if body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return body.decode("utf-16", "replace")
    if b"\0" in body[:64]:  # UTF-16 without its mark; the words that matter are ASCII
        body = body.replace(b"\0", b"")
    return body.decode("utf-8", "surrogateescape").lstrip("\ufeff")


@lru_cache(maxsize=4)
def parse_robots(body: bytes) -> RobotsFile:
    """Read a robots.txt; every sequence of octets is one. The last files are remembered (a pure function)."""
    groups: list[tuple[set[str], list[Line]]] = []
    outside: list[Line] = []
    in_names = False
    whole = decoded(body)
    if whole is None:
        return _SHUT
    for number, text in enumerate(_LINE_ENDS.split(whole), start=1):
        line = _read_line(text, number)
        if line is None:
            continue
        if line.key == AGENT:
            if not in_names:
                groups.append((set(), []))
                in_names = True
            groups[-1][0].update(_names(line.value))
            continue
        (groups[-1][1] if groups else outside).append(line)
        in_names = in_names and line.key not in _RULES
    done = tuple(Group(frozenset(names), tuple(lines)) for names, lines in groups)
    gathered: dict[str, list[int]] = {}
    for place, group in enumerate(done):
        for name in group.names:
            gathered.setdefault(name, []).append(place)
    return RobotsFile(done, tuple(outside), {name: tuple(found) for name, found in gathered.items()})


def _read_line(text: str, number: int) -> Line | None:
    text = text.split("#", 1)[0].strip()
    if not text:
        return None
    head, colon, value = text.partition(":")
    key = head.strip().lower()
    if colon and (key in _KNOWN or not value or value[0].isspace()):
        return Line(_KNOWN.get(key, key), value.strip(), number, text)
    # a known key without its colon: `Disallow /a`, `User agent GPTBot`
    words = text.split(None, 2)
    for count in (1, 2):
        spelled = _KNOWN.get(" ".join(words[:count]).lower())
        if spelled is not None:
            return Line(spelled, text.split(None, count)[count] if len(words) > count else "", number, text)
    return Line(key, value.strip(), number, text) if colon else None


def _names(value: str) -> set[str]:
    """Return the lower-case names that a `User-agent` value stands for; none for an empty value."""
    if "," in value:  # `GPTBot, CCBot` on one line
        return {name for part in value.split(",") for name in _names(part)}
    value = value.strip().lower()
    if not value:
        return set()
    if value[0] == "*" and (len(value) == 1 or value[1].isspace()):
        return {"*"}
    token = _TOKEN.match(value)
    names = {value, token.group() if token else value}
    # `GPTBot*` is a common slip: there are no wildcards in names
    return (names | {name.replace("*", "") for name in names}) - {""}


def crawl_delay(file: RobotsFile, token: str) -> float | None:
    """Return the longest `Crawl-delay` in seconds for the token, or None; negative and infinite ones are ignored."""
    found = []
    for line in file.lines_for(token, DELAY):
        try:
            seconds = float(line.value[:20])
        except ValueError:
            continue
        if 0 <= seconds < float("inf"):
            found.append(seconds)
    return max(found, default=None)
