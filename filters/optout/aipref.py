"""IETF AI preferences: `Content-Usage` as header field and as robots.txt rule (vocab-08, attach-05, RFC 9651).

Only `train-ai` can allow. Category names of earlier drafts, and broader ones, can only refuse. What is no valid
dictionary, or no `y` or `n`, says nothing: that is the drafts' own rule (vocab-08 §6.5), not a default of ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import http_sf

from filters.optout.agents import obeyed
from filters.optout.base import Document, Evidence, Fetched, Signal, Verdict, header_values
from filters.optout.readers import NOTHING, Reader, Voice, ask, compiled, voice_of
from filters.optout.robots import USAGE, parse_robots
from filters.optout.robots_statements import Kind, StatementReader

NAME = "content-usage"
SPEC = "draft-ietf-aipref-vocab-08, draft-ietf-aipref-attach-05"
CATEGORY = "train-ai"
#: Names of the training category, or of one that holds it, in drafts 00 to 05, and `ai-use` of today.
LEGACY = ("train-genai", "ai-use", "bots", "all", "tdm", "ai", "genai")
#: A member of a dictionary, known to be one, whose value is the token `n`.
_REFUSAL = re.compile(r"[ \t]*([a-z0-9_.*-]+)=n[ \t]*(?:;|\Z)")
_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|[(),]|[^"(),]+')
#: Longest statement that is read, in characters.
MAX_LENGTH = 16_384


def preferences(statement: str) -> dict[str, Verdict]:
    """Return the stated preference of each category: `y` allows, `n` refuses; empty where it is no dictionary.

    Of equal keys the last counts (RFC 9651 §4.2), but any refusal stands: a cache may have joined the fields of
    several parties into one line.
    """
    found = _stated(statement)
    if found is None:
        return {}
    refusals = (_REFUSAL.match(member) for member in _members(statement))
    return {**found, **{refusal[1]: Verdict.DENY for refusal in refusals if refusal}}


def _members(statement: str) -> list[str]:
    """Return the members of a dictionary: what stands between commas outside strings and inner lists."""
    members, depth = [""], 0
    for piece in _PIECE.findall(statement):
        depth += (piece == "(") - (piece == ")")
        if piece == "," and not depth:
            members.append("")
        else:
            members[-1] += piece
    return members


def _stated(statement: str) -> dict[str, Verdict] | None:
    """Return the preferences of a dictionary as RFC 9651 reads it; None where it is none."""
    if len(statement) > MAX_LENGTH:
        return None
    try:
        parsed = http_sf.parse(statement.strip(" \t").encode("ascii"), tltype="dictionary")
    # the parser raises plain ValueError, OverflowError and others for some dates and numbers out of range
    except (http_sf.StructuredFieldError, ValueError, ArithmeticError, LookupError, TypeError):
        return None
    found = {}
    for key, member in parsed.items():
        value = member[0] if isinstance(member, tuple) else member
        if isinstance(value, http_sf.Token) and str(value) in ("y", "n"):
            found[key] = Verdict.ALLOW if str(value) == "y" else Verdict.DENY
    return found


def judge(statement: str) -> Verdict:
    """Return what one statement says about training: any refusal, else `train-ai=y`, else unknown."""
    stated = preferences(statement)
    if Verdict.DENY in (stated.get(category) for category in (CATEGORY, *LEGACY)):
        return Verdict.DENY
    return stated.get(CATEGORY, Verdict.UNKNOWN)


USAGE_KIND = Kind(USAGE, "Content-Usage", judge)


def judge_fields(values: list[str]) -> Verdict:
    """Return what all `Content-Usage` fields of one answer say.

    They are one dictionary (RFC 9651 §4.2), but several fields may come from several parties: one that is no
    dictionary does not undo the refusal in another.
    """
    if any(judge(value) is Verdict.DENY for value in values):
        return Verdict.DENY
    return judge(", ".join(values))


@dataclass(frozen=True)
class ContentUsageChannel:
    """Reads the header fields of the picture's answer and the robots.txt rules, for `agents`, the own token first."""

    agents: tuple[str, ...] = field(default_factory=obeyed)
    name: str = NAME
    spec: str = SPEC

    def compile(self, document: Document) -> Reader:
        """Return the reader of one robots.txt. An unreachable one is the matter of the robots channel."""
        if document.state is not Fetched.FOUND:
            return NOTHING
        return compiled(Voice(self.name, self.spec, document), "robots.txt", self._rules)

    def _rules(self, voice: Voice) -> Reader:
        reader = StatementReader(parse_robots(voice.document.body), self.agents, voice, USAGE_KIND)
        return reader if reader else NOTHING

    def headers(self, evidence: Evidence) -> list[Signal]:
        """Return what the answer's `Content-Usage` fields say, as one signal."""
        values = header_values(evidence.headers, "content-usage")
        if not values:
            return []
        verdict = judge_fields(values)
        words = {Verdict.DENY: "refuses", Verdict.ALLOW: "permits", Verdict.UNKNOWN: "says nothing of"}
        voice = voice_of(self.name, self.spec, f"{evidence.url or 'answer'} (header Content-Usage)", evidence)
        return [voice.say(verdict, ", ".join(values), f"The header Content-Usage {words[verdict]} training.")]

    def read(self, evidence: Evidence) -> list[Signal]:
        """Return the signals of robots.txt and of the header."""
        robots = evidence.robots
        told = ask(self.compile(robots), evidence.url) if robots is not None and evidence.url is not None else []
        return told + self.headers(evidence)
