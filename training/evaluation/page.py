"""`evaluation.html`, one file without any traffic, and the model card with the figures that it came to."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.page_templates import page_templates
from training.evaluation.document import (
    Evaluation,
    Figure,
    Frechet,
    Loss,
    Memorisation,
    NotMeasured,
    Shown,
)
from training.evaluation.gallery import Comparison, Shot


def rendered(found: Evaluation, samples: Sequence[Shot], comparisons: Sequence[Comparison]) -> bytes:
    """Return the page as UTF-8."""
    environment = page_templates("training.evaluation")
    environment.filters.update(figure=figure, percent=percent, plain=number)
    environment.tests.update(missing=lambda value: isinstance(value, NotMeasured))
    template = environment.get_template("evaluation.html")
    return template.render(found=found, samples=samples, comparisons=comparisons).encode()


def number(value: float) -> str:
    """Return a number in four digits."""
    return f"{value:.4g}"


def figure(shown: Shown) -> str:
    """Return a figure with its interval, or why there is none."""
    if isinstance(shown, NotMeasured):
        return f"not measured: {shown.why}"
    if shown.low is None or shown.high is None:
        return number(shown.value)
    return f"{number(shown.value)} ({number(shown.low)} to {number(shown.high)})"


def percent(shown: Shown) -> str:
    """Return a share as a percentage with its interval, or why there is none."""
    if isinstance(shown, NotMeasured):
        return f"not measured: {shown.why}"
    low, high = (100 * (shown.value if end is None else end) for end in (shown.low, shown.high))
    return f"{100 * shown.value:.1f} % ({low:.1f} to {high:.1f})"


def card_with(card: str, found: Evaluation, page: str) -> str:
    """Return a model card with the evaluation's figures behind it; `page`: file of the whole."""
    lines = [card.rstrip(), "\n## Evaluation\n", f"Written by `assay evaluate generation`; all of it: `{page}`.\n"]
    lines += [f"- {name}: {text}" for name, text in headlines(found)]
    lines += [f"- Limit: {text}" for text in found.limits]
    return "\n".join(lines) + "\n"


def headlines(found: Evaluation) -> list[tuple[str, str]]:
    """Return the main figures as names and texts, for the card and the terminal."""
    rows: list[tuple[str, str]] = []
    if isinstance(found.loss, Loss):
        rows.append((f"Loss on {found.subject.basis} samples", figure(found.loss.unseen)))
        rows.append(("Loss on training samples", figure(found.loss.seen)))
    else:
        rows.append(("Loss on unseen samples", figure(found.loss)))
    if isinstance(found.frechet, Frechet):
        base = found.frechet.baseline
        beside = f"real against real {number(base.mean)}" if not isinstance(base, NotMeasured) else base.why
        note = ", biased by too few pictures" if found.frechet.biased else ""
        rows.append((found.frechet.name, f"{number(found.frechet.value)} ({beside}{note})"))
    else:
        rows.append(("Fréchet distance", figure(found.frechet)))
    if isinstance(found.manifold, NotMeasured):
        rows.append(("Precision and recall", figure(found.manifold)))
    else:
        rows.append(
            ("Precision", f"{percent(found.manifold.precision)}; real {_short(found.manifold.real_precision)}")
        )
        rows.append(("Recall", f"{percent(found.manifold.recall)}; real {_short(found.manifold.real_recall)}"))
    rows.append(("Prompt fit above shuffled prompts", figure(found.prompt_fit.difference)))
    rows.append(("The same of real pictures", figure(found.prompt_fit.real_difference)))
    if isinstance(found.memorisation, Memorisation):
        rate = 100 * found.memorisation.rate
        rows.append(("Looks memorised", f"{percent(found.memorisation.flagged)}; at most {rate:.2g} % by chance"))
    else:
        rows.append(("Looks memorised", figure(found.memorisation)))
    for one in found.outputs:
        text = "measured" if one.measured else one.why
        if one.measured and one.whole is not None:
            text = ", ".join(f"{name} {percent(value)}" for name, value in one.whole.shares.items())
        rows.append((f"Outputs by {one.name}: {one.attribute}", text))
    return rows


def _short(shown: Shown) -> str:
    return f"{100 * shown.value:.0f} %" if isinstance(shown, Figure) else "not measured"
