"""Evidence on disk: bodies of policy documents once by their hash, and what each address last answered.

    policies/<sha256>                  a body, whole, as it came
    policies/latest/<2 hex>/<hash>.json   address, state, HTTP status, time and hash of the newest answer

The second kind lets other parts, processes and later runs reuse an answer while it is fresh. What a part
relied on stands in its own downloads part, so a newer answer takes nothing away.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property
from hashlib import sha256

from filters.optout.base import Document, Fetched
from pipelines.run.storage import Store

FOLDER = "policies"


@dataclass(frozen=True)
class Policy:
    """A policy document with its kind (`robots`, `tdmrep`, `ai_txt`, `rsl`, `page`), and why it is missing."""

    kind: str
    document: Document
    error: str | None = None

    @cached_property
    def facts(self) -> dict[str, object]:
        """What a downloads row keeps of it: everything but the body, whose hash stands for it."""
        document = self.document
        return {
            "kind": self.kind,
            "url": document.url,
            "state": document.state.value,
            "http_status": document.http_status,
            "fetched_at": document.fetched_at.isoformat() if document.fetched_at else None,
            "sha256": document.sha256 if document.state is Fetched.FOUND else None,
            "error": self.error,
        }


@dataclass(frozen=True)
class EvidenceStore:
    """The `policies` folder of a run."""

    store: Store

    def keep(self, policy: Policy) -> None:
        """Write a document's body, once, and note it as the newest answer of its address."""
        document = policy.document
        if document.state is Fetched.FOUND:
            name = body_name(str(policy.facts["sha256"]))
            if self.store.size(name) != len(document.body):
                self.store.write(name, document.body)
        if document.state is not Fetched.UNREACHABLE:
            self.store.write(_latest(policy.kind, document.url), json.dumps(policy.facts, sort_keys=True).encode())

    def recall(self, kind: str, url: str, most: timedelta) -> Policy | None:
        """Return the newest answer of an address if it is at most that old and its body is whole."""
        name = _latest(kind, url)
        try:
            if not self.store.exists(name):
                return None
            facts = json.loads(self.store.read(name))
            found = policy_of(facts, self)
        except (ValueError, KeyError, TypeError):
            return None
        fetched = found.document.fetched_at if found else None
        if found is None or fetched is None or found.document.url != url:
            return None
        age = datetime.now(timezone.utc) - fetched
        return found if timedelta(0) <= age < most else None

    def body(self, digest: str) -> bytes | None:
        """Return a kept body, None where it is gone or is not what its name says."""
        name = body_name(digest)
        if not self.store.exists(name):
            return None
        body = self.store.read(name)
        return body if sha256(body).hexdigest() == digest else None


def policy_of(facts: dict[str, object], evidence: EvidenceStore) -> Policy | None:
    """Return the policy that `facts` of a downloads row describe, with its body; None where the body is gone.

    Raises ValueError, KeyError or TypeError for what is no such description.
    """
    state = Fetched(facts["state"])
    body = evidence.body(str(facts["sha256"])) if state is Fetched.FOUND else b""
    if body is None:
        return None
    status, stamp, error = facts["http_status"], facts["fetched_at"], facts["error"]
    document = Document(
        url=str(facts["url"]),
        body=body,
        state=state,
        fetched_at=datetime.fromisoformat(str(stamp)) if stamp else None,
        http_status=status if isinstance(status, int) else None,
    )
    return Policy(str(facts["kind"]), document, None if error is None else str(error))


def body_name(digest: str) -> str:
    """Return the name of a body's file in the run."""
    return f"{FOLDER}/{digest}"


def _latest(kind: str, url: str) -> str:
    digest = sha256(f"{kind} {url}".encode("utf-8", "backslashreplace")).hexdigest()
    return f"{FOLDER}/latest/{digest[:2]}/{digest}.json"
