"""Measure the watermark scorer: `python -m benchmarks.watermark`; one JSON line a figure.

Carriers are the 500 photos under ASSAY_SHARED_DATA (224 x 224), at their own size and enlarged to 448 x 448 before
the stamp; each carries one of the 40 test kinds at each opacity. Neither invented names nor fonts nor (but for
`alamy`) texts are those that the weights were fitted with. No weight was fitted on the photos, but every sixth of them
was looked at during development, and the bound was raised because of them: docs/models/watermark.md.
"""

from __future__ import annotations

import argparse
import json
import os
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.score_inputs import default_images
from benchmarks.watermark_stamps import TEST_KINDS
from filters.decoding import Undecodable, decode
from filters.evaluation import auc
from filters.scorers.watermark import WatermarkScorer, weights

OPACITIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)

#: From here on a mark counts as clear: its letters change the picture at least as much as the ground varies there.
CLEAR = 1.0

SCORER = WatermarkScorer()


def photos(limit: int) -> list[Image.Image]:
    """Return the evaluation photos."""
    folder = Path(os.environ.get("ASSAY_SHARED_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    paths = sorted((folder / "flickr8k_sample" / "images").glob("*.jpg"))[:limit]
    if not paths:
        raise SystemExit(f"no photos under {folder}: set ASSAY_SHARED_DATA")
    return [decode(path.read_bytes()).image for path in paths]


def drawings(folder: Path, prefix: str, count: int) -> Iterator[Image.Image]:
    """Yield `count` openclipart drawings whose name begins with `prefix`, evenly spread."""
    names = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as archive:
            names += [(path, n) for n in archive.getnames() if n.startswith(prefix) and n.endswith(".png")]
    for path, name in names[:: max(1, len(names) // count)][:count]:
        with tarfile.open(path) as archive:
            member = archive.extractfile(name)
            assert member is not None
            try:
                image = decode(member.read()).image
            except Undecodable:  # a few drawings are larger than the pipeline's limit of pixels
                continue
        image.thumbnail((1024, 1024))
        yield image


def score(images: list[Image.Image], captions: list[str] | None = None) -> np.ndarray:
    """Return the scores (n,) of the pictures."""
    texts = captions or [""] * len(images)
    return np.array([SCORER.examine(image, text).score for image, text in zip(images, texts, strict=True)])


def say(figure: str, **values: object) -> None:
    """Print one figure."""
    rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()}
    print(json.dumps({"figure": figure, **rounded}), flush=True)


def stamped(carriers: list[Image.Image], every: int, name: str, bound: float) -> None:
    """Print AUC and rates: each `every`-th carrier stamped, against all of them clean."""
    began = time.perf_counter()
    clean = score(carriers)
    say(
        f"watermark {name} clean",
        pictures=len(clean),
        fpr=float((clean > bound).mean()),
        highest=float(clean.max()),
        ms_per_picture=1000 * (time.perf_counter() - began) / len(clean),
    )
    strong: list[tuple[float, float, tuple[str, ...]]] = []
    for opacity in OPACITIES:
        values = []
        for at in range(0, len(carriers), every):
            # By count, so that every kind has its turn whatever `every` is.
            kind = TEST_KINDS[at // every % len(TEST_KINDS)]
            marked = kind.stamp(carriers[at], opacity, at)
            values.append(SCORER.examine(marked).score)
            if opacity >= 0.3:
                keys = (kind.layout, kind.colour, "edged" if kind.edged else "plain")
                strong.append((values[-1], kind.shows(carriers[at], marked), keys))
        found = np.array(values)
        say(f"watermark {name} opacity {opacity}", auc=auc(found, clean), tpr=float((found > bound).mean()))
    scores, clear = np.array([value for value, _, _ in strong]), np.array([shown >= CLEAR for _, shown, _ in strong])
    for which, chosen in (("all", np.ones(len(clear), dtype=bool)), ("clear", clear), ("unclear", ~clear)):
        if chosen.any():
            say(
                f"watermark {name} opacity >= 0.3, {which} marks",
                kinds=len(TEST_KINDS),
                pictures=int(chosen.sum()),
                auc=auc(scores[chosen], clean),
                tpr=float((scores[chosen] > bound).mean()),
            )
    by_key: dict[str, list[bool]] = {}
    for value, _, keys in strong:
        for key in keys:
            by_key.setdefault(key, []).append(value > bound)
    say(f"watermark {name} opacity >= 0.3 tpr by kind", **{key: float(np.mean(v)) for key, v in by_key.items()})


def ordinary_text(corpus: Path, bound: float) -> None:
    """Print how often pictures with ordinary text pass for watermarked."""
    import skimage.data

    page = SCORER.examine(Image.fromarray(skimage.data.page()).convert("RGB"))
    say("watermark ordinary text: skimage page", score=page.score, flagged=page.score > bound, boxes=len(page.boxes))
    for prefix in ("signs_and_symbols", ""):
        findings = [SCORER.examine(image) for image in drawings(corpus, prefix, 300)]
        values = np.array([finding.score for finding in findings])
        lettered = np.array([finding.features[3] > 0 for finding in findings])
        say(
            f"watermark ordinary text: openclipart {prefix or 'all folders'}",
            pictures=len(values),
            fpr=float((values > bound).mean()),
            with_text=int(lettered.sum()),
            fpr_with_text=float((values[lettered] > bound).mean()) if lettered.any() else None,
        )


def named(carriers: list[Image.Image], bound: float) -> None:
    """Print how a caption that names the text changes the verdict on marks that stand once."""
    kinds = [kind for kind in TEST_KINDS if kind.layout not in ("diagonal_tiles", "rows")]
    marked = [kinds[at % len(kinds)].stamp(image, 0.6, at) for at, image in enumerate(carriers)]
    without = score(marked)
    naming = score(marked, [f"a sign that says {kinds[at % len(kinds)].text}" for at in range(len(marked))])
    say(
        "watermark caption names the text",
        pictures=len(marked),
        flagged_without=float((without > bound).mean()),
        flagged_with=float((naming > bound).mean()),
    )


def main() -> None:
    """Run every measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--corpus", type=Path, help="default: the openclipart corpus, where the demo or a test keeps it"
    )
    parser.add_argument("--photos", type=int, default=500)
    parser.add_argument("--every", type=int, default=2, help="stamp each n-th photo; all of them are scored clean")
    options = parser.parse_args()
    bound = float(weights()["threshold"])
    say("watermark model", id=SCORER.model_id(), threshold=bound)
    small = photos(options.photos)
    stamped(small, options.every, "photos 224", bound)
    enlarged = [image.resize((448, 448), Image.Resampling.BICUBIC) for image in small[:: options.every]]
    stamped(enlarged, 2, "photos 448", bound)
    ordinary_text(options.corpus or default_images(), bound)
    named(small[:100], bound)


if __name__ == "__main__":
    main()
