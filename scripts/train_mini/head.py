"""The head of `builtin:mini`: class vectors, what photos and drawings get beside them, the gate."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from filters.encoders.mini import ANCHORS, AXES, COMPONENTS, Head, likeness
from train_mini.openclipart import Drawing
from train_mini.texts import TITLE_AND_KEYWORDS, variants

#: Softens the classifiers' posterior, which is far too sure of one class to stand for a whole scene.
TEMPERATURE = 2.4

#: Power of the class vectors' covariance that the space is divided by on either side, and what is added to its
#: eigenvalues, whose mean is 1: what sets many classes apart (animal or thing) else drowns what sets few apart.
_SPREAD, _FLOOR = 0.15, 0.05

#: Penalty of the map from logits to directions, beside a mean likeness of a class to itself of 1.
_RIGID = 1.0

#: Penalty of the regression.
_RIDGE = 0.15

#: What the regression's answers, of length 0.29 on average, are multiplied by beside class vectors of length 1, and
#: the share of the drawings' mean class vector that is taken off.
_WEIGHT, _USUAL = 3.0, 0.72

#: Power of the covariance of the regression's errors that drawings are divided by, and what is added to its
#: eigenvalues, whose mean is 1.
_SHARP, _BLUNT = 0.35, 1.0


def fill_classes(
    head: Head, embed: Callable[[list[str]], Tensor], classes: Sequence[tuple[list[str], str]], rows: Tensor
) -> None:
    """Set class vectors, directions, temperature, centre of texts and the spread of the space.

    `rows`: both classifiers' weights of each class (1000, 2560). A class is the sum of a photo template's vector,
    twice its definition's and its lemmas', normalised, less the mean of all classes, spread. The centre is the mean of
    the 1,000 templates.
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
    head.directions.copy_(directions_of(rows, head.labels))
    head.text_centre.copy_(templates.mean(dim=0))
    head.temperature.fill_(TEMPERATURE)


def directions_of(rows: Tensor, labels: Tensor) -> Tensor:
    """Return what each class's logit says (1000, 384), for a classifier's weights (1000, n) and class vectors.

    Ridge regression from the classifier's own weights, one row a class and taken as a typical picture of it, to the
    class vectors: W' (W W' + r)^-1 Y, of which the classifier has done W' when it gives its logits. The columns sum
    to 0, so that what raises all logits alike changes nothing. No picture takes part.
    """
    centred = rows - rows.mean(dim=0)
    alike = centred @ centred.T
    rigid = _RIGID * alike.diagonal().mean() * torch.eye(len(alike))
    found: Tensor = torch.linalg.solve(alike + rigid, labels - labels.mean(dim=0))
    return found / found.norm(dim=1).mean()


def near_duplicates(features: Tensor, hashes: np.ndarray, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Tell which `rows` look like any of `others`: features alike, or perceptual hashes (64 bits) and features."""
    bits = hashes.astype(np.float32)
    distance = bits[rows] @ (1 - bits[others]).T + (1 - bits[rows]) @ bits[others].T
    cosine = (F.normalize(features[rows], dim=1) @ F.normalize(features[others], dim=1).T).numpy()
    alike: np.ndarray = ((cosine > 0.95) | ((distance <= 6) & (cosine > 0.85))).any(axis=1)
    return alike


def fit_residual(head: Head, features: Tensor, logits: Tensor, captions: Tensor, artists: np.ndarray) -> None:
    """Fit the residual to pictures and their captions (n, 6, 384): kernel ridge regression to each picture's mean.

    `artists` (n,) names who drew each. Closed form, so the same pictures give the same head; nothing is drawn by
    chance.
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
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(alike))
    means = captions.mean(dim=1)
    targets = means - means.mean(dim=0)
    answers = inverse @ targets
    texts = captions[:, TITLE_AND_KEYWORDS] - captions[:, TITLE_AND_KEYWORDS].mean(dim=0)
    head.sharpen.copy_(sharpening(texts - without_the_artist(inverse, answers, targets, artists)))
    for buffer in (head.anchors, head.answers):
        buffer.zero_()
    head.anchors[: len(places)] = places
    head.answers[: len(places)] = _WEIGHT * answers @ head.sharpen
    head.usual.copy_(_USUAL * head.classes(logits).mean(dim=0) @ head.sharpen)


def without_the_artist(inverse: Tensor, answers: Tensor, targets: Tensor, artists: np.ndarray) -> Tensor:
    """Return what the regression says of each drawing (n, 384) where it did not learn from the artist's drawings.

    `inverse` (n, n) is of the likeness with its ridge, `answers` its product with `targets` (n, 384). Nothing is
    fitted again: with the rows and columns B of an artist, that regression errs on them by inverse[B, B]^-1 answers[B]
    (the inverse of a matrix in blocks).
    """
    found = torch.empty_like(targets)
    for artist in np.unique(artists):
        rows = torch.from_numpy(np.flatnonzero(artists == artist))
        found[rows] = targets[rows] - torch.linalg.solve(inverse[rows][:, rows], answers[rows])
    return found


def sharpening(errors: Tensor) -> Tensor:
    """Return a symmetric matrix (384, 384) that makes directions of large errors (n, 384) smaller.

    As linear discriminant analysis divides by the covariance within classes, but with less than its whole power: the
    covariance is known from a few thousand drawings, and the texts are not divided.
    """
    sizes, directions = torch.linalg.eigh(errors.T @ errors / len(errors))
    sizes = sizes / sizes.mean() + _BLUNT
    found: Tensor = directions * (sizes / sizes.mean()) ** -_SHARP @ directions.T
    return found


def fit_gate(head: Head, features: Tensor, held_out: Tensor) -> None:
    """Fit the principal components of drawings' features, and shut the gate beyond nearly all of `held_out`.

    A picture counts half as a drawing at the distance that 99 of 100 drawings by other artists stay below. No photo
    takes part.
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
