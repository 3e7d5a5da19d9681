"""The training loop: steps, logs, checkpoints, and the way back from numbers that are not finite.

Everything random is drawn from seeds of step and sample, so that the state which a checkpoint keeps is enough to go
on bit for bit on a CPU, whatever was killed in between.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from filters.errors import AssayError, TooManyFailures
from training.activity import watched
from training.config import Config
from training.config_loop import Optimiser
from training.data.batch import Batch, stand_in
from training.data.view import View
from training.gradients import learning_rate
from training.memory import memory_errors
from training.noise import seed_of
from training.progress import Progress
from training.recorder import Recorder
from training.signals import Interrupts
from training.stages import Stage
from training.trainee import Trainee
from training.window import Window


class TrainingDiverged(AssayError):
    """Loss or gradients were no finite numbers again after the one way back: exit code 4."""

    exit_code = 4


class _NotFinite(Exception):
    """Loss or a gradient is not a finite number (or rose beyond the guard's bound)."""


class Feed(Protocol):
    """Batches from a cursor on, without end."""

    def open(self, cursor: dict[str, Any] | None) -> Iterator[Batch]:
        """Return batches from the cursor on (None: the beginning)."""
        ...

    def cursor(self, batch: Batch) -> dict[str, Any]:
        """Return the state after this batch."""
        ...

    def view(self) -> View:
        """Return the view that the newest batch names."""
        ...

    def recheck(self, step: int) -> int:
        """Ask the gate again whether all may still be trained on; return how many samples left. All call it."""
        ...


class Keeper(Protocol):
    """Writes and reads the checkpoints of one stage. All processes call it; the first one writes."""

    def seen(self, batch: Batch, view: View) -> None:
        """Count the samples of a batch that a step has been made with."""
        ...

    def save(self, progress: Progress, trainees: Sequence[Trainee], metrics: dict[str, float]) -> None:
        """Write a checkpoint after `progress.step`."""
        ...

    def load(self, trainees: Sequence[Trainee]) -> Progress | None:
        """Set the trainees to the newest checkpoint; None where there is none."""
        ...


@dataclass(frozen=True)
class Parts:
    """What a stage's loop works with. `recorder` is None on all processes but the first.

    `joules()`: energy used since the process began; `say` prints a line for people.
    """

    config: Config
    accelerator: Any
    feed: Feed
    keeper: Keeper
    recorder: Recorder | None
    joules: Callable[[], float]
    say: Callable[[str], None]


class Trainer:
    """Runs one stage to its end, from wherever its newest checkpoint stands."""

    def __init__(self, stage: Stage, parts: Parts) -> None:
        self._stage, self._parts = stage, parts
        self._config, self._accelerator = parts.config, parts.accelerator
        self._device: torch.device = self._accelerator.device
        self.trainees = [
            Trainee(player, self._accelerator, self._config.optimiser, self._config.loop, self._config.seed)
            for player in stage.players
        ]
        self._window = Window(self._config.logs.bins, self._device)
        self.progress = Progress()
        self._saved = self._epoch_over = False
        self._samples = 0
        self._latest: dict[str, float] = {}
        self._waited = 0.0

    def run(self, interrupts: Interrupts) -> dict[str, float]:
        """Train to the last step; return the last row of metrics.

        Raises `KeyboardInterrupt` after a checkpoint where the user interrupts, `TrainingDiverged` where going back
        once did not help, `BadInput` where memory or disk do not do.
        """
        self._go_back(self._parts.keeper.load(self.trainees))
        if self.progress.step == 0 and not self._saved:
            self._save()  # proves that the disk does before hours of work, and gives the guard a place to go back to
        return self.go_on(interrupts)

    def go_on(self, interrupts: Interrupts) -> dict[str, float]:
        """Train to the last step from where this trainer stands; raises as `run` does."""
        while self.progress.step < self._stage.steps:
            try:
                self._steps(interrupts)
            except _NotFinite as reason:
                self._roll_back(str(reason))
        return self._latest

    def _go_back(self, progress: Progress | None) -> None:
        self._saved = progress is not None
        self.progress = progress or Progress()
        self._window.clear()
        self._samples = 0
        if self._accelerator.is_main_process:  # sums over all processes lie there
            self._samples = self.progress.samples
            self._window.restore(self.progress.window)
        if self._parts.recorder is not None:
            self._parts.recorder.rewind(self.progress.step)

    def _roll_back(self, reason: str) -> None:
        step, rollbacks = self.progress.step, self.progress.rollbacks
        where = f"{self._stage.name}: {reason} near step {step}"
        if rollbacks:
            raise TrainingDiverged(
                f"{where}, again after going back with a lower rate; the last checkpoint is good: lower "
                f"{'autoencoder.rate' if self._stage.name == 'autoencoder' else 'optimiser.rate'}, raise "
                "optimiser.warmup, or set loop.precision bf16 or fp32"
            )
        self._go_back(self._parts.keeper.load(self.trainees))
        self.progress.rollbacks = rollbacks + 1
        self.progress.rate_scale *= self._config.loop.guard.factor
        if self._parts.recorder is not None:
            self._parts.recorder.scalars(self.progress.step, {"rollback_from": float(step)})
        self._say(f"{where}: back to step {self.progress.step}, rate times {self._config.loop.guard.factor:g}")

    def _steps(self, interrupts: Interrupts) -> None:
        """Run steps until the last one. Raises `_NotFinite`, `KeyboardInterrupt`."""
        batches = self._parts.feed.open(self.progress.cursor)
        try:
            self._steps_of(batches, interrupts)
        finally:
            close = getattr(batches, "close", None)
            if close is not None:  # now, not when somebody collects it: decoding processes end with it
                close()

    def _steps_of(self, batches: Iterator[Batch], interrupts: Interrupts) -> None:
        logs, every = self._config.logs, self._config.checkpoints.every
        started, first = time.monotonic(), self.progress.step
        joules = self._parts.joules() - self.progress.joules
        seconds = started - self.progress.seconds
        while self.progress.step < self._stage.steps:
            self._step(batches)
            step = self.progress.step
            self.progress.seconds = time.monotonic() - seconds
            self.progress.joules = self._parts.joules() - joules
            last = step == self._stage.steps
            stop = interrupts.wanted if self._accelerator.num_processes == 1 else False
            if step % logs.every == 0 or step % every == 0 or last or stop:
                self._window.gather(self._sum)
                stop = self._any(interrupts.wanted)
                self._check()
                if step % logs.every == 0 or last:
                    self._report((time.monotonic() - started) / max(1, step - first))
                    started, first = time.monotonic(), step
                if not self._accelerator.is_main_process:
                    self._window.clear_sums()  # they lie on the first process now, once
            saves = step % every == 0 or last or stop
            if saves or self._epoch_over:
                left = self._parts.feed.recheck(step)
                if left:
                    self._say(f"{self._stage.name} {step}: {left} samples were retracted; they are out from here on")
            if saves:
                self._save()
            if stop and not last:
                raise KeyboardInterrupt

    def _step(self, batches: Iterator[Batch]) -> None:
        """Take one optimisation step of every network."""
        step, config = self.progress.step, self._config
        with memory_errors(self._stage.name, f"in step {step + 1}", config):
            waiting = time.monotonic()
            some, views, count = self._draw(batches)
            self._waited += time.monotonic() - waiting
            # dropout alone draws from the global generators: seeded anew, they need not be kept in checkpoints
            torch.manual_seed(seed_of(config.seed, self._stage.name, step, self._accelerator.process_index))
            prepared = [self._stage.prepare(stand_in(batch), step) for batch in some]
            for trainee in self.trainees:
                trainee.begin(self._rate(trainee.player.rate), step)
                for place, (batch, given) in enumerate(zip(some, prepared, strict=True)):
                    weights = batch.weights.to(self._device, non_blocking=True)
                    trainee.learn(given, weights, count, self._window, last=place == len(some) - 1)
                trainee.finish(self._window)
        for batch, view in zip(some, views, strict=True):
            self._samples += len(batch.uids)
            self._parts.keeper.seen(batch, view)
            self.progress.cursor = self._parts.feed.cursor(batch)
        self.progress.step = step + 1
        if self.progress.step % config.logs.histograms == 0:
            self._diagnose(prepared[-1])

    def _draw(self, batches: Iterator[Batch]) -> tuple[list[Batch], list[View], torch.Tensor]:
        """Return the batches of a step, their views, and the number of their samples on all processes.

        Batches of which no process has a sample (unreadable, or removed since the epoch was planned) are passed over.
        Raises `TooManyFailures` where a whole epoch is of that kind.
        """
        self._epoch_over, ends = False, 0
        while True:
            some, views = [], []
            for _ in range(self._config.loop.accumulate):
                some.append(next(batches))
                views.append(self._parts.feed.view())
            ends += sum(batch.last for batch in some)
            self._epoch_over = ends > 0
            own = sum(len(batch) for batch in some)
            count = self._count(own)
            # who has a sample need not wait for the sum; where nobody has one, all look at it and go on alike
            if own or float(count) > 0:
                return some, views, count
            if ends > 1:
                raise TooManyFailures(
                    f"{self._stage.name}: no picture of a whole epoch can be read (data.max_unreadable "
                    f"{self._config.data.max_unreadable:g} lets that pass)"
                )

    def _diagnose(self, given: Any) -> None:
        """Write the distributions of gradients and activations, and what the stage finds out about its networks."""
        step, recorder = self.progress.step, self._parts.recorder
        looking = f"in the histograms of step {step}"
        with (
            memory_errors(self._stage.name, looking, self._config),
            watched(self._stage.players[0].network) as activity,
        ):
            found = self._stage.diagnose(given)
        for trainee in self.trainees:
            trainee.histograms(step, recorder)
        if recorder is not None:
            name = self._stage.name
            for block, values in activity.sampled().items():
                recorder.histogram(step, f"{name}/activation/{block}", values)
            dead = {f"{name}/dead_units/{block}": share for block, share in activity.dead().items()}
            recorder.scalars(step, {**found, **dead})

    def _rate(self, peak: float) -> float:
        optimiser: Optimiser = self._config.optimiser
        scaled = peak * self.progress.rate_scale
        warmup = min(optimiser.warmup, self._stage.steps // 2)
        return learning_rate(self.progress.step, scaled, warmup, self._stage.steps, optimiser.final)

    def _count(self, own: int) -> torch.Tensor:
        """Return the number of samples of the step on all processes together, as a tensor that nobody waits for."""
        count = torch.full((), float(own), device=self._device)
        return self._sum(count) if self._accelerator.num_processes > 1 else count

    def _sum(self, values: torch.Tensor) -> torch.Tensor:
        if self._accelerator.num_processes == 1:
            return values
        total: torch.Tensor = self._accelerator.reduce(values, reduction="sum")
        return total

    def _any(self, flag: bool) -> bool:
        """Tell whether the flag is set on any process; all must call it."""
        return bool(self._sum(torch.tensor(float(flag), device=self._device)) > 0)

    def _check(self) -> None:
        """Look at the window's numbers; they are the same on all processes."""
        means = self._window.means()
        if bad := [name for name, value in means.items() if not math.isfinite(value)]:
            raise _NotFinite(f"{bad[0]} is not a finite number")
        spike, loss = self._config.loop.guard.spike, means[f"{self._stage.name}/loss"]
        if spike and self.progress.previous is not None and loss > spike * abs(self.progress.previous):
            raise _NotFinite(f"the loss rose from {self.progress.previous:g} to {loss:g}")

    def _report(self, seconds: float) -> None:
        """Write one row of metrics and begin a new window."""
        step = self.progress.step
        means = self._window.means()
        self.progress.previous = means[f"{self._stage.name}/loss"]
        self._latest = {
            **means,
            "rate": self.trainees[0].rate,
            "seconds_per_step": seconds,
            "waiting": self._waited,
        }
        self._waited = 0.0
        if self._parts.recorder is not None:
            self._parts.recorder.scalars(step, self._latest)
        self._window.clear()
        self._say(f"{self._stage.name} {step}/{self._stage.steps}: loss {self.progress.previous:.4f}")

    def _save(self) -> None:
        self.progress.window = self._window.state()
        self.progress.samples = int(self._sum(torch.tensor(self._samples, device=self._device)))
        self._samples = self.progress.samples if self._accelerator.is_main_process else 0
        self._parts.keeper.save(self.progress, self.trainees, self._latest)
        self._saved = True

    def _say(self, text: str) -> None:
        if self._accelerator.is_main_process:
            self._parts.say(text)
