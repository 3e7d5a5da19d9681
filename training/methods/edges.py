"""Edges of a picture, as a ControlNet reads them: the same function for training and for generation."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

#: Canny's bounds on the gradient of pixel values 0 to 255: those of diffusers' own ControlNet examples.
LOW, HIGH = 100, 200


def edges(pixels: np.ndarray) -> np.ndarray:
    """Return the edges of a picture, uint8 (h, w, 3) in RGB: uint8 (h, w), 255 on an edge and 0 elsewhere.

    Canny's detector (IEEE PAMI 8(6), 1986) on the grey picture, without a blur before it: at 64 px a blur takes thin
    strokes away. Integers throughout, so the same on every machine.
    """
    grey = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
    found: np.ndarray = cv2.Canny(grey, LOW, HIGH)
    return found


def condition(images: Tensor) -> Tensor:
    """Return what the network reads, float32 (n, 3, h, w) of 0 and 1, for pictures uint8 (n, 3, h, w).

    Taken of the pictures as they are trained on, cropped and mirrored, so that each edge lies where its latents do.
    """
    pictures = images.cpu().permute(0, 2, 3, 1).numpy()
    rows = [torch.from_numpy(edges(picture)) for picture in pictures]
    maps = torch.stack(rows) if rows else torch.zeros(0, *images.shape[2:], dtype=torch.uint8)
    return (maps[:, None] > 0).float().expand(-1, 3, -1, -1).contiguous()


def agreement(found: np.ndarray, wanted: np.ndarray, reach: int = 1) -> float:
    """Return the F1 measure of two edge maps (h, w): 1 where each edge pixel has one of the other within `reach`.

    Precision counts the found edges that lie near a wanted one, recall the wanted ones that lie near a found one
    (the boundary measure of Martin, Fowlkes and Malik, IEEE PAMI 26(5), 2004, with a square for their distance). 0
    where one map is empty and the other is not, 1 where both are.
    """
    there, asked = found > 0, wanted > 0
    if not there.any() or not asked.any():
        return float(there.any() == asked.any())
    near = np.ones((2 * reach + 1, 2 * reach + 1), dtype=np.uint8)
    wide_found, wide_asked = (cv2.dilate(one.astype(np.uint8), near) > 0 for one in (there, asked))
    precision = float((there & wide_asked).sum() / there.sum())
    recall = float((asked & wide_found).sum() / asked.sum())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
