"""Rules: pure tests of columns with a reason code. A rule never loads a model.

Judging is separate from scoring, so that a threshold can be replayed over stored scores in milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, inf, isfinite

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.reasons import PRECEDENCE, Reason

#: The codes by position. Sets of reasons are bit masks: bit i stands for the i-th member of `Reason`.
_CODES = pa.array([reason.value for reason in Reason])


@dataclass(frozen=True)
class Rule:
    """Bounds on one column, both inclusive. `keep_top` is the alternative: the best fraction in (0, 1].

    Best are the largest values, or the smallest with `less_is_better`. A rule with `keep_top` must be resolved to a
    bound (`resolve`) before it judges.
    """

    name: str
    column: str
    reason: Reason
    low: float = -inf
    high: float = inf
    keep_top: float | None = None
    less_is_better: bool = False

    def judge(self, column: pa.Array) -> pa.Array:
        """Return the reason code of each row, null where the row passes; null or NaN never passes."""
        if self.keep_top is not None:
            raise ValueError(f"rule {self.name}: resolve keep_top to a bound before judging")
        values = column.cast(pa.float64())
        missing = pc.or_kleene(pc.is_null(values, nan_is_null=True), False)
        inside = pc.and_(pc.greater_equal(values, self.low), pc.less_equal(values, self.high))
        verdict = pc.if_else(inside, pa.scalar(None, pa.string()), self.reason.value)
        return pc.if_else(missing, Reason.SCORE_MISSING.value, verdict)

    def resolve(self, values: np.ndarray) -> Rule:
        """Turn `keep_top` into the bound that keeps at least that fraction of the finite values.

        It is `low`, or `high` where less is better, rounded outward to six decimals, so that the last bits in which
        processors differ do not reach the manifest. Ties are all kept. Without finite values nothing passes.
        """
        if self.keep_top is None:
            return self
        finite = values[np.isfinite(values)]
        if len(finite) == 0:
            return replace(self, keep_top=None, low=inf)
        rank = max(1, int(np.ceil(self.keep_top * len(finite) - 1e-9)))
        if self.less_is_better:
            highest = float(np.partition(finite, rank - 1)[rank - 1])
            return replace(self, keep_top=None, high=ceil(highest * 1e6) / 1e6)
        lowest = float(np.partition(finite, len(finite) - rank)[len(finite) - rank])
        return replace(self, keep_top=None, low=floor(lowest * 1e6) / 1e6)


@dataclass(frozen=True)
class AllowRule:
    """A list of allowed values of one text column, compared exactly."""

    name: str
    column: str
    reason: Reason
    allow: frozenset[str]
    missing: Reason | None

    def judge(self, column: pa.Array) -> pa.Array:
        """Return the reason code of each row, null where it passes; `missing` is the verdict on null or empty."""
        text = column.cast(pa.string())
        empty = pc.or_kleene(pc.is_null(text), pc.equal(pc.utf8_trim_whitespace(pc.fill_null(text, "")), ""))
        listed = pc.is_in(text, value_set=pa.array(sorted(self.allow), pa.string()))
        verdict = pc.if_else(listed, pa.scalar(None, pa.string()), self.reason.value)
        return pc.if_else(empty, pa.scalar(self.missing.value if self.missing else None, pa.string()), verdict)


AnyRule = Rule | AllowRule


@dataclass(frozen=True)
class Bounded:
    """What a named rule tests: its column, the scorer of it, its reason, what the column holds, and which way is best.

    `keep_top` keeps the largest values, or the smallest where `less_is_better`.
    """

    column: str
    scorer: str
    reason: Reason
    unit: str
    less_is_better: bool = False


#: A column that no part has: the rule is resolved to a bound on `similarity` by the run's calibration.
MATCH_PROBABILITY = "match_probability"

#: The rules that a recipe may name under `rules:`.
RULES: Mapping[str, Bounded] = {
    "min_side": Bounded("min_side", "size", Reason.IMAGE_TOO_SMALL, "shorter side, pixels"),
    "aspect_ratio": Bounded(
        "aspect_ratio", "size", Reason.ASPECT_RATIO, "longer over shorter side, 1 or more", less_is_better=True
    ),
    "caption_characters": Bounded("caption_characters", "caption", Reason.CAPTION_LENGTH, "characters of the caption"),
    "caption_words": Bounded("caption_words", "caption", Reason.CAPTION_LENGTH, "words of the caption"),
    "caption_repeats": Bounded(
        "caption_repeats",
        "caption",
        Reason.REPEATED_CAPTION,
        "samples with this caption, digits set aside",
        less_is_better=True,
    ),
    "language": Bounded(
        "language_probability", "language", Reason.LANGUAGE, "probability of the detected language, 0 to 1"
    ),
    "sharpness": Bounded("sharpness", "technical", Reason.BLURRED, "variance of the Laplacian, 0 or more"),
    "contrast": Bounded("contrast", "technical", Reason.LOW_CONTRAST, "RMS contrast of the luminance"),
    "colourfulness": Bounded(
        "colourfulness", "technical", Reason.COLOURFULNESS, "Hasler and Süsstrunk's measure, 0 or more"
    ),
    "quality": Bounded("technical_quality", "quality", Reason.LOW_QUALITY, "technical quality, 0 to 1"),
    "nsfw": Bounded("nsfw", "nsfw", Reason.NSFW, "NSFW probability, 0 to 1", less_is_better=True),
    "nsfw_parts": Bounded(
        "nsfw_parts", "nudity", Reason.NSFW, "confidence of an exposed body part, 0 to 1", less_is_better=True
    ),
    "nsfw_combined": Bounded(
        "nsfw_combined", "nudity", Reason.NSFW, "the larger of nsfw and nsfw_parts, 0 to 1", less_is_better=True
    ),
    "nsfw_clip": Bounded(
        "nsfw_clip",
        "nsfw_clip",
        Reason.NSFW,
        "NSFW probability by LAION's head over CLIP, 0 to 1",
        less_is_better=True,
    ),
    "watermark": Bounded(
        "watermark", "watermark", Reason.WATERMARK, "watermark score, 0 to 1 (not calibrated)", less_is_better=True
    ),
    "text_area": Bounded(
        "text_area", "watermark", Reason.WATERMARK, "share of the picture inside boxes of text", less_is_better=True
    ),
    "aesthetic": Bounded("aesthetic", "aesthetic", Reason.LOW_AESTHETIC, "LAION aesthetic rating, 1 to 10"),
    "similarity": Bounded("similarity", "similarity", Reason.LOW_SIMILARITY, "cosine of picture and caption, -1 to 1"),
    "match_probability": Bounded(
        MATCH_PROBABILITY,
        "similarity",
        Reason.LOW_SIMILARITY,
        "probability that picture and caption belong together, 0 to 1, calibrated on the run itself",
    ),
}


def masks_of_codes(codes: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Return uint64 masks (n,) for an array of reason codes (string or dictionary), 0 for null."""
    if isinstance(codes, pa.ChunkedArray):
        codes = codes.combine_chunks()
    index = pc.index_in(codes.cast(pa.string()), value_set=_CODES)
    unknown = pc.and_(pc.is_valid(codes), pc.is_null(index))
    if pc.any(unknown).as_py():
        raise ValueError("unknown reason code")
    position: np.ndarray = pc.fill_null(index, 0).to_numpy(zero_copy_only=False).astype(np.uint64)
    present: np.ndarray = pc.is_valid(codes).to_numpy(zero_copy_only=False)
    masks: np.ndarray = np.where(present, np.uint64(1) << position, np.uint64(0))
    return masks


