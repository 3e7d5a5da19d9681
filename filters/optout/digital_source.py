"""IPTC Digital Source Type: pictures whose metadata says that a generative model made them, or a part of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256

from filters.optout.base import SYNTHETIC_CHANNEL, Evidence, Signal, Verdict, clipped
from filters.optout.c2pa_reader import Credentials, read_credentials
from filters.optout.embedded import Embedded, read_embedded
from filters.optout.xmp import IPTC_EXT

CHANNEL = SYNTHETIC_CHANNEL

#: Terms of http://cv.iptc.org/newscodes/digitalsourcetype/ and http://c2pa.org/digitalsourcetype/ that name a
#: generative model. `algorithmicMedia` is not one of them: it is drawn by rules, without training data.
GENERATIVE = frozenset(
    {
        "trainedAlgorithmicMedia",
        "compositeWithTrainedAlgorithmicMedia",
        "compositeSynthetic",
        "trainedAlgorithmicData",
    }
)


@dataclass(frozen=True)
class DigitalSource:
    """One signal for each source type that names a generative model; its verdict is always `unknown`.

    It is no opt-out: the recipe's `rights.synthetic` decides. Sources of other kinds (a camera, a scan) give
    no signal. `sources` are the last parts of the URIs that count.
    """

    sources: frozenset[str] = GENERATIVE
    name: str = CHANNEL
    spec: str = "IPTC Digital Source Type NewsCodes"

    def read(self, evidence: Evidence) -> list[Signal]:
        """Return the signals of XMP and content credentials."""
        embedded = read_embedded(evidence.image)
        return self.judge(embedded, read_credentials(evidence.image, embedded))

    def judge(self, embedded: Embedded, credentials: Credentials | None) -> list[Signal]:
        """Return the signals, one for each place and value."""
        wanted = {source.lower() for source in self.sources}
        found = [
            Signal(self.name, Verdict.UNKNOWN, clipped(uri), self.spec, source, _DETAIL, sha)
            for uri, source, sha in (*_in_xmp(embedded), *_in_credentials(credentials))
            if uri.rstrip("/").rpartition("/")[2].strip().lower() in wanted
        ]
        return list(dict.fromkeys(found))


_DETAIL = "The file's metadata says that a generative model made the picture or a part of it."


def _in_xmp(embedded: Embedded) -> Iterator[tuple[str, str, str]]:
    for packet, statement in embedded.values(frozenset({IPTC_EXT}), "DigitalSourceType"):
        yield statement.value, packet.source, packet.sha256


def _in_credentials(credentials: Credentials | None) -> Iterator[tuple[str, str, str]]:
    """Return the source types of the actions in the active manifest and in those of its parts."""
    if credentials is None:
        return
    sha = sha256(credentials.evidence).hexdigest()
    for manifest in credentials.manifests:
        if not manifest.in_picture:
            continue
        for label, data in manifest.assertions:
            actions = data.get("actions") if label.startswith("c2pa.actions") and isinstance(data, dict) else None
            for action in actions if isinstance(actions, list) else ():
                uri = action.get("digitalSourceType") if isinstance(action, dict) else None
                if isinstance(uri, str):
                    yield uri, f"c2pa:{manifest.label}/{label}", sha


def is_synthetic(signals: Iterable[Signal]) -> bool:
    """Tell whether one of the signals marks the picture as made by a generative model."""
    return any(signal.channel == CHANNEL for signal in signals)
