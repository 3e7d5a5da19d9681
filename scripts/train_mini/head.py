"""The head of `builtin:mini`: class vectors, what drawings get beside them, and the gate that keeps it to drawings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from filters.encoders.mini import ANCHORS, AXES, COMPONENTS, Head, likeness
from train_mini.openclipart import Drawing
from train_mini.texts import variants

#: Softens the classifiers' posterior, which is far too sure of one class to stand for a whole scene.
TEMPERATURE = 2.4

#: Power of the class vectors' covariance that the space is divided by on either side, and what is added to its
#: eigenvalues, whose mean is 1: what sets many classes apart (animal or thing) else drowns what sets few apart.
_SPREAD, _FLOOR = 0.15, 0.05

#: Penalty of the regression.
_RIDGE = 0.15

#: What the regression's answers, of length 0.29 on average, are multiplied by beside class vectors of length 1, and
#: the share of the drawings' mean class vector that is taken off.
_WEIGHT, _USUAL = 3.0, 0.72


def fill_classes(head: Head, embed: Callable[[list[str]], Tensor], classes: Sequence[tuple[list[str], str]]) -> None:
    """Set class vectors, temperature, centre of texts and the spread of the space.

    A class is the sum of a photo template's vector, twice its definition's and its lemmas', normalised, less the
    mean of all classes, spread. The centre is the mean of the 1,000 templates.
    """
    templates = embed([f"a photo of a {lemmas[0]}" for lemmas, _ in classes])
    definitions = embed([definition for _, definition in classes])
    names = embed([", ".join(lemmas) for lemmas, _ in classes])
    vectors = F.normalize(templates + 2 * definitions + names, dim=1)
    vectors = vectors - vectors.mean(dim=0)
    sizes, directions = torch.linalg.eigh(vectors.T @ vectors)
    powers = (sizes / sizes.mean() + _FLOOR) ** -_SPREAD
    head.spread.copy_(directions * powers @ directions.T)
    head.labels.copy_(vectors @ head.spread)
    head.text_centre.copy_(templates.mean(dim=0))
    head.temperature.fill_(TEMPERATURE)


def near_duplicates(features: Tensor, hashes: np.ndarray, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Tell which `rows` look like any of `others`: features alike, or perceptual hashes (64 bits) and features."""
    bits = hashes.astype(np.float32)
    distance = bits[rows] @ (1 - bits[others]).T + (1 - bits[rows]) @ bits[others].T
    cosine = (F.normalize(features[rows], dim=1) @ F.normalize(features[others], dim=1).T).numpy()
    alike: np.ndarray = ((cosine > 0.95) | ((distance <= 6) & (cosine > 0.85))).any(axis=1)
    return alike


def fit_residual(head: Head, features: Tensor, logits: Tensor, captions: Tensor) -> None:
    """Fit the residual to pictures and the mean of their captions (n, 384): kernel ridge regression.

    Closed form, so the same pictures give the same head; nothing is drawn by chance.
    """
    if len(features) > ANCHORS:
        raise SystemExit(f"{len(features)} drawings, but the head has room for {ANCHORS}: raise ANCHORS")
    head.mean.copy_(features.mean(dim=0))
    head.deviation.copy_(features.std(dim=0) + 1e-3)
    units = F.normalize(head.standard(features), dim=1)
    head.axes.copy_(principal(units, AXES))
    head.offset.copy_(head.axes @ units.mean(dim=0))
    places = head.place(head.standard(features))
    alike = likeness(places, places) + _RIDGE * torch.eye(len(places))
    for buffer in (head.anchors, head.answers):
        buffer.zero_()
    head.anchors[: len(places)] = places
    head.answers[: len(places)] = _WEIGHT * torch.linalg.solve(alike, captions - captions.mean(dim=0))
    head.usual.copy_(_USUAL * head.classes(logits).mean(dim=0))


def fit_gate(head: Head, features: Tensor, held_out: Tensor) -> None:
    """Fit the principal components of drawings' features, and shut the gate beyond nearly all of `held_out`.

    The residual is halved at the distance that 99 of 100 drawings by other artists stay below. No photo takes part.
    """
    inputs = head.standard(features)
    head.drawing.copy_(inputs.mean(dim=0))
    head.components.copy_(principal(inputs, COMPONENTS))
    distances = head.distance(head.standard(held_out))[:, 0].numpy()
    middle, usual = np.quantile(distances, 0.99), np.quantile(distances, 0.95)
    head.gate.copy_(torch.tensor([1.0, middle, (middle - usual) / 4]))


def principal(rows: Tensor, number: int) -> Tensor:
    """Return the first principal components (number, columns) of rows, the largest first."""
    centred = rows - rows.mean(dim=0)
    _, directions = torch.linalg.eigh(centred.T @ centred)
    return directions[:, -number:].flip(1).T.contiguous()


def caption_vectors(embed: Callable[[list[str]], Tensor], head: Head, drawings: Sequence[Drawing]) -> Tensor:
    """Return the vectors (n, 6, 384) of six captions a drawing as the encoder gives them, each of length 1."""
    vectors = embed([text for drawing in drawings for text in variants(drawing)])
    return F.normalize((vectors - head.text_centre) @ head.spread, dim=1).view(len(drawings), 6, -1)
