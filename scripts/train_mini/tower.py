"""The text tower: three of the teacher's six layers, taught to give the whole teacher's vectors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filters.encoders.packed import pack
from filters.encoders.text_tower import TextTower, WordPieces
from train_mini.teacher import load_teacher

#: The teacher's layers that the tower starts from.
_START = (0, 2, 5)
_BATCH, _HELD_OUT = 128, 2000

#: Steps, learning rate, the steps in which a half cosine would take it to nothing, steps of warming up. Each leg has
#: a fresh optimiser. The first was broken off, and the last added, when cosines were still rising.
_LEGS = ((600, 6e-4, 2800, 200), (1000, 5e-4, 1000, 50), (1400, 5e-4, 1400, 50))


def four_bits(weight: Tensor) -> Tensor:
    """Return a matrix as its 4-bit form gives it back."""
    stored = pack({"w": weight}, {"w": 4})
    halves = torch.stack((stored["w:4"] & 15, stored["w:4"] >> 4), dim=-1).flatten(1).float() - 8.0
    return halves * stored["w:scale"].float()[:, None]


def start() -> TextTower:
    """Return the tower before training: the teacher's words in 4 bits, which stay, and three of its layers."""
    teacher, tower = load_teacher(), TextTower()
    tower.words.weight.data = four_bits(teacher.words.weight.data)
    tower.words.weight.requires_grad_(False)
    tower.positions.data = teacher.positions.data.clone()
    tower.norm = teacher.norm
    tower.layers = nn.ModuleList(teacher.layers[index] for index in _START)
    return tower


def distil(tokenizer: WordPieces, texts: Sequence[str], targets: Tensor, trial: bool = False) -> TextTower:
    """Train the tower on the teacher's vectors (n, 384) of `texts`; the first 2,000 texts are held out.

    The loss is one minus the cosine to the teacher, plus the same less the centre of all texts, since most of a
    plain cosine is what all texts share. Prints both cosines on the held-out texts. A trial takes ten steps a leg.
    """
    torch.manual_seed(0)
    rows = [tokenizer([text])[0] for text in texts]
    lengths = np.array([len(row) for row in rows])
    centre = F.normalize(targets[_HELD_OUT:].float(), dim=1).mean(dim=0)
    tower = start().train()
    weights = [weight for weight in tower.parameters() if weight.requires_grad]
    for leg, (steps, rate, horizon, warm) in enumerate(_LEGS):
        optimiser = torch.optim.AdamW(weights, lr=rate, weight_decay=0.01, betas=(0.9, 0.98))
        for step, some in zip(range(10 if trial else steps), _batches(lengths, leg), strict=False):
            cosine = 0.5 * (1 + math.cos(math.pi * step / horizon)) * 0.98 + 0.02
            for group in optimiser.param_groups:
                group["lr"] = rate * min(1, (step + 1) / warm) * cosine
            with torch.autocast("cpu", torch.bfloat16):
                found = tower(_padded(rows, some))
            found, wanted = F.normalize(found.float(), dim=1), targets[some].float()
            loss = 1 - (found * wanted).sum(dim=1) + 1 - F.cosine_similarity(found - centre, wanted - centre)
            optimiser.zero_grad()
            loss.mean().backward()
            nn.utils.clip_grad_norm_(weights, 1.0)
            optimiser.step()
            if (step + 1) % 200 == 0:
                print(f"tower leg {leg} step {step + 1}:", *held_out(tower, rows, targets, centre), flush=True)
    return tower.eval()


def held_out(tower: TextTower, rows: Sequence[Tensor], targets: Tensor, centre: Tensor) -> tuple[float, float]:
    """Return the mean cosine to the teacher on the held-out texts, plain and less the centre."""
    tower.eval()
    order = np.argsort([len(row) for row in rows[:_HELD_OUT]], kind="stable")
    with torch.inference_mode():
        parts = [tower(_padded(rows, order[k : k + _BATCH])) for k in range(0, _HELD_OUT, _BATCH)]
    tower.train()
    found, wanted = F.normalize(torch.cat(parts), dim=1), targets[order].float()
    return float((found * wanted).sum(dim=1).mean()), float(
        F.cosine_similarity(found - centre, wanted - centre).mean()
    )


def _padded(rows: Sequence[Tensor], some: np.ndarray) -> Tensor:
    return nn.utils.rnn.pad_sequence([rows[index] for index in some], batch_first=True)


def _batches(lengths: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """Give batches of texts of like length, in random order, over and over."""
    generator = np.random.default_rng(seed)
    while True:
        order = generator.permutation(np.arange(_HELD_OUT, len(lengths)))
        for start in range(0, len(order), _BATCH * 32):
            block = order[start : start + _BATCH * 32]
            block = block[np.argsort(lengths[block], kind="stable")]
            parts = [block[k : k + _BATCH] for k in range(0, len(block), _BATCH)]
            for index in generator.permutation(len(parts)):
                yield parts[index]
