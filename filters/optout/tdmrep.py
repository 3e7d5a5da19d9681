"""TDM Reservation Protocol: `/.well-known/tdmrep.json`, header fields and HTML meta elements.

A present value of a later place supersedes that of an earlier one (file, header, meta), absence never resets. Only 0
and 1 are values; anything else is a protocol error and counts as unset, but `"1"` and `1.0` are read as the refusal
that they are meant to be. The report says both "most specific" and "first in sequence": the first match decides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from filters.json_text import read_json
from filters.optout.base import Document, Evidence, Signal, Verdict, header_values
from filters.optout.pages import evidence_tags
from filters.optout.patterns import PathIndex, Pattern
from filters.optout.readers import Constant, Key, Reader, Voice, ask, compiled, superseded, voice_of

NAME = "tdmrep"
SPEC = "W3C CG TDMRep 2024-05-10"
PATH = "/.well-known/tdmrep.json"
#: Octets of a file that are read; one that is longer is unreadable.
MAX_BYTES = 2 * 1024 * 1024
_MAX_RULES = 50_000
_ORIGIN = re.compile(r"https?://[^/]*", re.IGNORECASE)
_PLAIN = (str, int, float, bool, type(None))
_VALUES = {"1": Verdict.DENY, "0": Verdict.ALLOW}


def file_verdict(value: object) -> Verdict:
    """Return the verdict of a JSON `tdm-reservation`: the integers 1 and 0, and other spellings of 1."""
    if isinstance(value, bool) or value is None:  # True == 1, but `true` is a protocol error
        return Verdict.UNKNOWN
    if isinstance(value, int):
        return _VALUES.get(str(value), Verdict.UNKNOWN) if value in (0, 1) else Verdict.UNKNOWN
    return Verdict.DENY if value == 1.0 or (isinstance(value, str) and value.strip() == "1") else Verdict.UNKNOWN


def text_verdict(values: Iterable[str]) -> Verdict:
    """Return the verdict of header fields or meta contents: any 1 refuses, nothing but 0 allows."""
    found = [part.strip().strip("\"'") for value in values for part in value.split(",")]
    if "1" in found:
        return Verdict.DENY
    return Verdict.ALLOW if found and set(found) == {"0"} else Verdict.UNKNOWN


class _FileReader:
    """The rules of one file, the first match decides."""

    def __init__(self, rules: list[dict[str, Any]], voice: Voice, whole: bool) -> None:
        self._rules = [rule for rule in rules if isinstance(rule, dict) and isinstance(rule.get("location"), str)]
        self._verdicts = [file_verdict(rule.get("tdm-reservation")) for rule in self._rules]
        if not whole:  # a lone object where an array must be: nothing to rely upon, but a refusal is one
            self._verdicts = [v if v is Verdict.DENY else Verdict.UNKNOWN for v in self._verdicts]
        patterns = zip(self._rules, self._verdicts, strict=True)
        self._index = PathIndex([_pattern(rule["location"], verdict) for rule, verdict in patterns])
        self._voice = voice
        # what such a rule reserves cannot be told
        placeless = [rule for rule in rules if isinstance(rule, dict) and not isinstance(rule.get("location"), str)]
        lost = any(file_verdict(rule.get("tdm-reservation")) is Verdict.DENY for rule in placeless)
        self._lost = (voice.unreadable(f"A rule of {PATH} reserves rights and names no location."),) if lost else ()

    def key(self, path: str) -> Key:
        """Return the number of the first rule that matches."""
        return (self._index.first(path),)

    def signals(self, key: Key) -> tuple[Signal, ...]:
        """Return what that rule says, and that the file is not whole where one that reserves has no location."""
        place = key[0]
        if place < 0:
            return self._lost
        verdict, rule = self._verdicts[place], self._rules[place]
        policy = rule.get("tdm-policy")
        stated = {name: rule[name] for name in ("location", "tdm-reservation", "tdm-policy") if name in rule}
        raw = json.dumps({name: value if isinstance(value, _PLAIN) else "…" for name, value in stated.items()})
        said = self._voice.say(verdict, raw, _sentence(verdict, f"Rule {place + 1} of {PATH}", policy))
        return (said,) if verdict is Verdict.DENY else (said, *self._lost)


def _pattern(location: str, verdict: Verdict) -> Pattern:
    """Return a location's pattern; one that refuses may be a whole URL, or lack its leading slash."""
    if verdict is Verdict.DENY and not location.startswith(("/", "*")):
        location = "/" + _ORIGIN.sub("", location).removeprefix("/")
    return Pattern.parse(location)


