"""LoRA with and without prior preservation, and textual inversion, on one family of the sample corpus.

    python -m benchmarks.fine_tuning --corpus corpora/openclipart --base runs/demo-model --out DIR

The subject's pictures (`people/smilies`) become a run of their own, which the compliance check clears. Each method
trains on it by its example configuration; then the base and what was trained make pictures of prompts that were not
trained on, from the same seeds. One JSON line a method: cosines of the encoder's picture vectors, sizes, losses.

`paired`: the loss of the subject's pictures by base and result with the same prompt, noise and levels, ten levels a
picture (training/evaluation/losses.py); the difference is of result and base, its standard error over pictures.
`paired_others` is the null: the same of as many drawings of other families, told to be the subject too. Only what the
subject's difference is below the null's was learnt of the subject.
"""

from __future__ import annotations

import argparse
import json
import tarfile
from pathlib import Path
from typing import IO

import numpy as np
import torch
from PIL import Image, ImageOps

from filters.encoders.uri import load_encoder
from pipelines.commands.main import invoke
from pipelines.registry.store import create_registry
from training.config import load_config, parse_config
from training.contents import CONFIG
from training.evaluation.losses import errors_of
from training.recorder import read_metrics
from training.run import train
from training.sampling.adapter import adapted
from training.sampling.model import Model, Running, load_model, newest
from training.sampling.sample import Request, Sampler, Settings
from training.sampling.schedulers import default_kind

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "train"
FAMILY = "people/smilies"
#: Texts with {} for the word; none of them was trained with.
HELD_OUT = ["{} looking happy", "a big {}", "{} on white", "a drawing of two {}"]
CLASS = "a face"
SEEDS = 4


def subject_run(corpus: Path, out: Path) -> Path:
    """Make a finished run of the family's pictures; return its folder."""
    folder, run = out / "subject", out / "subject-run"
    if (run / "manifest.json").exists():
        return run
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(corpus.glob("*.tar")):
        with tarfile.open(path) as tar:
            members = {member.name: member for member in tar}
            for name, member in members.items():
                stem = name.removesuffix(".json")
                if stem == name or f"{stem}.png" not in members:
                    continue
                facts = json.load(tar.extractfile(member))
                if facts.get("folder") != FAMILY:
                    continue
                for suffix in ("png", "json"):
                    (folder / f"{stem}.{suffix}").write_bytes(tar.extractfile(members[f"{stem}.{suffix}"]).read())
                (folder / f"{stem}.txt").write_text(facts["title"])
    create_registry(str(out / "registry.sqlite")).close()
    recipe = {
        "version": 1,
        "name": "smilies",
        "input": {"kind": "folder", "path": str(folder)},
        "rules": {"caption_characters": {"low": 3, "high": 500}},
        "rights": {"registry": str(out / "registry.sqlite")},
        "licences": {"allow": ["http://web.resource.org/cc/PublicDomain"]},
    }
    (out / "subject.yaml").write_text(json.dumps(recipe))
    if invoke(["run", str(out / "subject.yaml"), "--out", str(run), "--runner", "plain"]) != 0:
        raise SystemExit("the subject's run failed")
    return run


def pictures(model: Model, prompts: list[str]) -> np.ndarray:
    """Return uint8 (n, h, w, 3), the same seeds for each prompt whatever the model."""
    sampler = Sampler(model, Settings(default_kind(model.scheduler), 20, 3.0, model.side, model.side))
    found = [
        sampler.sample(Request([prompt] * SEEDS, [""] * SEEDS, [1000 + seed for seed in range(SEEDS)]))
        for prompt in prompts
    ]
    return np.concatenate(found)


def vectors(encoder, found) -> np.ndarray:
    """Return the encoder's picture vectors, each of length 1."""
    rows = encoder.encode_images([one if isinstance(one, Image.Image) else Image.fromarray(one) for one in found])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def sheet(path: Path, found: np.ndarray) -> None:
    """Write the pictures side by side, a row a prompt, to look at: a measurement's picture, not for release."""
    rows = [np.concatenate(list(found[at : at + SEEDS]), axis=1) for at in range(0, len(found), SEEDS)]
    Image.fromarray(np.concatenate(rows)).save(path)


def others(corpus: Path, count: int) -> list[Image.Image]:
    """Return drawings of other families, evenly from the corpus's first shard."""
    with tarfile.open(min(corpus.glob("*.tar"))) as tar:
        members = {member.name: member for member in tar}
        names = [name.removesuffix(".json") for name in sorted(members) if name.endswith(".json")]
        facts = {name: json.load(tar.extractfile(members[f"{name}.json"])) for name in names}
        fit = [name for name in names if f"{name}.png" in members and facts[name].get("folder") != FAMILY]
        chosen = [fit[at] for at in np.linspace(0, len(fit) - 1, count).astype(int)]
        return [_white(tar.extractfile(members[f"{name}.png"])) for name in chosen]


