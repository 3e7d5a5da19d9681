"""One network under training: its wrapped form, optimiser, moving average, and one step of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from training.activity import block_of, gradients_by_block
from training.config_loop import Loop, Optimiser
from training.gradients import MovingAverage, add_noise, gradient_noise
from training.noise import seed_of
from training.recorder import Recorder
from training.spread import full, in_order, spread_as
from training.stages import Player
from training.weights import optimiser_of, put_optimiser, put_state, state_of, whole
from training.window import Window


class Trainee:
    """A player made ready for training by accelerate."""

    def __init__(self, player: Player, accelerator: Any, optimiser: Optimiser, loop: Loop, seed: int) -> None:
        self.player = player
        self._seed = seed
        self.rate = 0.0
        self._step = 0
        self._config, self._accelerator = optimiser, accelerator
        network = player.network.to(accelerator.device).train()
        if getattr(accelerator, "is_fsdp2", False):
            network = in_order(network)
        if loop.compile:
            network.compile()
        made = torch.optim.AdamW(
            [parameter for parameter in network.parameters() if parameter.requires_grad],
            lr=player.rate,
            betas=optimiser.betas,
            eps=optimiser.epsilon,
            weight_decay=optimiser.weight_decay,
        )
        self.network: nn.Module
        self.network, self._optimiser = accelerator.prepare(network, made)
        trained = [(name, parameter) for name, parameter in self.network.named_parameters() if parameter.requires_grad]
        self._blocks = [block_of(name) for name, _ in trained]
        self._parameters = [parameter for _, parameter in trained]
        self.average = MovingAverage(self._parameters, loop.ema) if player.average else None

    def begin(self, rate: float, step: int) -> None:
        """Begin a step: forget gradients, set the learning rate."""
        self.rate, self._step = rate, step
        self._optimiser.zero_grad(set_to_none=True)
        for group in self._optimiser.param_groups:
            group["lr"] = rate

    def learn(self, given: Any, weights: Tensor, count: Tensor, window: Window, last: bool) -> None:
        """Add one batch's gradients; `count` is the step's number of samples on all processes.

        `weights` (n,) are of the first n samples that were given; one behind them stands in for a process that has
        none (`training.data.batch.stand_in`), and counts nowhere.
        The loss is the sum over all samples of weight x loss, over their number: whatever the processes and batches
        that they are spread over. Gradients are exchanged with the `last` batch alone.
        """
        if last:
            self._learn(given, weights, count, window)
        else:
            with self._accelerator.no_sync(self.network):
                self._learn(given, weights, count, window)

    def _learn(self, given: Any, weights: Tensor, count: Tensor, window: Window) -> None:
        name = self.player.name
        with self._accelerator.autocast():
            measured = self.player.measure(self.network, given, self._step)
        own = slice(len(weights))
        losses = measured.losses[own] * weights
        # gradients are averaged over the processes, so each counts as many times as there are
        self._accelerator.backward(losses.sum() * self._accelerator.num_processes / count)
        window.add(f"{name}/loss", losses)
        for extra, values in measured.extras.items():
            window.add(f"{name}/{extra}", values[own])
        if measured.places is not None:
            window.add_binned(f"{name}/loss", losses, measured.places[own])

    def finish(self, window: Window) -> None:
        """Clip, add noise, take the step, move the average."""
        norm = self._accelerator.clip_grad_norm_(self._parameters, self._config.clip)
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        if self._config.noise_eta:
            deviation = gradient_noise(self._config.noise_eta, self._config.noise_gamma, self._step)
            add_noise(gradients, deviation, seed_of(self._seed, self.player.name, "gradient", self._step))
        self._optimiser.step()
        if not self._accelerator.optimizer_step_was_skipped:  # half precision skips a step that overflowed
            window.add_step(f"{self.player.name}/gradient", full(norm))
            if self.average is not None:
                self.average.update(self._parameters)

    def histograms(self, step: int, recorder: Recorder | None) -> None:
        """Write how the gradients of the step that was just taken spread: the tensors' norms, each block's values.

        All processes must call it.
        """
        pairs = zip(self._blocks, self._parameters, strict=True)
        given = [(block, parameter.grad) for block, parameter in pairs if parameter.grad is not None]
        gradients = [gradient for _, gradient in given]
        norms = torch.stack([full(norm) for norm in torch._foreach_norm(gradients)]).tolist() if gradients else []
        values = gradients_by_block([block for block, _ in given], gradients)
        if recorder is not None:
            recorder.histogram(step, f"{self.player.name}/gradient_by_tensor", norms)
            for block, some in values.items():
                recorder.histogram(step, f"{self.player.name}/gradient_by_block/{block}", some)

    def shipped(self) -> dict[str, Tensor]:
        """Return the weights to ship: the moving average where one is kept. All processes must call it."""
        state = state_of(self.network)
        if self.average is not None:
            names = [name for name, parameter in self.network.named_parameters() if parameter.requires_grad]
            plain = [name.removeprefix("module.") for name in names]
            averages = whole(self.average.shadows)
            state |= dict(zip(plain, averages, strict=True)) if state else {}
        return state

    def state(self) -> dict[str, Any]:
        """Return all that a checkpoint needs to go on. All processes must call it."""
        scaler = self._accelerator.scaler
        return {
            "weights": state_of(self.network),
            "optimiser": optimiser_of(self.network, self._inner()),
            "averages": whole(self.average.shadows) if self.average is not None else [],
            "updates": self.average.updates if self.average is not None else 0,
            "scaler": scaler.state_dict() if scaler is not None else {},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        put_state(self.network, state["weights"])
        put_optimiser(self.network, self._inner(), state["optimiser"])
        if self.average is not None:
            self.average.updates = int(state["updates"])
            for shadow, value in zip(self.average.shadows, state["averages"], strict=True):
                shadow.copy_(spread_as(value, shadow))
        if state["scaler"] and self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(state["scaler"])

    def _inner(self) -> torch.optim.Optimizer:
        found: torch.optim.Optimizer = getattr(self._optimiser, "optimizer", self._optimiser)
        return found
