"""Content credentials: the C2PA manifest store of a picture, read without any network.

Only files whose bytes hold a manifest store reach the C2PA library; all others cost one search.
"""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import c2pa

from filters.errors import BadInput, first_line
from filters.optout.base import clipped
from filters.optout.embedded import Embedded
from filters.optout.xmp import DCTERMS

#: Media types that the library is asked to read.
_MEDIA = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
}

#: Most characters of the library's report that are parsed. Reports of real files have under 1 MB.
MAX_REPORT = 16 << 20

#: Most manifests of one store that are looked at.
MAX_MANIFESTS = 256

#: How an ingredient relates to a picture that still shows it (C2PA 2.2); `inputTo` does not.
_SHOWN = ("parentOf", "componentOf")


@dataclass(frozen=True)
class Manifest:
    """One manifest: label, whether it is the active one, whether its picture is seen in this one, its assertions."""

    label: str
    active: bool
    in_picture: bool
    assertions: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Credentials:
    """What the store says. `state` is Trusted, Valid, Invalid, Unreadable or Remote; `evidence` the store's bytes.

    Valid means intact and signed by anyone; Trusted by one of the anchors that were given.
    """

    state: str
    evidence: bytes
    manifests: tuple[Manifest, ...] = ()
    failures: tuple[str, ...] = ()
    problem: str | None = None

    @property
    def intact(self) -> bool:
        """Tell whether signature and hashes hold, whoever signed."""
        return self.state in ("Valid", "Trusted")


def read_credentials(image: bytes | None, embedded: Embedded, anchors: str = "") -> Credentials | None:
    """Return the picture's credentials, None where it has none. Never raises for what the bytes contain;
    `BadInput` for anchors that are no certificates.

    `anchors` are the PEM certificates of trusted issuers. A manifest that stands elsewhere is never fetched.
    """
    if image and embedded.credentials is not None:
        return _read_store(image, embedded, anchors)
    # A pointer into the file itself whose store is gone was left behind by a program that removed the store.
    for packet, statement in embedded.values(frozenset({DCTERMS}), "provenance"):
        if statement.value.lower().startswith(("http:", "https:")):
            problem = clipped(f"the manifest is kept at {statement.value}, which is not asked")
            return Credentials("Remote", packet.data, problem=problem)
    return None


def _read_store(image: bytes, embedded: Embedded, anchors: str) -> Credentials | None:
    """Read the store with the C2PA library."""
    store = embedded.credentials or b""
    media = _MEDIA.get(embedded.format or "")
    if media is None:
        return Credentials("Unreadable", store, problem="a manifest store in a file of unknown format")
    try:
        reader = c2pa.Reader.try_create(media, io.BytesIO(image), context=reading_context(os.getpid(), anchors))
        if reader is None:
            # JUMBF serves other ends too; only a store that calls itself C2PA is one that cannot be read.
            return Credentials("Unreadable", store, problem="no manifest found in it") if b"c2pa" in store else None
        with reader:
            state, text = str(reader.get_validation_state()), reader.json()
        report = json.loads(text) if len(text) <= MAX_REPORT else None
    except (c2pa.C2paError, ValueError, RecursionError) as error:
        return Credentials("Unreadable", store, problem=clipped(str(error))[:200])
    if not isinstance(report, dict):
        return Credentials("Unreadable", store, problem="the report is too large")
    return Credentials(state, store, _manifests(report), _failures(report))


@lru_cache(maxsize=8)
def reading_context(process: int, anchors: str) -> c2pa.Context:
    """Return the library's context of this process (one that was made before a fork is refused by the library)."""
    settings: dict[str, Any] = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
    if anchors:
        settings["trust"] = {"trust_anchors": anchors}
    try:
        return c2pa.Context.from_dict(settings)
    except c2pa.C2paError as error:
        raise BadInput(f"C2PA trust anchors: {first_line(error)}: give certificates in PEM form") from None


def _manifests(report: dict[str, Any]) -> tuple[Manifest, ...]:
    """Return the manifests, the active one first."""
    stored = report.get("manifests")
    stored = stored if isinstance(stored, dict) else {}
    active = report.get("active_manifest")
    shown = _shown(stored, active)
    labels = sorted(stored, key=lambda label: label != active)[:MAX_MANIFESTS]
    return tuple(Manifest(label, label == active, label in shown, _assertions(stored[label])) for label in labels)


def _shown(stored: dict[str, Any], active: object) -> set[str]:
    """Return the labels of the active manifest and of all whose picture is, directly or not, seen in it."""
    found: set[str] = set()
    waiting = [active]
    while waiting:
        label = waiting.pop()
        if not isinstance(label, str) or label in found or label not in stored:
            continue
        found.add(label)
        for ingredient in _dicts(stored[label], "ingredients"):
            if ingredient.get("relationship") in _SHOWN:
                waiting.append(ingredient.get("active_manifest"))
    return found


def _assertions(manifest: object) -> tuple[tuple[str, Any], ...]:
    return tuple((str(assertion.get("label")), assertion.get("data")) for assertion in _dicts(manifest, "assertions"))


def _dicts(outer: object, key: str) -> list[dict[str, Any]]:
    """Return the dictionaries in the list under `key`; the report's shape is as hostile as the file."""
    items = outer.get(key) if isinstance(outer, dict) else None
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _failures(report: dict[str, Any]) -> tuple[str, ...]:
    """Return the failure codes of the active manifest."""
    results = report.get("validation_results")
    active = results.get("activeManifest") if isinstance(results, dict) else None
    return tuple(str(failure.get("code")) for failure in _dicts(active, "failure"))[:20]
