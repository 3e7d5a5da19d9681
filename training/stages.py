"""The two things that are trained: the autoencoder, then the denoiser over its latents.

A stage turns a batch into what its networks read (`prepare`), and says what each of them pays for it (`measure`).
The loop (training/loop.py) does the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from training.config import Config
from training.config_models import AutoencoderLosses
from training.config_objective import Objective
from training.data.batch import Batch, scaled
from training.models.autoencoder import Autoencoding, Codec
from training.models.critic import PatchCritic, critic_loss, fooling_loss
from training.models.denoiser import dead_units, denoise
from training.models.perceptual import Perceptual
from training.models.text import TextEncoder
from training.noise import Draws, seed_of
from training.objectives import (
    EARLIEST,
    flow_bound,
    min_snr_weight,
    noised,
    squared_error,
    step_bound,
    target,
)
from training.schedules import alpha_bars
from training.spread import gathered


@dataclass(frozen=True)
class Measured:
    """What a network pays: `losses` (n,) with gradients; `places` (n,) in [0, 1), the noise level as a share of all.

    `extras`: further numbers (n,) to report, without gradients.
    """

    losses: Tensor
    places: Tensor | None = None
    extras: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Player:
    """One trained network: its name, whether its moving average is kept, and what it pays for a prepared batch.

    `measure(network, prepared, step)` gets the network as it is wrapped for speed or several processes.
    """

    name: str
    network: nn.Module
    average: bool
    rate: float
    measure: Callable[[nn.Module, Any, int], Measured]


class Stage(Protocol):
    """One training from its first to its last step."""

    name: str
    steps: int
    players: list[Player]

    def prepare(self, batch: Batch, step: int) -> Any:
        """Return what the players read of a batch; draws all random numbers."""
        ...

    def diagnose(self, given: Any) -> dict[str, float]:
        """Return numbers about the networks that are worth a pass of their own now and then."""
        ...


@dataclass
class Pictures:
    """A batch for the autoencoder; `made`: its reconstructions, for the critic."""

    pixels: Tensor
    noise: Tensor
    made: Tensor | None = None


class AutoencoderStage:
    """Trains a KL autoencoder (arXiv:2112.10752): pixels, KL, perceptual term, optionally a patch critic."""

    name = "autoencoder"

    def __init__(self, config: Config, network: nn.Module, device: torch.device) -> None:
        self.steps = config.autoencoder.steps
        self._losses: AutoencoderLosses = config.autoencoder.losses
        self._seed, self._device = seed_of(config.seed, self.name), device
        self._latents = Codec(network)
        self._perceptual = Perceptual().to(device) if self._losses.perceptual else None
        rate = config.autoencoder.rate
        self.players = [Player(self.name, Autoencoding(network), False, rate, self._autoencoder)]
        self._critic: nn.Module | None = None
        if self._losses.adversarial:
            self._critic = PatchCritic(self._losses.critic_width).to(device)
            self.players.append(Player("critic", self._critic, False, rate, self._judge))

    def prepare(self, batch: Batch, step: int) -> Pictures:
        """Move the pictures; draw the posterior's noise."""
        pixels = scaled(batch.images.to(self._device, non_blocking=True))
        factor = self._latents.factor
        shape = (self._latents.channels, pixels.shape[2] // factor, pixels.shape[3] // factor)
        return Pictures(pixels, Draws(self._seed, step, batch.uids, self._device).normal("posterior", shape))

    @torch.no_grad()
    def diagnose(self, given: Pictures) -> dict[str, float]:
        """Return no numbers, the parts of the loss are enough; a few pictures pass, for those who watch."""
        plain = self._latents.network
        training = plain.training
        with gathered(self.players[0].network):
            Autoencoding(plain.eval())(given.pixels[:8], given.noise[:8])
        plain.train(training)
        return {}

    def _autoencoder(self, network: nn.Module, given: Pictures, step: int) -> Measured:
        made, mean, log_variance = network(given.pixels, given.noise)
        made, mean, log_variance = made.float(), mean.float(), log_variance.float()
        given.made = made.detach()
        difference = made - given.pixels
        error = difference.abs() if self._losses.reconstruction == "l1" else difference.square()
        # KL(N(mean, variance) || N(0, 1)) = (mean^2 + variance - 1 - log variance) / 2
        kl = (mean.square() + log_variance.exp() - 1.0 - log_variance) / 2.0
        parts = {"reconstruction": error.flatten(1).mean(dim=1), "kl": kl.flatten(1).mean(dim=1)}
        losses = parts["reconstruction"] + self._losses.kl * parts["kl"]
        if self._perceptual is not None:
            parts["perceptual"] = self._perceptual(made, given.pixels)
            losses = losses + self._losses.perceptual * parts["perceptual"]
        if self._critic is not None and step >= self._losses.adversarial_start:
            # the critic's own gradients from here are thrown away before its turn
            parts["fooling"] = fooling_loss(self._critic(made))
            losses = losses + self._losses.adversarial * parts["fooling"]
        return Measured(losses, None, {name: part.detach() for name, part in parts.items()})

    def _judge(self, network: nn.Module, given: Pictures, step: int) -> Measured:
        assert given.made is not None
        real, made = network(torch.cat((given.pixels, given.made))).float().chunk(2)
        losses = critic_loss(real, made)
        return Measured(losses if step >= self._losses.adversarial_start else losses * 0.0)


@dataclass(frozen=True)
class Noisy:
    """A batch for the denoiser. `levels` (n,) as the network reads them; all else as in training/objectives.py."""

    xt: Tensor
    wanted: Tensor
    levels: Tensor
    steps: Tensor
    alpha: Tensor
    sigma: Tensor
    text: Tensor
    mask: Tensor


class DenoiserStage:
    """Trains the denoiser on latents."""

    name = "denoiser"

    def __init__(
        self, config: Config, network: nn.Module, codec: Codec, text: TextEncoder, device: torch.device
    ) -> None:
        self.steps = config.loop.steps
        self.players = [Player(self.name, network, config.loop.ema > 0, config.optimiser.rate, self._denoiser)]
        self._objective: Objective = config.objective
        self._seed, self._device = seed_of(config.seed, self.name), device
        self._codec, self._text = codec, text
        self._bars = bars_of(config.objective).to(device)

    def prepare(self, batch: Batch, step: int) -> Noisy:
        """Encode pictures and captions; draw levels and noise."""
        draws = Draws(self._seed, step, batch.uids, self._device)
        x0 = self.latents(batch, draws)
        noise = draws.normal("noise", x0.shape[1:])
        alpha, sigma, steps, levels = levels_of(self._objective, draws, self._bars)
        text = self._text.encode(batch.captions)
        xt = noised(x0, noise, alpha, sigma)
        wanted = target(self._objective.prediction, x0, noise, alpha, sigma)
        return Noisy(xt, wanted, levels, steps, alpha, sigma, text.vectors, text.mask)

    def diagnose(self, given: Noisy) -> dict[str, float]:
        """Return the share of dead units for a few samples."""
        few = slice(0, 8)
        network = self.players[0].network
        with gathered(network):
            share = dead_units(network, given.xt[few], given.levels[few], given.text[few], given.mask[few])
        return {"denoiser/dead_units": share}

    def latents(self, batch: Batch, draws: Draws) -> Tensor:
        """Return a batch's clean latents, float32 (n, channels, h, w): cached ones, else drawn from the posterior."""
        if batch.latents is not None:
            return batch.latents.to(self._device, torch.float32, non_blocking=True)
        pixels = scaled(batch.images.to(self._device, non_blocking=True))
        factor = self._codec.factor
        shape = (self._codec.channels, pixels.shape[2] // factor, pixels.shape[3] // factor)
        return self._codec.encode(pixels, draws.normal("posterior", shape) if factor > 1 else None)

    def _denoiser(self, network: nn.Module, given: Noisy, step: int) -> Measured:
        return self.pays(denoise(network, given.xt, given.levels, given.text, given.mask), given)

    def pays(self, output: Tensor, given: Noisy) -> Measured:
        """Return what a denoiser pays that gave `output`, of the shape of `given.wanted`."""
        objective = self._objective
        errors = squared_error(output, given.wanted)
        losses = errors
        if objective.min_snr_gamma is not None:
            losses = errors * min_snr_weight(objective.prediction, given.alpha, given.sigma, objective.min_snr_gamma)
        extras = {"error": errors.detach()}
        if objective.bound and objective.prediction == "flow":
            extras["bound"] = flow_bound(errors.detach(), given.sigma)
        elif objective.bound:
            extras["bound"] = step_bound(objective.prediction, errors.detach(), given.steps, self._bars)
        places = given.steps.float() / len(self._bars)
        return Measured(losses, places, extras)


def bars_of(objective: Objective) -> Tensor:
    """Return alpha_bar (T,), float64; rectified flow's has no meaning beyond its length."""
    return alpha_bars(
        objective.schedule, objective.steps, objective.beta_start, objective.beta_end, objective.zero_terminal_snr
    )


def levels_of(objective: Objective, draws: Draws, bars: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw a noise level for each sample: alpha, sigma (n,) float32, steps (n,) int64, levels as the network reads.

    Rectified flow: t in [EARLIEST, 1], uniform or the logistic function of a standard normal (arXiv:2403.03206,
    equation 19); the network reads 1000 t, as diffusers' flow-match samplers give it.
    """
    count = len(bars)
    if objective.prediction != "flow":
        steps = (draws.uniform("level") * count).long().clamp(max=count - 1)
        bar = bars[steps]
        return bar.sqrt().float(), (1.0 - bar).sqrt().float(), steps, steps
    uniform = draws.uniform("level")
    times = torch.sigmoid(draws.normal("level", ())) if objective.times == "logit-normal" else uniform
    times = EARLIEST + (1.0 - EARLIEST) * times
    steps = (times * count).long().clamp(max=count - 1)
    return 1.0 - times, times, steps, times * 1000.0