def judge(rules: Iterable[AnyRule], table: pa.Table) -> np.ndarray:
    """Judge every row of `table` by every rule; return uint64 reason masks (n,), 0 where all rules pass.

    A column that the table lacks counts as null in every row.
    """
    masks = np.zeros(table.num_rows, dtype=np.uint64)
    for rule in rules:
        if rule.column in table.column_names:
            column = table.column(rule.column).combine_chunks()
        else:
            column = pa.nulls(table.num_rows, pa.float64() if isinstance(rule, Rule) else pa.string())
        masks |= masks_of_codes(rule.judge(column))
    return masks


def mask(*reasons: Reason) -> np.uint64:
    """Return the bit mask of the given reasons."""
    bits: np.uint64 = np.uint64(sum(1 << PRECEDENCE[reason] for reason in set(reasons)))
    return bits


def reason_lists(masks: np.ndarray) -> pa.Array:
    """Turn masks (n,) into a list<dictionary<int8, string>> array, each list in order of precedence."""
    bits = (masks[:, None] >> np.arange(len(_CODES), dtype=np.uint64)) & np.uint64(1)
    rows, codes = np.nonzero(bits)
    offsets = np.zeros(len(masks) + 1, dtype=np.int32)
    np.cumsum(np.bincount(rows, minlength=len(masks)), out=offsets[1:])
    values = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int8()), _CODES)
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def masks_of_lists(reasons: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Return the masks (n,) of lists of reason codes, the inverse of `reason_lists`."""
    if isinstance(reasons, pa.ChunkedArray):
        reasons = reasons.combine_chunks()
    masks = np.zeros(len(reasons), dtype=np.uint64)
    rows = pc.list_parent_indices(reasons).to_numpy(zero_copy_only=False)
    np.bitwise_or.at(masks, rows, masks_of_codes(reasons.flatten()))
    return masks


def primary_codes(masks: np.ndarray) -> pa.Array:
    """Return the reason of highest precedence of each mask as dictionary<int8, string>, null where none."""
    lowest = masks & (~masks + np.uint64(1))
    present = masks != 0
    index = np.zeros(len(masks), dtype=np.int8)
    index[present] = np.log2(lowest[present].astype(np.float64)).astype(np.int8)
    return pa.DictionaryArray.from_arrays(pa.array(index, pa.int8(), mask=~present), _CODES)


def explain(rule: AnyRule) -> dict[str, object]:
    """Describe a rule for the manifest and the report: name, column, reason, bounds or list."""
    described: dict[str, object] = {"name": rule.name, "column": rule.column, "reason": rule.reason.value}
    if isinstance(rule, AllowRule):
        described["allow"] = sorted(rule.allow)
        described["missing"] = rule.missing.value if rule.missing else "keep"
        return described
    for side, bound in (("low", rule.low), ("high", rule.high)):
        if isfinite(bound):
            described[side] = bound
    if rule.keep_top is not None:
        described["keep_top"] = rule.keep_top
    return described


def needed_columns(rules: Sequence[AnyRule]) -> list[str]:
    """Return the columns that the rules read, sorted, each once."""
    return sorted({rule.column for rule in rules})
