"""The scorers by name. Nothing is imported before a scorer is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    from filters.scoring import Scorer


class LazyScorers(Mapping[str, "Callable[..., Scorer]"]):
    """Maps a scorer's name to its class; the module is imported when the class is looked up."""

    def __init__(self, targets: Mapping[str, str]) -> None:
        self._targets = dict(targets)

    def __getitem__(self, name: str) -> Callable[..., Scorer]:
        """Return the class. Raises KeyError for an unknown name."""
        module, _, attribute = self._targets[name].partition(":")
        return cast("Callable[..., Scorer]", getattr(importlib.import_module(module), attribute))

    def __contains__(self, name: object) -> bool:
        """Tell whether a scorer has this name, without importing it."""
        return name in self._targets

    def __iter__(self) -> Iterator[str]:
        """Yield the names in the order in which the scorers run."""
        return iter(self._targets)

    def __len__(self) -> int:
        """Return the number of scorers."""
        return len(self._targets)


#: Every scorer, in the order in which a job runs them: cheap ones first.
SCORERS = LazyScorers(
    {
        "size": "filters.scorers.size:SizeScorer",
        "hashes": "filters.scorers.hashes:HashScorer",
        "pdq": "filters.scorers.pdq:PdqScorer",
        "colours": "filters.scorers.colours:ColourScorer",
        "pixels": "filters.scorers.pixels:PixelScorer",
        "caption": "filters.scorers.captions:CaptionScorer",
        "language": "filters.scorers.language:LanguageScorer",
        "technical": "filters.scorers.technical:TechnicalScorer",
        "quality": "filters.scorers.quality:QualityScorer",
        "nsfw": "filters.scorers.nsfw:NsfwScorer",
        "nudity": "filters.scorers.nudity:NudityScorer",
        "similarity": "filters.scorers.similarity:SimilarityScorer",
        "aesthetic": "filters.scorers.heads:AestheticScorer",
        "nsfw_clip": "filters.scorers.heads:ClipNsfwScorer",
        "watermark": "filters.scorers.watermark:WatermarkScorer",
    }
)

#: What a recipe that names no scorers runs: all that need no network and no extra package.
DEFAULT = ("size", "hashes", "pdq", "colours", "caption", "language", "technical", "quality", "nsfw", "similarity")

#: Scorers that read the similarity encoder's embeddings instead of pixels.
HEADS: frozenset[Literal["aesthetic", "nsfw_clip"]] = frozenset(("aesthetic", "nsfw_clip"))

#: Scorers that a cascade runs last, and only on what no rule has dropped yet.
COSTLY = frozenset({"nsfw", "nudity", "similarity", "watermark", *HEADS})
