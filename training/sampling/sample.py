"""Sampling: noise and prompts to pictures, with guidance, from nothing, from a picture, or inside a mask.

A picture depends on its prompt, its seed and the settings, never on its neighbours in a batch. On the CPU the
networks therefore see one picture at a time, which costs little there: in a batch, a picture's last bits would depend
on how many there are. On a GPU that holds to rounding only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from filters.errors import AssayError, BadInput
from training.models.control import Control, controlled
from training.models.denoiser import denoise
from training.sampling.model import Model
from training.sampling.noise import plain_noise, source
from training.sampling.schedulers import KINDS, make_scheduler

if TYPE_CHECKING:  # which itself imports plans, and these settings
    from training.sampling.fair import Fair

_MOST_PIXELS = 4096 * 4096

#: What torch's CPU allocator says in a plain RuntimeError.
_CPU_WORDS = ("DefaultCPUAllocator", "can't allocate memory", "not enough memory")


class SamplingFailed(AssayError):
    """The networks gave numbers that are no picture. Exit code 4."""

    exit_code = 4


@dataclass(frozen=True)
class Settings:
    """What decides a picture beside its prompt and seed.

    `guidance`: 1 is none (arXiv:2207.12598 in the form out + (scale - 1) * (out - out without the prompt)).
    `strength`, 0 to 1: how much of a starting picture is noised away; 0 gives it back as the autoencoder does.
    """

    scheduler: str
    steps: int = 30
    guidance: float = 3.0
    width: int = 64
    height: int = 64
    strength: float = 0.8

    def check(self, model: Model) -> None:
        """Raise `BadInput` where the checkpoint cannot do it."""
        multiple = model.multiple
        for side in (self.width, self.height):
            if side < multiple or side % multiple:
                raise BadInput(f"--size {self.width}x{self.height}: the sides must be multiples of {multiple}")
        if self.width * self.height > _MOST_PIXELS:
            raise BadInput(f"--size {self.width}x{self.height}: more than 16 million pixels")
        if not 0 <= self.guidance <= 100:
            raise BadInput(f"--guidance {self.guidance:g}: 0 to 100; 1 is none")
        if not 0 <= self.strength <= 1:
            raise BadInput(f"--strength {self.strength:g}: 0 to 1")
        make_scheduler(self.scheduler, model.scheduler, self.steps)


@dataclass(frozen=True)
class Start:
    """A picture to start from, uint8 (h, w, 3), and where it may change: bool (h, w), None for everywhere."""

    pixels: np.ndarray
    mask: np.ndarray | None = None


@dataclass(frozen=True)
class Request:
    """Pictures of one batch: prompts, negative prompts and seeds, n each.

    `noise` (n, c, h, w): to start from, instead of the seeds' own. `fair`: values that the sampler's fair guidance
    leads to, n, empty for none.
    """

    prompts: Sequence[str]
    negatives: Sequence[str]
    seeds: Sequence[int]
    noise: Tensor | None = None
    fair: Sequence[str] = ()


@dataclass(frozen=True)
class Sampler:
    """Samples from one checkpoint with one set of settings; `control` steers it by a picture's edges."""

    model: Model
    settings: Settings
    start: Start | None = None
    control: Control | None = None
    fair: Fair | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the latents' shape of one picture, (c, h, w)."""
        factor = self.model.codec.factor
        return self.model.channels, self.settings.height // factor, self.settings.width // factor

    @torch.no_grad()
    def sample(self, request: Request) -> np.ndarray:
        """Return uint8 (n, h, w, 3).

        Raises `SamplingFailed` for numbers that are not finite, `BadInput` where there is not enough memory.
        """
        with _memory(len(request.seeds)):
            pixels = self._decode(self._latents(request))
        if not bool(torch.isfinite(pixels).all()):
            raise SamplingFailed(
                f"{self.model.path}: the sampler gave numbers that are not finite; take --precision fp32, more "
                "--steps, less --guidance, or a checkpoint that was trained further"
            )
        found = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
        return self._kept(found.permute(0, 2, 3, 1).cpu().numpy())

    @torch.no_grad()
    def latents(self, request: Request) -> Tensor:
        """Return scaled latents float32 (n, c, h, w), as the denoiser leaves them. Raises `BadInput` as `sample`."""
        with _memory(len(request.seeds)):
            return self._latents(request)

    def _latents(self, request: Request) -> Tensor:
        model, settings = self.model, self.settings
        noise = plain_noise(request.seeds, self.shape) if request.noise is None else request.noise
        noise = noise.to(model.device)
        scheduler = make_scheduler(settings.scheduler, model.scheduler, settings.steps)
        clean, mask = self._given(len(noise))
        first = 0
        if clean is None:
            x = noise * float(getattr(scheduler, "init_noise_sigma", 1.0))
        else:
            first = settings.steps - round(settings.steps * settings.strength)
            if first == settings.steps:
                return clean
            x = self._begin(scheduler, clean, noise, first)
        levels = scheduler.timesteps[first * scheduler.order :].to(model.device)
        guide = self._guided(request)
        if self.fair is not None and request.fair:
            guide = self.fair.guided(guide, model, self.fair.targets(request.fair), self.shape[1:])
        more = _step_arguments(scheduler, request.seeds)
        for at, level in enumerate(levels):
            given = scheduler.scale_model_input(x, level) if hasattr(scheduler, "scale_model_input") else x
            x = scheduler.step(guide(given, level), level, x, return_dict=False, **more)[0]
            if mask is not None and clean is not None:
                known = _noised(scheduler, clean, noise, levels[at + 1]) if at + 1 < len(levels) else clean
                x = torch.where(mask, x, known)
        return x

    def _given(self, count: int) -> tuple[Tensor | None, Tensor | None]:
        """Return the starting picture's latents (n, c, h, w), and where they may change, bool (1, 1, h, w)."""
        if self.start is None:
            return None, None
        model, settings = self.model, self.settings
        if self.start.pixels.shape != (settings.height, settings.width, 3):
            raise ValueError(f"a start of shape {self.start.pixels.shape} for {settings}")
        picture = torch.from_numpy(self.start.pixels.copy()).to(model.device).permute(2, 0, 1)[None]
        clean = model.codec.encode(picture.float() * (2 / 255) - 1).expand(count, -1, -1, -1).contiguous()
        if self.start.mask is None:
            return clean, None
        mask = torch.from_numpy(self.start.mask.copy()).to(model.device)[None, None].float()
        # A latent pixel may change where any of its pixels may.
        return clean, torch.nn.functional.max_pool2d(mask, model.codec.factor) > 0.5

    def _begin(self, scheduler: Any, clean: Tensor, noise: Tensor, first: int) -> Tensor:
        at = first * scheduler.order
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(at)
        return _noised(scheduler, clean, noise, scheduler.timesteps[at].to(clean.device))

    def _guided(self, request: Request) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the function from a noisy latent and its level to the guided output, float32."""
        model, scale = self.model, self.settings.guidance
        wanted = model.text.encode(list(request.prompts))
        if scale == 1.0:
            return lambda x, level: self._outputs(x, level, wanted.vectors, wanted.mask)
        others = model.text.encode(list(request.negatives))
        vectors = torch.cat((wanted.vectors, others.vectors))
        mask = torch.cat((wanted.mask, others.mask))

        def guide(x: Tensor, level: Tensor) -> Tensor:
            out, other = self._outputs(torch.cat((x, x)), level, vectors, mask).chunk(2)
            return other + scale * (out - other)

        return guide

    def _outputs(self, x: Tensor, level: Tensor, vectors: Tensor, mask: Tensor) -> Tensor:
        """Run the denoiser; on a CPU one row at a time."""
        model = self.model
        size = 1 if model.device.type == "cpu" else len(x)
        given, text = x.to(model.dtype), vectors.to(model.dtype)
        rows = [slice(start, start + size) for start in range(0, len(x), size)]
        found = [self._output(given[row], level.expand(len(given[row])), text[row], mask[row]) for row in rows]
        return torch.cat(found).float()

    def _output(self, x: Tensor, levels: Tensor, vectors: Tensor, mask: Tensor) -> Tensor:
        if self.control is None:
            return denoise(self.model.network, x, levels, vectors, mask)
        return controlled(self.model.network, self.control, x, levels, vectors, mask)

    def _decode(self, latents: Tensor) -> Tensor:
        if self.model.device.type == "cpu":
            return torch.cat([self.model.codec.decode(row[None]) for row in latents])
        return self.model.codec.decode(latents)

    def _kept(self, pictures: np.ndarray) -> np.ndarray:
        """Return the pictures with the starting one's own pixels where nothing may change."""
        if self.start is None or self.start.mask is None:
            return pictures
        return np.where(self.start.mask[None, :, :, None], pictures, self.start.pixels[None])


def _noised(scheduler: Any, clean: Tensor, noise: Tensor, level: Tensor) -> Tensor:
    """Return a clean latent as it is at a level of this scheduler."""
    at = level.reshape(1)
    found: Tensor = (
        scheduler.scale_noise(clean, at, noise)
        if hasattr(scheduler, "scale_noise")
        else scheduler.add_noise(clean, noise, at)
    )
    return found


def _step_arguments(scheduler: Any, seeds: Sequence[int]) -> dict[str, Any]:
    """Return each picture's own random numbers, for the schedulers that draw some in their steps."""
    if type(scheduler).__name__ not in {kind.class_name for kind in KINDS.values() if kind.random}:
        return {}
    return {"generator": [source(seed, "steps") for seed in seeds]}


@contextmanager
def _memory(batch: int) -> Iterator[None]:
    """Turn an allocator's error into one line that names the knobs."""
    advice = f"out of memory: lower --batch (now {batch}) or --size, or set --tiling or --precision bf16"
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise BadInput(advice) from error
    except RuntimeError as error:
        if any(words in str(error) for words in _CPU_WORDS):
            raise BadInput(advice) from error
        raise