def paired(models: tuple[Model, Model], prompts: tuple[str, str], shown: list[Image.Image]) -> dict[str, float]:
    """Return the mean loss of base and result on pictures, their difference and its standard error over pictures."""
    objective = parse_config((models[0].path / CONFIG).read_text(encoding="utf-8"), CONFIG, []).objective
    pixels = np.stack([np.asarray(one).transpose(2, 0, 1) for one in shown])
    uids = [f"{at:032x}" for at in range(len(shown))]
    base, result = (
        errors_of(model, objective, [(uids, [prompt] * len(shown), pixels)], 0).mean(axis=1)
        for model, prompt in zip(models, prompts, strict=True)
    )
    apart = result - base
    return {
        "base": round(float(base.mean()), 4),
        "result": round(float(result.mean()), 4),
        "difference": round(float(apart.mean()), 4),
        "standard_error": round(float(apart.std(ddof=1) / len(apart) ** 0.5), 4),
    }


def losses(folder: Path, stage: str, metric: str) -> tuple[float, float]:
    """Return the mean of the first and of the last tenth of a metric's rows."""
    rows = [float(row[3]) for row in read_metrics(folder / "metrics.csv") if row[0] == stage and row[2] == metric]
    part = max(1, len(rows) // 10)
    return float(np.mean(rows[:part])), float(np.mean(rows[-part:]))


def main() -> None:
    """Run all, or what is not there yet."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--corpus", type=Path, required=True)
    options.add_argument("--base", type=Path, required=True)
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--only", nargs="+", help="these methods; else all")
    options.add_argument("--set", action="append", default=[], help="override of every configuration")
    given = options.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    run = subject_run(given.corpus, given.out)
    encoder = load_encoder("builtin:mini", threads=1)
    shown = sorted((given.out / "subject").glob("*.png"))
    subject = vectors(encoder, [_white(path) for path in shown])
    base_path = newest(given.base)
    base = load_model(base_path, Running(device="cpu"))
    full = sum(path.stat().st_size for path in (base_path / "unet").glob("*.safetensors"))
    class_of_base = vectors(encoder, pictures(base, [CLASS]))
    methods = {
        "lora": ("lora.yaml", "zorp face", []),
        "lora-without-prior": ("lora.yaml", "zorp face", ["method.prior={source: none}"]),
        "word": ("textual-inversion.yaml", "<zorp>", []),
    }
    strangers = others(given.corpus, len(shown))
    for name, (example, word, more) in methods.items():
        if given.only and name not in given.only:
            continue
        common = [f"method.base={given.base}", "data.workers=0", "loop.threads=1", "loop.device=cpu"]
        config = load_config(EXAMPLES / example, [*common, *more, *given.set])
        folder = given.out / name
        result = train(config, str(run), folder, None, lambda text: None)
        plain = load_model(base_path, Running(device="cpu"))
        model, _ = adapted(plain, result.checkpoint, 1.0)
        prompts = [text.format(word) for text in HELD_OUT]
        plain_word = [text.format("face") for text in HELD_OUT]
        made = {"base": pictures(base, plain_word if name == "word" else prompts), name: pictures(model, prompts)}
        both, words = (base, model), (CLASS if name == "word" else word, word)
        stage = "textual_inversion" if name == "word" else "lora"
        for which, found in made.items():
            sheet(given.out / f"{name}-{which}.png", found)
        near = {which: float((vectors(encoder, found) @ subject.T).mean()) for which, found in made.items()}
        kept = vectors(encoder, pictures(model, [CLASS]))
        first, last = losses(folder, stage, "lora/subject" if name == "lora" else f"{stage}/loss")
        file = next(result.checkpoint.glob("*.safetensors"))
        figures = {
            "method": name,
            "subject_pictures": len(shown),
            "steps": result.steps,
            "loss_first_tenth": round(first, 4),
            "loss_last_tenth": round(last, 4),
            "paired": paired(both, words, [_white(path) for path in shown]),
            "paired_others": paired(both, words, strangers),
            "subject_cosine_base": round(near["base"], 4),
            "subject_cosine_trained": round(near[name], 4),
            "class_cosine_to_base_same_seed": round(float((kept * class_of_base).sum(axis=1).mean()), 4),
            "class_pictures_cosine_to_subject": round(float((kept @ subject.T).mean()), 4),
            "class_of_base_cosine_to_subject": round(float((class_of_base @ subject.T).mean()), 4),
            "bytes": file.stat().st_size,
            "bytes_of_full_unet": full,
        }
        print(json.dumps(figures), flush=True)


def _white(source: Path | IO[bytes] | None) -> Image.Image:
    """Return a picture on white, cut to its middle, as the loader shows it to training."""
    assert source is not None
    picture = Image.open(source).convert("RGBA")
    ground = Image.new("RGBA", picture.size, "white")
    return ImageOps.fit(Image.alpha_composite(ground, picture).convert("RGB"), (64, 64), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
