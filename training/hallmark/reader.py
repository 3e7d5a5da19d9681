"""Reading a credential: whose it is, whether it holds, and what it says. Never with a network."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import c2pa

from filters.errors import first_line
from filters.headers import sniff
from filters.optout.base import clipped
from filters.optout.c2pa_reader import MAX_REPORT, reading_context
from filters.optout.containers import read_container
from training.hallmark.claim import Claim, read_claim
from training.hallmark.keys import DEVELOPMENT
from training.hallmark.words import in_words

#: Media types that credentials are looked for in.
MEDIA = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
}

Verdict = Literal["ours", "other", "invalid", "none"]

#: What a stored credential fails by when it is held against a picture that is not byte for byte the signed one.
_ALTERED = frozenset({"assertion.dataHash.mismatch"})


@dataclass(frozen=True)
class Credential:
    """What stands in a file.

    `ours`: intact and signed under a given anchor. `other`: intact, signed by somebody else. `invalid`: there, but it
    does not hold. `none`: there is none. `problems` and `notes` are sentences; a note is no fault.
    """

    verdict: Verdict
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    claim: Claim | None = None
    signer: str = ""
    signed_at: str | None = None


def read_credential(picture: bytes, anchors: str) -> Credential:
    """Return the picture's credential. `anchors`: PEM certificates of our own issuers, may be empty.

    Never raises for what the bytes contain; `BadInput` for anchors that are no certificates.
    """
    media = MEDIA.get(sniff(picture) or "")
    if media is None:
        return Credential("none", ("not a picture of a format that is read",))
    try:
        report = _report(media, picture, None, anchors)
    except c2pa.C2paError as error:
        return _unreadable(picture, first_line(error))
    except (ValueError, RecursionError):
        return Credential("invalid", ("the credential cannot be read: its report is too large or malformed",))
    if report is None:
        return _absent(picture)
    return _judged(report, anchors)


def read_stored(picture: bytes, store: bytes, anchors: str) -> Claim | None:
    """Return what a stored manifest says, where its signature holds and is ours; None otherwise.

    The picture need not be the one that was signed, only of a format that is read.
    """
    media = MEDIA.get(sniff(picture) or "")
    if media is None or not anchors:
        return None
    try:
        report = _report(media, picture, store, anchors)
    except (c2pa.C2paError, ValueError, RecursionError):
        return None
    if report is None:
        return None
    results = _results(report)
    good = {"signingCredential.trusted", "claimSignature.validated"} <= set(_codes(results, "success"))
    if not good or set(_codes(results, "failure")) - _ALTERED:
        return None
    return read_claim(_assertions(_active(report)))


def _judged(report: dict[str, Any], anchors: str) -> Credential:
    """Return the verdict on a manifest that could be read."""
    active, results = _active(report), _results(report)
    info = active.get("signature_info")
    info = info if isinstance(info, dict) else {}
    signer = clipped(f"{info.get('issuer') or 'no organisation'} / {info.get('common_name') or 'no name'}")
    signed_at = str(info["time"]) if info.get("time") else None
    failures = _codes(results, "failure") + _ingredient_failures(report)
    state = report.get("validation_state")
    # Who vouches for whom is asked below; a statement by a third party may have a signer of its own.
    broken = tuple(code for code in failures if not code.endswith("redential.untrusted"))
    if state == "Invalid" or broken:
        return Credential("invalid", in_words(broken or failures), signer=signer, signed_at=signed_at)
    claim = read_claim(_assertions(active))
    # Anyone's home-made chain reads "Valid": only a chain to our own anchor is ours.
    if not (anchors and state == "Trusted"):
        why = "which no given anchor vouches for" if anchors else "and no trust anchor was given to compare with"
        return Credential("other", (f"signed by {signer}, {why}",), (), claim, signer, signed_at)
    notes = [] if signed_at else ["no time stamp: the credential counts until its certificate expires"]
    if DEVELOPMENT in signer:
        notes.append("signed with a development key")
    notes += _parents(report)
    problems = () if claim else ("signed by us, but it names neither dataset nor checkpoint",)
    return Credential("ours", problems, tuple(notes), claim, signer, signed_at)


def _unreadable(picture: bytes, message: str) -> Credential:
    """Return the verdict where the library gives up: over the credential, or over the file."""
    if message.lower().startswith("manifestnotfound"):
        return _absent(picture)
    if "remote" in message.lower():
        return Credential("none", ("the credential is kept at another place, which is not asked",))
    where = "the file is cut off or damaged" if "parse" in message.lower() else "the credential cannot be read"
    return Credential("invalid" if _holds_one(picture) else "none", (f"{where}: {clipped(message)}",))


def _absent(picture: bytes) -> Credential:
    """Return the verdict where the library sees no manifest; one in a damaged file is still there."""
    if _holds_one(picture):
        return Credential("invalid", ("the file holds a credential that cannot be read",))
    broken = read_container(picture).broken
    return Credential("none", (f"the file is cut off or damaged: {clipped(broken)}",) if broken else ())


def _holds_one(picture: bytes) -> bool:
    """Tell whether the file's structure has a place with a C2PA manifest store in it, whole or not."""
    store = read_container(picture).credentials
    return store is not None and b"c2pa" in store