def _sentence(verdict: Verdict, where: str, policy: object) -> str:
    words = {
        Verdict.DENY: "reserves text and data mining",
        Verdict.ALLOW: "states that rights are not reserved",
        Verdict.UNKNOWN: "has no valid value: unset",
    }
    terms = f"; terms at {policy}" if isinstance(policy, str) and policy else ""
    return f"{where} {words[verdict]}{terms}."


def _read_file(voice: Voice) -> Reader:
    body = voice.document.body
    if len(body) > MAX_BYTES:
        return Constant((voice.unreadable(f"{PATH} is larger than {MAX_BYTES} bytes."),))
    try:
        content = read_json(body)
    except ValueError:
        return Constant((voice.unreadable(f"{PATH} is no JSON.", body[:200].decode("utf-8", "replace")),))
    whole = isinstance(content, list)
    rules = content if isinstance(content, list) else [content]
    if len(rules) > _MAX_RULES or not (whole or (isinstance(content, dict) and "location" in content)):
        return Constant((voice.unreadable(f"{PATH} holds no array of rules.", body[:200].decode("utf-8", "replace")),))
    return _FileReader(rules, voice, whole)


def same_origin(left: str | None, right: str | None) -> bool:
    """Return whether two URLs are of one scheme, host and port; also where either is not known."""
    if not left or not right:
        return True
    try:
        return urlsplit(left.lower())[:2] == urlsplit(right.lower())[:2]
    except ValueError:
        return False


@dataclass(frozen=True)
class TdmRepChannel:
    """Reads file, header and meta, and says which of them counts."""

    name: str = NAME
    spec: str = SPEC

    def compile(self, document: Document) -> Reader:
        """Return the reader of one tdmrep.json."""
        return compiled(Voice(self.name, self.spec, document), PATH, _read_file)

    def read(self, evidence: Evidence) -> list[Signal]:
        """Return the signals of all places; of the present ones only the last counts, the others are `unknown`."""
        found: list[Signal] = []
        if evidence.tdmrep is not None and evidence.url is not None:
            found += ask(self.compile(evidence.tdmrep), evidence.url)
        for place, later in (("the header tdm-reservation", self._header), ("the page's meta element", self._meta)):
            said = later(evidence)
            if said and said[0].verdict is not Verdict.UNKNOWN:
                found = [superseded(signal, place) for signal in found]
            found += said
        return found

    def _header(self, evidence: Evidence) -> list[Signal]:
        values = header_values(evidence.headers, "tdm-reservation")
        if not values:
            return []
        policy = ", ".join(header_values(evidence.headers, "tdm-policy"))
        verdict = text_verdict(values)
        voice = voice_of(self.name, self.spec, f"{evidence.url or 'answer'} (header tdm-reservation)", evidence)
        raw = "; ".join([f"tdm-reservation: {', '.join(values)}", *([f"tdm-policy: {policy}"] if policy else [])])
        return [voice.say(verdict, raw, _sentence(verdict, "The header tdm-reservation", policy))]

    def _meta(self, evidence: Evidence) -> list[Signal]:
        if evidence.page is None:
            return []
        metas = [tag for tag in evidence_tags(evidence) if tag.name == "meta"]
        stated = [tag for tag in metas if tag.get("name").lower() == "tdm-reservation"]
        if not stated:
            return []
        policy = next((tag.get("content") for tag in metas if tag.get("name").lower() == "tdm-policy"), "")
        verdict = text_verdict(tag.get("content") for tag in stated)
        where = "The page's meta element"
        if verdict is Verdict.ALLOW and not self._may_allow(evidence, all(tag.in_head for tag in stated)):
            verdict, where = Verdict.UNKNOWN, "A meta element outside the head or of another origin than the picture"
        raw = "; ".join(f'<meta name="tdm-reservation" content="{tag.get("content")}">' for tag in stated[:5])
        detail = _sentence(verdict, where, policy)
        return [Voice(self.name, self.spec, evidence.page).say(verdict, raw, detail)]

    def _may_allow(self, evidence: Evidence, in_head: bool) -> bool:
        """Return whether a page may speak for the picture: its head, and the picture's own origin."""
        return in_head and evidence.page is not None and same_origin(evidence.url, evidence.page.url)
