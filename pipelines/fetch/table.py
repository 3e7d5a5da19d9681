"""Rows of a downloads part: from outcomes, and back again."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pyarrow as pa

from filters.optout.base import Evidence, Headers, Signal, clipped
from filters.reasons import BY_CODE, Reason
from pipelines.fetch.download import Outcome
from pipelines.fetch.evidence import EvidenceStore, Policy, policy_of
from pipelines.fetch.failures import STATUS, Failure
from pipelines.fetch.retries import may_pass
from pipelines.run.recipe import FieldNames

#: Classes that `assay ingest --retry` knows.
RETRIES = ("network", "http")

_LISTED = ("row", "key", "url", "page_url", "columns")


def listed_failure(row: dict[str, Any]) -> Outcome | None:
    """Return the outcome of a list row that could not be read in the first place, None for a readable one."""
    if row["failure"] is None:
        return None
    return Outcome(BY_CODE[row["failure"]], row["failure_detail"], None, None, 0, (), None, (), ())


def denied(reason: Reason) -> Outcome:
    """Return the outcome of a row that the registry opted out before anything was asked."""
    return Outcome(reason, "named by the opt-out registry; nothing was asked for", None, None, 0, (), None, (), ())


def listed_samples(rows: list[dict[str, Any]], fields: FieldNames) -> pa.Table:
    """Return list rows as a samples table that the registry can be asked about; the uid is the row's place in it."""
    columns = [json.loads(row["columns"]) if row["columns"] else {} for row in rows]
    texts = {
        "creator": [_text(found.get(fields.creator)) for found in columns],
        "caption": [_text(found.get(fields.caption)) for found in columns],
        "url": [row["url"] for row in rows],
        "page_url": [row["page_url"] for row in rows],
    }
    nothing: list[str | None] = [None] * len(rows)
    every = {**texts, "domain": nothing, "sha256": nothing, "uid": [str(at) for at in range(len(rows))]}
    return pa.table({name: pa.array(values, pa.string()) for name, values in every.items()})


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def download_row(listed: dict[str, Any], outcome: Outcome) -> dict[str, Any]:
    """Return the row of a downloads part for a row of the list and what came of it."""
    if outcome.reason is Reason.KNOWN_HARMFUL:
        listed = {**dict.fromkeys(listed), "row": listed["row"], "key": f"row-{listed['row']:08d}"}
    last = _origin(outcome.final_url)
    hashes = {p["kind"]: p["sha256"] for p in outcome.policies if last and _origin(str(p["url"])) == last}
    return {
        **{name: listed[name] for name in _LISTED},
        "final_url": outcome.final_url,
        "status": STATUS[outcome.reason],
        "reason": outcome.reason.value if outcome.reason else None,
        "detail": clipped(outcome.detail)[:500] if outcome.detail else None,
        "http_status": outcome.http_status,
        "attempts": outcome.attempts,
        "headers": json.dumps(outcome.headers) if outcome.headers else None,
        "fetched_at": outcome.fetched_at,
        "sha256": outcome.sha256,
        "nbytes": outcome.nbytes if outcome.sha256 else None,
        "robots_sha256": hashes.get("robots"),
        "tdmrep_sha256": hashes.get("tdmrep"),
        "ai_txt_sha256": hashes.get("ai_txt"),
        "policies": list(outcome.policies),
        "signals": [_signal_row(signal) for signal in outcome.signals],
    }


def _origin(url: str | None) -> str:
    return "/".join(url.split("/", 3)[:3]) if url else ""


def _signal_row(signal: Signal) -> dict[str, Any]:
    return {
        "channel": signal.channel,
        "source": clipped(signal.source),
        "raw": clipped(signal.raw),
        "verdict": signal.verdict.value,
        "spec": signal.spec,
        "detail": clipped(signal.detail),
        "unreadable": signal.unreadable,
        "fetched_at": signal.fetched_at,
        "evidence_sha256": signal.evidence_sha256,
    }


def retried(row: dict[str, Any], which: str) -> bool:
    """Tell whether `--retry` of that class asks for a row again: only for what may have passed since."""
    if row["reason"] is None:
        return False
    reason = BY_CODE[row["reason"]]
    if which == "network":
        return reason in (Reason.NETWORK_ERROR, Reason.FETCH_TIMEOUT, Reason.OPT_OUT_UNREADABLE)
    return reason is Reason.HTTP_ERROR and may_pass(Failure(reason, "", row["http_status"]))


def headers_of(row: dict[str, Any]) -> Headers:
    """Return the header fields of the last answer."""
    pairs = json.loads(row["headers"]) if row["headers"] else []
    return tuple((str(name), str(value)) for name, value in pairs)


def evidence_of(row: dict[str, Any], evidence: EvidenceStore) -> Evidence:
    """Return what was captured for a row as the channels read it: the last host's documents, headers, page.

    A document whose body is gone counts as not captured.
    """
    last = _origin(row["final_url"] or row["url"])
    found: list[Policy] = []
    for facts in row["policies"] or []:
        if facts["kind"] in ("page", "rsl") or _origin(facts["url"]) == last:
            policy = policy_of(facts, evidence)
            found += [policy] if policy else []
    by_kind = {policy.kind: policy.document for policy in found}
    stamp: datetime | None = row["fetched_at"]
    return Evidence(
        url=row["final_url"] or row["url"],
        headers=headers_of(row),
        fetched_at=stamp,
        robots=by_kind.get("robots"),
        tdmrep=by_kind.get("tdmrep"),
        ai_txt=by_kind.get("ai_txt"),
        rsl=tuple(policy.document for policy in found if policy.kind == "rsl"),
        page=by_kind.get("page"),
    )
