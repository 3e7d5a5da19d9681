"""The head of `builtin:mini`: class vectors, what drawings get beside them, and the gate that keeps it to drawings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from filters.encoders.mini import COMPONENTS, LENGTH, Head
from train_mini.openclipart import Drawing
from train_mini.texts import variants

#: Softens the classifiers' posterior, which is far too sure of one class to stand for a whole scene.
TEMPERATURE = 2.2

#: Largest weight of the residual.
_WEIGHT = 0.5

_EPOCHS, _BATCH, _RATE, _DECAY = 25, 512, 5e-4, 0.05
_DROPOUT, _CONTRAST, _MIXING = 0.6, 0.07, 0.3

#: Captions closer than this to a picture's own are no evidence against it.
_SAME = 0.9


def fill_classes(head: Head, embed: Callable[[list[str]], Tensor], classes: Sequence[tuple[list[str], str]]) -> None:
    """Set class vectors, temperature and centre of texts.

    A class is the sum of a photo template's vector, twice its definition's and its lemmas', normalised, less the
    mean of all classes. The centre is the mean of the 1,000 templates.
    """
    templates = embed([f"a photo of a {lemmas[0]}" for lemmas, _ in classes])
    definitions = embed([definition for _, definition in classes])
    names = embed([", ".join(lemmas) for lemmas, _ in classes])
    vectors = F.normalize(templates + 2 * definitions + names, dim=1)
    head.labels.copy_(vectors - vectors.mean(dim=0))
    head.text_centre.copy_(templates.mean(dim=0))
    head.temperature.fill_(TEMPERATURE)


def near_duplicates(features: Tensor, hashes: np.ndarray, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Tell which `rows` look like any of `others`: features alike, or perceptual hashes (64 bits) and features."""
    bits = hashes.astype(np.float32)
    distance = bits[rows] @ (1 - bits[others]).T + (1 - bits[rows]) @ bits[others].T
    cosine = (F.normalize(features[rows], dim=1) @ F.normalize(features[others], dim=1).T).numpy()
    alike: np.ndarray = ((cosine > 0.95) | ((distance <= 6) & (cosine > 0.85))).any(axis=1)
    return alike


def train_head(
    head: Head, features: Tensor, logits: Tensor, captions: Tensor, rows: np.ndarray, seed: int = 0
) -> None:
    """Train the residual on the pictures `rows` against their captions (all pictures, 6, 384), centred, by InfoNCE.

    Pictures are mixed in pairs; captions alike count as no mismatch; each time one of six captions is drawn.
    """
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    head.mean.copy_(features[rows].mean(dim=0))
    head.deviation.copy_(features[rows].std(dim=0) + 1e-3)
    inputs = F.normalize(head.standard(features), dim=1)
    classes = F.normalize((logits / head.temperature).softmax(dim=-1) @ head.labels, dim=-1)
    head.inner.reset_parameters()
    torch.nn.init.zeros_(head.outer.weight)
    torch.nn.init.zeros_(head.outer.bias)
    weights = [*head.inner.parameters(), *head.outer.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=_RATE, weight_decay=_DECAY)
    total, step = _EPOCHS * math.ceil(len(rows) / _BATCH), 0
    for _ in range(_EPOCHS):
        order = generator.permutation(rows)
        for some in np.array_split(order, math.ceil(len(rows) / _BATCH)):
            step += 1
            for group in optimiser.param_groups:
                group["lr"] = _RATE * min(1, step / 20) * 0.5 * (1 + math.cos(math.pi * step / total))
            texts = F.normalize(captions[some, generator.integers(0, 6, len(some))], dim=1)
            partner = torch.from_numpy(generator.permutation(len(some)))
            share = torch.from_numpy(generator.beta(_MIXING, _MIXING, (len(some), 1))).float()
            share = torch.maximum(share, 1 - share)
            x = LENGTH * (share * inputs[some] + (1 - share) * inputs[some][partner])
            base = F.normalize(share * classes[some] + (1 - share) * classes[some][partner], dim=1)
            hidden = F.dropout(F.gelu(head.inner(F.dropout(x, _DROPOUT))), _DROPOUT)
            loss = _loss(F.normalize(base + _WEIGHT * head.outer(hidden), dim=1), texts, partner, share[:, 0])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


def _loss(vectors: Tensor, texts: Tensor, partner: Tensor, share: Tensor) -> Tensor:
    same = (texts @ texts.T > _SAME) & ~torch.eye(len(texts), dtype=torch.bool)
    scores = (vectors @ texts.T / _CONTRAST).masked_fill(same, -1e4)
    own = torch.arange(len(texts))
    by_picture = share * F.cross_entropy(scores, own, reduction="none")
    by_picture = by_picture + (1 - share) * F.cross_entropy(scores, partner, reduction="none")
    return by_picture.mean() + F.cross_entropy(scores.T, own)


def fit_gate(head: Head, features: Tensor, rows: np.ndarray, held_out: np.ndarray) -> None:
    """Fit the principal components of the drawings `rows`, and shut the gate beyond nearly all of `held_out`.

    The residual is halved at the distance that 99.5 of 100 drawings by other artists stay below. No photo takes part.
    """
    inputs = head.standard(features)
    centre = inputs[rows].mean(dim=0)
    _, _, components = torch.linalg.svd(inputs[rows] - centre, full_matrices=False)
    head.drawing.copy_(centre)
    head.components.copy_(components[:COMPONENTS])
    distances = head.distance(inputs[held_out])[:, 0].numpy()
    middle, usual = np.quantile(distances, 0.995), np.quantile(distances, 0.95)
    head.gate.copy_(torch.tensor([_WEIGHT, middle, (middle - usual) / 4]))


def caption_vectors(embed: Callable[[list[str]], Tensor], centre: Tensor, drawings: Sequence[Drawing]) -> Tensor:
    """Return the centred vectors (n, 6, 384) of six captions a drawing."""
    vectors = embed([text for drawing in drawings for text in variants(drawing)])
    return (vectors - centre).view(len(drawings), 6, -1)