def _report(media: str, picture: bytes, store: bytes | None, anchors: str) -> dict[str, Any] | None:
    """Return the library's report with its state, None where there is no manifest."""
    context = reading_context(os.getpid(), anchors)
    reader = c2pa.Reader.try_create(media, io.BytesIO(picture), manifest_data=store, context=context)
    if reader is None:
        return None
    with reader:
        state, text = str(reader.get_validation_state()), reader.json()
    if len(text) > MAX_REPORT:
        raise ValueError("the report is too large")
    report = json.loads(text)
    if not isinstance(report, dict):
        raise ValueError("the report is no object")
    return {**report, "validation_state": state}


def _active(report: dict[str, Any]) -> dict[str, Any]:
    manifests, label = report.get("manifests"), report.get("active_manifest")
    found = manifests.get(label) if isinstance(manifests, dict) and isinstance(label, str) else None
    return found if isinstance(found, dict) else {}


def _results(report: dict[str, Any]) -> dict[str, Any]:
    outer = report.get("validation_results")
    found = outer.get("activeManifest") if isinstance(outer, dict) else None
    return found if isinstance(found, dict) else {}


def _codes(results: Mapping[str, Any], kind: str) -> list[str]:
    items = results.get(kind)
    return [str(item.get("code")) for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _ingredient_failures(report: dict[str, Any]) -> list[str]:
    """Return the codes that newly fail in earlier versions which this credential names."""
    outer = report.get("validation_results")
    deltas = outer.get("ingredientDeltas") if isinstance(outer, dict) else None
    found: list[str] = []
    for delta in deltas if isinstance(deltas, list) else []:
        inner = delta.get("validationDeltas") if isinstance(delta, dict) else None
        found += _codes(inner if isinstance(inner, dict) else {}, "failure")
    return found


def _parents(report: dict[str, Any]) -> list[str]:
    """Return what to say of the signed pictures that this one was made from."""
    manifests, ingredients = report.get("manifests"), _active(report).get("ingredients")
    found = []
    for one in ingredients if isinstance(ingredients, list) else []:
        if not isinstance(one, dict) or one.get("relationship") != "parentOf" or not isinstance(manifests, dict):
            continue
        earlier = manifests.get(str(one.get("active_manifest")))
        info = earlier.get("signature_info") if isinstance(earlier, dict) else None
        signer = clipped(str(info.get("issuer") or "no organisation")) if isinstance(info, dict) else "nobody"
        results = one.get("validation_results")
        then = results.get("activeManifest") if isinstance(results, dict) else None
        codes = _codes(then if isinstance(then, dict) else {}, "failure")
        held = not [code for code in codes if not code.endswith("redential.untrusted")]
        state = "" if held else "; it did not hold when it was taken over"
        found.append(f"made from a picture whose credential, signed by {signer}, is kept inside{state}")
    return found


def _assertions(manifest: Mapping[str, Any]) -> dict[str, Any]:
    items = manifest.get("assertions")
    items = items if isinstance(items, list) else []
    return {str(item.get("label")): item.get("data") for item in items if isinstance(item, dict)}
