"""Facts of a run's audit and gates, as its manifest and `audit/audit.json` state them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from audit import document as audits
from audit.documents.facts import Audit, Fact, Facts, Gate
from audit.findings import Finding, State
from audit.groups import NotMeasured
from pipelines.run.directory import Run
from pipelines.run.gates import standing

DOCUMENT = "audit/audit.json"
#: Sentences of the audit that a document repeats, of each kind; all are in audit.json.
MOST = 40


def audit_fact(run: Run, body: Mapping[str, Any]) -> Fact[Audit]:
    """Return what the audit says, unknown where the manifest names none. Raises `BadInput` for a broken file."""
    if DOCUMENT not in body["files"] or not run.store.exists(DOCUMENT):
        if run.store.exists(DOCUMENT):
            return Fact(None, DOCUMENT, "the audit that is there is not part of the manifest")
        return Facts().audit
    found = audits.read(run.store.read(DOCUMENT), f"{run.store.url}/{DOCUMENT}")
    items = [(section.title, item) for section in found.sections for item in section.findings]
    sure = [_said(title, item) for title, item in items if item.state is State.FOUND]
    rests = [item.words for _, item in items if item.metric == "coverage" and item.value is not None]
    if found.unread_captions is not None:
        rests.append(found.unread_captions.words)
    missing = sum(item.state is State.NOT_MEASURED for _, item in items)
    nobody = _by_reason(found.not_measured)
    return Fact(Audit(_cut(sure), nobody, len(items) - missing, missing, len(sure), tuple(rests)), DOCUMENT)


def _by_reason(items: Iterable[NotMeasured]) -> tuple[str, ...]:
    """Return what nobody measures, one sentence a reason."""
    reasons: dict[str, list[str]] = {}
    for item in items:
        reasons.setdefault(item.why, []).append(item.what)
    return tuple(f"{', '.join(what)}: {why}" for why, what in reasons.items())


def _said(title: str, item: Finding) -> str:
    """Return a finding's sentence below its section's title, with the rule where the sentence does not name it."""
    reason = item.subject.get("reason")
    rule = f" ({'all rules' if reason == 'chain' else reason})" if reason and reason not in item.words else ""
    return f"{title}{rule}: {item.words}"


def _cut(sentences: list[str]) -> tuple[str, ...]:
    more = len(sentences) - MOST
    return (*sentences[:MOST], *((f"{more:,} more in {DOCUMENT}",) if more > 0 else ()))


def gate_facts(content: Mapping[str, Any]) -> tuple[Gate, ...]:
    """Return the manifest's gates, those declared and never measured among them."""
    entries = list(content.get("gates") or [])
    named = {entry["name"] for entry in entries}
    return tuple(_gate(entry) for entry in [*entries, *(e for e in standing(content) if e["name"] not in named)])


def _gate(entry: Mapping[str, Any]) -> Gate:
    waiver, lapsed = entry.get("waiver") or {}, entry.get("lapsed") or {}
    words = str(entry.get("words") or "")
    if lapsed:
        words += f"; a waiver by {lapsed.get('by')} no longer holds: {lapsed.get('lapsed')}"
    state = entry.get("state") or ("pass" if entry["passed"] else "not measurable")
    return Gate(entry["name"], state, words, *(str(waiver.get(key, "")) for key in ("by", "why", "at")))
