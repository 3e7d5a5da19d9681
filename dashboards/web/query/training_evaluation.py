"""One evaluation of a checkpoint as a page shows it: figures beside what they are read against, and nearest pairs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from dashboards.text import clean
from dashboards.web.catalogue import Opened
from dashboards.web.places import within
from dashboards.web.query.samples import Sample, fetch
from dashboards.web.query.training_places import Folder
from filters.errors import BadInput
from training.evaluation.document import Evaluation, Figure, NotMeasured, Pair, Shown

#: Bytes of an evaluation, pairs on a page.
_BYTES, _PAIRS = 8 << 20, 24


@dataclass(frozen=True)
class FigureRow:
    """One figure with its 95 % interval, and what it is read against. `why` says why there is none."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    beside: str
    why: str


@dataclass(frozen=True)
class PairRow:
    """A generated picture and the training pictures nearest to it; a sample is None where the run has it no more."""

    pair: Pair
    flagged: bool
    by_hash: Sample | None
    by_embedding: Sample | None


@dataclass(frozen=True)
class EvaluationFound:
    """One evaluation. `problem` says why it cannot be shown."""

    name: str
    problem: str
    found: Evaluation | None
    figures: list[FigureRow]
    pairs: list[PairRow]


def evaluation(opened: Opened, folder: Folder, name: str) -> EvaluationFound:
    """Return an evaluation by its name in the listing (`evaluation_names`)."""
    path = folder.path / "evaluations" / name / "evaluation.json"
    try:
        body = _read(path, folder)
    except BadInput as error:
        return EvaluationFound(name, str(error), None, [], [])
    return EvaluationFound(name, "", body, figure_rows(body), _pairs(opened, body))


def evaluation_figures(folder: Folder, name: str) -> tuple[list[FigureRow], str]:
    """Return the figures of an evaluation, and why there are none where it cannot be read. No index is asked."""
    try:
        return figure_rows(_read(folder.path / "evaluations" / name / "evaluation.json", folder)), ""
    except BadInput as error:
        return [], str(error)


def _read(path: Path, folder: Folder) -> Evaluation:
    try:
        if not within(path, folder.path) or path.stat().st_size > _BYTES:
            raise BadInput("the evaluation is too large, or a link out of its folder")
        return Evaluation.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        raise BadInput("evaluation.json is not an evaluation that this version of Assay reads") from None


def figure_rows(found: Evaluation) -> list[FigureRow]:
    """Return the figures of an evaluation, those that could not be measured too."""
    rows = _loss(found)
    if isinstance(found.frechet, NotMeasured):
        rows.append(_missing("Fréchet distance", found.frechet))
    else:
        base = found.frechet.baseline
        beside = base.why if isinstance(base, NotMeasured) else f"real against real {base.mean:.4g}"
        rows.append(
            FigureRow(
                clean(found.frechet.name, 120), found.frechet.value, None, None, found.frechet.generated, beside, ""
            )
        )
    if isinstance(found.manifold, NotMeasured):
        rows.append(_missing("Precision and recall", found.manifold))
    else:
        part = found.manifold
        rows.append(_row("Precision", part.precision, part.real_precision, "real against real"))
        rows.append(_row("Recall", part.recall, part.real_recall, "real against real"))
    fit = found.prompt_fit
    rows.append(_row("Prompt fit: own prompt", fit.matched, fit.shuffled, "other prompts"))
    rows.append(_row("Prompt fit: own over other prompts", fit.difference, fit.real_difference, "real pictures"))
    if isinstance(found.memorisation, NotMeasured):
        rows.append(_missing("Memorisation: pictures flagged", found.memorisation))
    else:
        part_m = found.memorisation
        rows.append(
            _row(
                "Memorisation: pictures flagged",
                part_m.flagged,
                part_m.baseline_flagged,
                "pictures that set the bounds",
            )
        )
        rows.append(_row("Memorisation: for captions seen most often", part_m.flagged_training_captions, None, ""))
    return rows


def _loss(found: Evaluation) -> list[FigureRow]:
    if isinstance(found.loss, NotMeasured):
        return [_missing("Loss on unseen samples", found.loss)]
    return [
        _row("Loss on unseen samples", found.loss.unseen, found.loss.seen, "seen samples"),
        _row("Loss, unseen less seen", found.loss.gap, None, ""),
    ]


def _row(name: str, shown: Shown, other: Shown | None, words: str) -> FigureRow:
    beside = f"{words} {other.value:.4g}" if isinstance(other, Figure) else ""
    if isinstance(shown, NotMeasured):
        return _missing(name, shown)
    return FigureRow(name, shown.value, shown.low, shown.high, shown.n, beside, "")


def _missing(name: str, why: NotMeasured) -> FigureRow:
    return FigureRow(name, None, None, None, 0, "", clean(why.why, 300))


def _pairs(opened: Opened, found: Evaluation) -> list[PairRow]:
    """Return the nearest pairs, flagged ones first, as the evaluation orders them."""
    if isinstance(found.memorisation, NotMeasured):
        return []
    pairs = sorted(found.memorisation.pairs, key=lambda pair: not pair.by)[:_PAIRS]
    samples = _samples(opened, {uid for pair in pairs for uid in (pair.hash_uid, pair.embedding_uid) if uid})
    return [
        PairRow(pair, bool(pair.by), samples.get(pair.hash_uid or ""), samples.get(pair.embedding_uid))
        for pair in pairs
    ]


def _samples(opened: Opened, uids: set[str]) -> dict[str, Sample]:
    """Return samples by uid; a uid that stands in the run twice is shown where it is kept, else where it is first."""
    wanted = sorted(uid for uid in uids if len(uid) == 32 and all(c in "0123456789abcdef" for c in uid))
    if not wanted:
        return {}
    rows = opened.reader.rows(
        "SELECT arg_min(row, (NOT kept, row)) FROM samples JOIN (SELECT unnest(?::UUID[]) AS wanted) ON uid = wanted "
        "GROUP BY uid",
        [wanted],
    )
    return {sample.uid: sample for sample in fetch(opened, [(int(row), None, False) for (row,) in rows])}
