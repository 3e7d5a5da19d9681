"""Where the quality of each scorer was measured, as `assay doctor` prints it."""

from __future__ import annotations

_PLACES = {
    "size": "exact; tests/filters/scorers/test_size.py",
    "hashes": "bit for bit those of ImageHash on its published pictures; tests/filters/scorers/test_hashes.py",
    "pdq": "within 16 bits of the hashes that Meta's own tests assert; tests/filters/scorers/test_pdq.py",
    "colours": "exact formula; its bound: python -m benchmarks.dedup --only quality",
    "pixels": "exact; tests/filters/scorers/test_pixels.py",
    "caption": "exact counts; tests/filters/scorers/test_captions.py",
    "language": "by fastText's makers; not measured here",
    "technical": "exact formulas; tests/filters/scorers/test_technical.py",
    "quality": "damaged copies against originals, photos and drawings: python -m benchmarks.quality",
    "nsfw": "false positives only; recall is not measured here: assay evaluate nsfw --labels FILE does",
    "nudity": "false positives only; recall is not measured here: assay evaluate nsfw --labels FILE does",
    "aesthetic": "arithmetic only, tests/filters/scorers/test_heads.py; agreement with people by LAION",
    "nsfw_clip": "arithmetic only, tests/filters/scorers/test_heads.py; recall is not measured here",
    "watermark": "40 kinds of stamped marks and clean pictures: python -m benchmarks.watermark",
}


def measured(scorer: str, model: str) -> str:
    """Return where the quality of `scorer` was measured, in one line; `model` is the similarity's URI."""
    if scorer == "similarity":
        if model.startswith("builtin:"):
            return "500 captioned photos and openclipart: docs/models/mini.md"
        return "by the weights' makers; on your own pictures: assay evaluate retrieval --model URI"
    return _PLACES.get(scorer, "nowhere")
