"""The terms of one RSL 1.0 licence document, judged for training (RSL-SPEC-1.0 §3).

Assay pays nobody, displays no credit and reports nothing, so a licence that asks for any of this is a refusal until
the operator has obtained it and registers the grant. In doubt rights are never widened (§3.1.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from filters.optout.base import Verdict
from filters.optout.patterns import Pattern

NAMESPACE = "https://rslstandard.org/rsl"
#: Octets of a document that are read; one that is longer is unreadable.
MAX_BYTES = 1024 * 1024
_MAX_CONTENTS = 5000
_TRAINING = frozenset({"all", "ai-all", "ai-train"})
#: Spellings of drafts and of tools: they can refuse and not permit.
_LEGACY = frozenset({"train-ai", "ai-training", "train"})
_LICENCE_PARTS = frozenset({"permits", "prohibits", "payment", "legal", "reporting"})
_SPLIT = re.compile(r"[\s,]+")


class NotRsl(Exception):
    """The octets are no RSL document; the message says why."""


@dataclass(frozen=True)
class Terms:
    """What one `content` element says: its `url` as written, the path pattern (None: all), verdict and reason."""

    url: str
    pattern: Pattern | None
    verdict: Verdict
    detail: str


def parse_rsl(body: bytes) -> list[Terms]:
    """Return the terms of each `content` in order. Raises `NotRsl`."""
    if len(body) > MAX_BYTES:
        raise NotRsl(f"larger than {MAX_BYTES} bytes")
    try:
        root = fromstring(body, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise NotRsl(f"no safe XML ({type(error).__name__})") from error
    contents = [found for found in root.iter() if _local(found) == "content" and _own(found)]
    if not (_local(root) == "rsl" and _own(root)) and not any(_proper(found) for found in contents):
        raise NotRsl("no RSL in it")
    if len(contents) > _MAX_CONTENTS:
        raise NotRsl(f"more than {_MAX_CONTENTS} content elements")
    return [_terms(found) for found in contents]


def _local(found: Element) -> str:
    return found.tag.rpartition("}")[2].lower() if isinstance(found.tag, str) else ""


def _own(found: Element) -> bool:
    """Return whether an element is RSL's, or has no namespace at all (a slip that may still refuse)."""
    return isinstance(found.tag, str) and (found.tag.startswith("{" + NAMESPACE) or not found.tag.startswith("{"))


def _proper(found: Element) -> bool:
    return isinstance(found.tag, str) and found.tag.startswith(f"{{{NAMESPACE}}}")


def _children(parent: Element, name: str) -> list[Element]:
    return [child for child in parent if _own(child) and _local(child) == name]


def _terms(content: Element) -> Terms:
    url = (content.get("url") or "").strip()
    judged = [_licence(licence, content) for licence in _children(content, "license")]
    verdict, detail = _together(judged)
    if verdict is Verdict.ALLOW and not _proper(content):
        verdict, detail = Verdict.UNKNOWN, "permits training, but outside RSL's namespace"
    return Terms(url, Pattern.parse(_path(url)) if url else None, verdict, detail)


def _path(url: str) -> str:
    """Return the path of a `url` attribute, wildcards kept."""
    found = re.match(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*", url)
    path = url[found.end() :] if found else url
    return path if path.startswith(("/", "*")) else "/" + path


def _together(judged: Iterable[tuple[int, Verdict, str]]) -> tuple[Verdict, str]:
    """Several licences are alternatives: a prohibition in one stands (§3.6), else the best of them counts."""
    _, verdict, detail = min(judged, default=(9, Verdict.UNKNOWN, "names no licence"))
    return verdict, detail


#: Order among the licences of one content.
_PROHIBITED, _GRANTED, _CONDITIONAL, _SILENT = range(4)


def _licence(licence: Element, content: Element) -> tuple[int, Verdict, str]:
    permits, prohibits = _tokens(licence, "permits"), _tokens(licence, "prohibits")
    if prohibits is not None and prohibits & (_TRAINING | _LEGACY):
        return _PROHIBITED, Verdict.DENY, "prohibits training"
    if permits is not None and not permits & _TRAINING:
        return _CONDITIONAL, Verdict.DENY, "permits other uses only, not training"
    condition = _condition(licence, content)
    if condition is not None:
        return _CONDITIONAL, Verdict.DENY, condition
    if permits is None:
        return _SILENT, Verdict.UNKNOWN, "says nothing of training"
    if any(_local(part) not in _LICENCE_PARTS or not _proper(part) for part in licence if _own(part)):
        return _SILENT, Verdict.UNKNOWN, "permits training, but holds elements that RSL does not know"
    return _GRANTED, Verdict.ALLOW, "permits training, free and without conditions"


def _tokens(licence: Element, name: str) -> frozenset[str] | None:
    """Return the usage tokens of all elements of that name, None without any; no `type` is read as usage."""
    stated = [part for part in _children(licence, name) if (part.get("type") or "usage").strip().lower() == "usage"]
    if not stated:
        return None
    words = (word for part in stated for word in _SPLIT.split("".join(part.itertext()).lower()))
    return frozenset(words) - {""}


def _condition(licence: Element, content: Element) -> str | None:
    """Return the condition that we cannot meet or judge, or None."""
    for payment in _children(licence, "payment"):
        kind = (payment.get("type") or "").strip().lower()
        if kind not in ("", "free"):
            return f"asks for {'credit' if kind == 'attribution' else f'payment ({kind[:40]})'}"
        if len(payment):  # a rate card, a price or a process of the publisher's own is not free
            return "asks for a licence on the publisher's terms"
    if (content.get("server") or "").strip():
        return "asks for a token of a licence server"
    if _children(licence, "reporting"):
        return "asks for reports of use"
    limits = [part for name in ("permits", "prohibits") for part in _children(licence, name)]
    if any((part.get("type") or "usage").strip().lower() != "usage" for part in limits):
        return "is limited to some users or places, which cannot be judged here"
    return None
