"""Signing content credentials with c2pa-python, whose handles live in one process only."""

from __future__ import annotations

import io
import json
import os
import threading
from dataclasses import dataclass, field
from typing import Any, Literal

import c2pa

from filters.errors import AssayError, BadInput, first_line
from training.hallmark.claim import PARENT
from training.hallmark.keys import SigningKey

#: Media types by the picture formats that are signed.
MEDIA = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}

#: No thumbnail (it costs 100 ms and more bytes than the picture), no network; what was signed is read back at once.
_SETTINGS: dict[str, Any] = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_after_sign": True},
    "builder": {"thumbnail": {"enabled": False}},
}

_PARENT = {"title": "the picture that this one was made from", "relationship": "parentOf", "label": PARENT}

_ALGORITHMS = {
    "es256": c2pa.C2paSigningAlg.ES256,
    "ps256": c2pa.C2paSigningAlg.PS256,
    "ed25519": c2pa.C2paSigningAlg.ED25519,
}


class HallmarkFailed(AssayError):
    """A picture could not be marked, signed or registered; it was not written. Exit code 4."""

    exit_code = 4


@dataclass(frozen=True)
class TimeAuthority:
    """A time stamp authority (RFC 3161) by URL, and what happens when it does not answer.

    `refuse`: the picture is not written. `unstamped`: it is signed without a time, which `Signed.stamped` and the
    credential itself tell; such a signature counts only until the certificate expires.
    """

    url: str
    when_down: Literal["refuse", "unstamped"] = "refuse"

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise BadInput(f"time stamp authority {self.url[:200]!r}: give an http:// or https:// URL")


@dataclass(frozen=True)
class Parent:
    """A signed picture that another one is made from, whose credential must not be lost: its file and media type."""

    data: bytes = field(repr=False)
    media: str


@dataclass(frozen=True)
class Signed:
    """A signed file, its manifest store (kept for recovery), and whether an authority stamped the time."""

    data: bytes
    store: bytes
    stamped: bool


@dataclass(frozen=True)
class _Handles:
    """What the library needs in one process; it leaves the locking to its callers."""

    context: c2pa.Context
    signer: c2pa.Signer
    lock: threading.Lock


@dataclass
class Sealer:
    """Signs pictures with one key. May be handed to forked processes and used by several threads."""

    key: SigningKey
    authority: TimeAuthority | None = None
    _handles: dict[tuple[int, str | None], _Handles] = field(default_factory=dict, repr=False, compare=False)

    def __getstate__(self) -> tuple[SigningKey, TimeAuthority | None]:
        """Let a spawned process make handles of its own."""
        return self.key, self.authority

    def __setstate__(self, state: tuple[SigningKey, TimeAuthority | None]) -> None:
        self.key, self.authority = state
        self._handles = {}

    def seal(self, picture: bytes, media: str, manifest: dict[str, Any], parent: Parent | None = None) -> Signed:
        """Return the signed file. Raises `HallmarkFailed`.

        The credential of `parent` becomes part of the new one; whether it held is told there.

        What was signed is validated before it is returned. A dead authority is told from other failures by signing
        without it, where the policy allows that.
        """
        url = self.authority.url if self.authority else None
        try:
            return self._sign(picture, media, manifest, url, parent)
        except c2pa.C2paError as error:
            if self.authority is None:
                raise HallmarkFailed(f"signing failed: {_reason(error)}") from None
            if self.authority.when_down == "refuse":
                raise HallmarkFailed(
                    f"signing with time stamps of {self.authority.url} failed: {_reason(error)}; "
                    "the policy for an authority that is down is to refuse"
                ) from None
        try:
            return self._sign(picture, media, manifest, None, parent)
        except c2pa.C2paError as error:
            raise HallmarkFailed(f"signing failed, also without a time stamp: {_reason(error)}") from None

    def _sign(
        self, picture: bytes, media: str, manifest: dict[str, Any], url: str | None, parent: Parent | None
    ) -> Signed:
        handles = self._for_this_process(url)
        out = io.BytesIO()
        with handles.lock, c2pa.Builder(manifest, context=handles.context) as builder:
            if parent is not None:
                builder.add_ingredient(json.dumps(_PARENT), parent.media, io.BytesIO(parent.data))
            store = builder.sign(handles.signer, media, io.BytesIO(picture), out)
        return Signed(out.getvalue(), bytes(store), stamped=url is not None)

    def _for_this_process(self, url: str | None) -> _Handles:
        """Return the handles of this process; those that were made before a fork are refused by the library."""
        place = (os.getpid(), url)
        found = self._handles.get(place)
        if found is None:
            made = _Handles(c2pa.Context.from_dict(_SETTINGS), _signer(self.key, url), threading.Lock())
            found = self._handles.setdefault(place, made)
        return found


def _signer(key: SigningKey, url: str | None) -> c2pa.Signer:
    """Return the library's signer. A key in memory makes files 9 KB smaller than one that is called."""
    if key.private is not None:
        info = c2pa.C2paSignerInfo(
            alg=key.algorithm.encode(),
            sign_cert=key.chain.encode(),
            private_key=key.private,
            ta_url=url.encode() if url else None,
        )
        return c2pa.Signer.from_info(info)
    assert key.call is not None
    return c2pa.Signer.from_callback(key.call, _ALGORITHMS[key.algorithm], key.chain, url)


def _reason(error: c2pa.C2paError) -> str:
    """Return the library's message in one line."""
    return first_line(error, 300)
