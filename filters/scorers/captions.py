"""Captions as text: length, repetition over the corpus, and the concept that a caption is grouped by."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from filters.scoring import Batch, columns

#: Fewest letters of a content word. Scripts without spaces between words give one word a run of letters.
MIN_LETTERS = 3

_STOP_WORDS = """
about above after again all also although among and another any are because been before behind being below
beneath beside between beyond both but can cannot could did does doing done down during each either else etc
ever every few for from further had has have having her here hers herself him himself his how however into its
itself just least less many may maybe might mine more most much must myself near neither nor not off once one
only onto other others our ours out over own per quite rather same shall she should since some somebody someone
something such than that the their theirs them themselves then there these they this those though through thus
too toward towards two under until unto upon used using very via was were what whatever when where whether which
while who whom whose why will with within without would yet you your yours yourself
arent cant couldnt didnt doesnt dont hadnt hasnt havent isnt shouldnt thats wasnt werent wont wouldnt youre
bmp com dsc gif html http https img jpeg jpg org pdf png svg thumbnail tif tiff untitled webp www
"""

#: Words that name no content: English function words of three letters and more, and what file names and
#: addresses are made of.
STOP_WORDS = frozenset(_STOP_WORDS.split())

_APOSTROPHES = frozenset("'’‘ʼ＇`´")
_JOINERS = frozenset("\u00ad\u200b\u200c\u200d\u2060\ufeff")


class _Clean(dict[int, str]):
    """`str.translate` table, filled as characters are met: letters, marks and pictographs stay."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        kind = unicodedata.category(character)
        if character in _APOSTROPHES or character in _JOINERS:
            kept = ""  # inside a word: "don't" is "dont"
        elif kind[0] in "LM" or kind == "So":
            kept = character
        else:
            kept = " "
        self[code] = kept
        return kept


_CLEAN = _Clean()


def normalise_caption(text: str) -> str:
    """Return `text` for comparison: NFKC, case folded, without digits and punctuation, single spaces.

    An apostrophe disappears, every other removed character parts words (`flat_icon-12` is `flat icon`).
    Captions of digits and punctuation alone all become the empty string, and so repeat one another.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.translate(_CLEAN).split())


def caption_hash(text: str) -> int:
    """Return the 64-bit BLAKE2b of the normalised caption, 0 to 2**64 - 1."""
    return _hash(normalise_caption(text))


def _hash(normalised: str) -> int:
    digest = hashlib.blake2b(normalised.encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "big")


def content_words(text: str) -> list[str]:
    """Return the words of the normalised caption that may name content: unique, in order.

    At least `MIN_LETTERS` letters (of any script; marks do not count), not in `STOP_WORDS`.
    """
    return _words(normalise_caption(text))


def _words(normalised: str) -> list[str]:
    return [word for word in dict.fromkeys(normalised.split()) if _is_content(word)]


def _is_content(word: str) -> bool:
    if len(word) < MIN_LETTERS or word in STOP_WORDS:
        return False
    return word.isalpha() or sum(character.isalpha() for character in word) >= MIN_LETTERS


def count_captions(captions: Iterable[str]) -> tuple[Counter[int], Counter[str]]:
    """Count the captions' hashes, and in how many captions each content word stands.

    Counts of disjoint sets of captions add up, so that a job may combine them in any order.
    """
    hashes: Counter[int] = Counter()
    words: Counter[str] = Counter()
    for caption in captions:
        normalised = normalise_caption(caption)
        hashes[_hash(normalised)] += 1
        words.update(_words(normalised))
    return hashes, words


@dataclass(frozen=True, eq=False)
class CaptionStatistics:
    """Counts over a corpus: `hashes` uint64 (n,) strictly ascending, `counts` int64 (n,), captions by word.

    Captions that stand once may be left out. Raises ValueError where the arrays do not fit together.
    """

    hashes: np.ndarray
    counts: np.ndarray
    words: Mapping[str, int]

    def __post_init__(self) -> None:
        """Check what `searchsorted` relies on."""
        if self.hashes.dtype != np.uint64 or self.hashes.shape != self.counts.shape or self.hashes.ndim != 1:
            raise ValueError("caption hashes are one row of uint64, with one count each")
        if np.any(self.hashes[1:] <= self.hashes[:-1]):
            raise ValueError("caption hashes must be in ascending order, each once")

    @classmethod
    def empty(cls) -> CaptionStatistics:
        """Return the statistics of no corpus: every caption counts once."""
        return cls(np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64), {})

    @classmethod
    def from_counts(cls, hashes: Mapping[int, int], words: Mapping[str, int]) -> CaptionStatistics:
        """Return the statistics of what `count_captions` counted; captions that stand once are left out."""
        repeated = sorted((key, count) for key, count in hashes.items() if count > 1)
        keys = np.array([key for key, _ in repeated], dtype=np.uint64)
        return cls(keys, np.array([count for _, count in repeated], dtype=np.int64), dict(words))

    def repeats(self, hashes: np.ndarray) -> np.ndarray:
        """Return how many samples carry each of the uint64 hashes: int32 (n,), 1 for those not in the table."""
        if not len(self.hashes):
            return np.ones(len(hashes), dtype=np.int32)
        at = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        found = np.where(self.hashes[at] == hashes, self.counts[at], 1)
        return np.minimum(found, np.iinfo(np.int32).max).astype(np.int32)

    def concept(self, words: list[str]) -> str | None:
        """Return the word that most captions of the corpus have; of equals the alphabetically first."""
        return min(words, key=lambda word: (-self.words.get(word, 0), word), default=None)


_FIELDS = pa.schema(
    [
        pa.field("caption_characters", pa.int32(), metadata={"doc": "code points, outer white space set aside"}),
        pa.field("caption_words", pa.int32(), metadata={"doc": "runs of characters between white space"}),
        pa.field(
            "caption_repeats", pa.int32(), metadata={"doc": "samples of the corpus with this normalised caption"}
        ),
        pa.field("concept", pa.string(), metadata={"doc": "the caption's content word that most captions have"}),
    ]
)


@dataclass(frozen=True)
class CaptionScorer:
    """Length and repetition of captions, and each caption's concept, given counts over the corpus."""

    statistics: CaptionStatistics = field(default_factory=CaptionStatistics.empty)
    name: str = "caption"
    version: str = "1"

    @property
    def fields(self) -> pa.Schema:
        """`caption_characters`, `caption_words`, `caption_repeats` int32; `concept` string or null."""
        return _FIELDS

    def load(self) -> None:
        """Nothing to load."""

    def model_id(self) -> str:
        """Return the names of the formulas, and the Unicode version that they rest on."""
        return f"caption-counts@unicode-{unicodedata.unidata_version}"

    def draft_side(self) -> int:
        """Return 0: it reads captions."""
        return 0

    def score(self, batch: Batch) -> pa.RecordBatch:
        """Return lengths, repetition and concept of each caption of the batch."""
        normalised = [normalise_caption(caption) for caption in batch.captions]
        hashes = np.array([_hash(text) for text in normalised], dtype=np.uint64)
        values: dict[str, object] = {
            "caption_characters": [len(caption.strip()) for caption in batch.captions],
            "caption_words": [len(caption.split()) for caption in batch.captions],
            "caption_repeats": self.statistics.repeats(hashes),
            "concept": [self.statistics.concept(_words(text)) for text in normalised],
        }
        return columns(_FIELDS, values)
