"""The run's own encoder for questions: loaded once a process, and only where its vectors are those of the run."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from dashboards.web.catalogue import Opened
from filters.encoders.base import Encoder
from filters.encoders.uri import load_encoder, parse_uri
from filters.errors import BadInput


@dataclass
class Encoders:
    """Encoders by model URI, the last one used; and why one could not be had."""

    _loaded: dict[str, Encoder] = field(default_factory=dict)
    _problems: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, opened: Opened) -> Encoder:
        """Return the encoder of the run's embeddings. Raises `BadInput` in one line where it is not to be had here."""
        uri = opened.run.recipe.similarity.model
        with self.lock:
            if uri in self._problems:
                raise BadInput(self._problems[uri])
            if uri not in self._loaded:
                self._load(uri)
            encoder = self._loaded[uri]
        models = opened.run.marker("scores", opened.parts[0].index).facts.get("models") or {}
        theirs, ours = models.get("similarity"), encoder.model_id()
        if theirs != ours:
            raise BadInput(f"the run's vectors are by {theirs}, this machine has {ours}")
        return encoder

    def _load(self, uri: str) -> None:
        try:
            if parse_uri(uri).kind == "open-clip" and not _offline():
                raise BadInput(
                    f"{uri} might be downloaded, and the dashboard asks no other host: start assay serve with "
                    "HF_HUB_OFFLINE=1 to take it from the cache"
                )
            found = load_encoder(uri, threads=1, batch_size=1)
        except BadInput as error:
            self._problems[uri] = str(error)
            raise
        self._loaded.clear()  # one at a time: a large one takes gigabytes
        self._loaded[uri] = found

    def of_text(self, opened: Opened, text: str) -> np.ndarray:
        """Return the unit vector float32 (d,) of a text. Raises `BadInput`."""
        encoder = self.of(opened)
        with self.lock:
            return np.asarray(encoder.encode_texts([text])[0], dtype=np.float32)

    def of_picture(self, opened: Opened, image: Image.Image) -> np.ndarray:
        """Return the unit vector float32 (d,) of an RGB picture. Raises `BadInput`."""
        encoder = self.of(opened)
        with self.lock:
            return np.asarray(encoder.encode_images([image])[0], dtype=np.float32)


def _offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)
