"""CAWG and C2PA training-and-data-mining assertions in a picture's content credentials."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from filters.optout.base import Evidence, Signal, Verdict, clipped
from filters.optout.c2pa_reader import Credentials, Manifest, read_credentials
from filters.optout.embedded import Embedded, read_embedded

_CAWG = "CAWG Training and Data Mining 1.1"
_C2PA = "C2PA 1.x c2pa.training-mining"
#: Entries that decide for a trainer of generative models; scoring and captioning a picture is mining.
_DECIDING = ("ai_generative_training", "data_mining")
_USES = {"allowed": Verdict.ALLOW, "notallowed": Verdict.DENY, "constrained": Verdict.DENY}

#: The same words in the bytes of a store that the library cannot read: CBOR keeps texts as they are.
_RAW_DENIAL = re.compile(rb"(?:ai_generative_training|data_mining).{0,12}use.{0,6}?(?:notAllowed|constrained)", re.S)


@dataclass(frozen=True)
class TrainingMining:
    """Reads `cawg.training-mining` and `c2pa.training-mining`. `constrained` is a denial (CAWG 1.1).

    A denial counts in a broken or untrusted manifest too. A permission counts only in the active manifest,
    signed by one of `anchors` (PEM): anyone can sign a permission for a picture of somebody else. Where the
    active manifest is silent, the denial of a picture that is seen in this one stands.
    """

    anchors: str = ""
    name: str = "c2pa:training-mining"
    spec: str = _CAWG

    def read(self, evidence: Evidence) -> list[Signal]:
        """Return the signals of the picture's content credentials."""
        embedded = read_embedded(evidence.image)
        return self.judge(embedded, read_credentials(evidence.image, embedded, self.anchors))

    def judge(self, embedded: Embedded, credentials: Credentials | None) -> list[Signal]:
        """Return one signal a statement; one about the store where it cannot be relied on or says nothing."""
        if credentials is None:
            return []
        sha = sha256(credentials.evidence).hexdigest()
        spoken = [signal for m in credentials.manifests if m.active for signal in self._manifest(m, sha)]
        silent = all(signal.verdict is Verdict.UNKNOWN for signal in spoken)
        others = [d for m in credentials.manifests if not m.active for d in self._ingredient(m, sha, silent)]
        against = embedded.doubt or any(
            signal.verdict is Verdict.DENY
            for m in credentials.manifests
            if m.in_picture and not m.active
            for signal in self._manifest(m, sha)
        )
        if against:
            spoken = [_lowered(signal, "another part of the file stands against it") for signal in spoken]
        if credentials.state != "Trusted":
            spoken = [_lowered(signal, f"its manifest is {credentials.state}, not trusted") for signal in spoken]
        said = [*spoken, *others]
        return [*said, *self._store(credentials, sha, said)]

    def _store(self, credentials: Credentials, sha: str, told: list[Signal]) -> list[Signal]:
        """Return the signals about the store itself; `told` are those of its statements."""
        if credentials.intact and told:
            return []
        raw = clipped(" ".join((credentials.state, *credentials.failures)))
        if credentials.intact:
            detail = f"Content credentials ({credentials.state}) without a word on training."
        else:
            why = credentials.problem or ", ".join(credentials.failures) or "validation failed"
            detail = clipped(f"Content credentials that cannot be relied on ({credentials.state}): {why}.")
        unreadable = not credentials.intact
        said = [Signal(self.name, Verdict.UNKNOWN, raw, self.spec, "c2pa", detail, sha, unreadable=unreadable)]
        if unreadable and all(signal.verdict is not Verdict.DENY for signal in told):
            said += self._raw(credentials.evidence, sha)
        return said

    def _raw(self, store: bytes, sha: str) -> list[Signal]:
        """Return the denial that stands in the bytes of a broken store."""
        denial = _RAW_DENIAL.search(store)
        if denial is None or b"training-mining" not in store:
            return []
        detail = "The manifest is broken, and a reservation of training or data mining stands in it."
        raw = denial[0].decode("ascii", "backslashreplace")
        return [Signal(self.name, Verdict.DENY, raw, self.spec, "c2pa", detail, sha)]

    def _manifest(self, manifest: Manifest, sha: str) -> list[Signal]:
        """Return one signal for each training-and-data-mining assertion of a manifest."""
        signals = []
        for label, data in manifest.assertions:
            kind = label.partition("__")[0].lower()
            if kind not in ("cawg.training-mining", "c2pa.training-mining"):
                continue
            verdict, detail, unreadable = _judge(data)
            spec = _CAWG if kind.startswith("cawg") else _C2PA
            raw = clipped(json.dumps(data, sort_keys=True))
            source = f"c2pa:{manifest.label}/{label}"
            signals.append(Signal(self.name, verdict, raw, spec, clipped(source), detail, sha, unreadable=unreadable))
        return signals

    def _ingredient(self, manifest: Manifest, sha: str, silent: bool) -> list[Signal]:
        """Return the denials of a manifest that is not the active one, as far as they still count."""
        denials = [signal for signal in self._manifest(manifest, sha) if signal.verdict is Verdict.DENY]
        if silent and manifest.in_picture:
            return [replace(d, detail=f"A picture seen in this one says so. {d.detail}") for d in denials]
        told = "An ingredient says so, which does not decide for this picture. "
        return [replace(d, verdict=Verdict.UNKNOWN, detail=told + d.detail) for d in denials]


def _judge(data: Any) -> tuple[Verdict, str, bool]:
    """Return verdict, words, and whether an entry that decides could not be understood."""
    entries = data.get("entries") if isinstance(data, dict) else None
    if not isinstance(entries, dict):
        return Verdict.UNKNOWN, "A training-and-data-mining assertion without entries.", True
    # Two keys may come to the same entry ("cawg." and "c2pa."): none of them may hide the other.
    uses = sorted((str(key).rpartition(".")[2].lower(), _use(entry)) for key, entry in entries.items())
    told = ", ".join(f"{key} {use}" for key, use in uses)
    verdicts = {(key, _USES.get(use.lower().replace("_", ""))) for key, use in uses if key in _DECIDING}
    found = {verdict for _, verdict in verdicts}
    if Verdict.DENY in found:
        return Verdict.DENY, clipped(f"The signer reserves training or data mining: {told}."), False
    if None in found:
        return Verdict.UNKNOWN, clipped(f"A use that the specification does not know: {told}."), True
    if ("ai_generative_training", Verdict.ALLOW) in verdicts:
        return Verdict.ALLOW, clipped(f"The signer allows generative training: {told}."), False
    return Verdict.UNKNOWN, clipped(f"Nothing on generative training: {told or 'no entries'}."), False


def _use(entry: object) -> str:
    """Return the `use` of an entry, "" for none; C2PA 1.0 files have it as bare text too."""
    use = entry.get("use") if isinstance(entry, dict) else entry
    return use if isinstance(use, str) else ""


def _lowered(signal: Signal, why: str) -> Signal:
    """Return a permission as `unknown`, every other signal as it is."""
    if signal.verdict is not Verdict.ALLOW:
        return signal
    return replace(signal, verdict=Verdict.UNKNOWN, detail=clipped(f"{signal.detail} It does not count: {why}."))
