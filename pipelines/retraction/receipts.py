"""Receipts: one for each request, signed, telling what matched, where it was, who had seen it, and what was done.

A receipt holds no picture and no path of the machine beyond the run's own names, so that it can be handed to
whoever asked.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from audit.compliance import Problem
from filters.errors import BadInput
from pipelines.run.manifest import canonical
from pipelines.run.signing import check, signature
from pipelines.run.storage import Store

FORMAT = 1
FOLDER = "receipts"


@dataclass(frozen=True)
class Found:
    """One matched sample: what it is, how it matched, where it was, who had it."""

    uid: str
    sha256: str | None
    url: str | None
    creator: str | None
    method: str
    detail: str
    decision_before: str
    held_by: tuple[str, ...]
    versions: tuple[str, ...]
    followed_by: tuple[str, ...]

    def body(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "uid": self.uid,
            "sha256": self.sha256,
            "url": self.url,
            "creator": self.creator,
            "matched_by": self.method,
            "detail": self.detail,
            "before": self.decision_before,
            "removed_from": list(self.held_by),
            "dataset_versions_that_held_it": list(self.versions),
            "followed_by": list(self.followed_by),
        }


def receipt_name(entry: int) -> str:
    """Return the file name of the receipt for a registry entry."""
    return f"{FOLDER}/entry-{entry:08d}.json"


def write_receipt(store: Store, body: dict[str, Any], key: Ed25519PrivateKey) -> str:
    """Sign and write one receipt; return its name."""
    name = receipt_name(int(body["request"]["entry"]))
    signed = {"receipt": body, "signature": signature(canonical(body), key)}
    store.write(name, json.dumps(signed, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n")
    return name


def read_receipt(data: bytes, name: str) -> dict[str, Any]:
    """Return a receipt file's content. Raises `BadInput`."""
    try:
        signed: dict[str, Any] = json.loads(data)
        if signed["receipt"]["format"] != FORMAT:
            raise BadInput(f"{name}: receipt format {signed['receipt']['format']}, this Assay reads {FORMAT}")
        signed["signature"]["signature"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BadInput(f"{name}: not a receipt") from None
    return signed


def verify_receipt(data: bytes, name: str, trusted: Ed25519PublicKey | None) -> tuple[str, list[Problem]]:
    """Return the state of a receipt's signature (`valid`, `trusted`, `invalid`) and what is wrong."""
    signed = read_receipt(data, name)
    return check(canonical(signed["receipt"]), signed["signature"], trusted, "the receipt")
