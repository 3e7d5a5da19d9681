"""Configuration of the optimisation, its checkpoints and its logs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from training.config_base import Section


class Optimiser(Section):
    """AdamW (arXiv:1711.05101) with warm-up and cosine decay (arXiv:1608.03983)."""

    rate: float = Field(2e-4, gt=0, le=100, description="peak learning rate (arXiv:2006.11239: 2e-4)")
    warmup: int = Field(
        100, ge=0, le=10**9, description="steps over which the rate rises from 0 (arXiv:2006.11239: 5000)"
    )
    final: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the peak rate left at the last step (arXiv:1608.03983: 0); 1 is no decay "
        "(arXiv:2006.11239)",
    )
    betas: tuple[float, float] = Field((0.9, 0.999), description="AdamW's decay rates (arXiv:1711.05101)")
    epsilon: float = Field(1e-8, gt=0, le=1, description="AdamW's epsilon (arXiv:1412.6980)")
    weight_decay: float = Field(
        0.01, ge=0, le=100, description="AdamW's weight decay (arXiv:1711.05101; 0.01 is torch's default)"
    )
    clip: float = Field(
        1.0,
        gt=0,
        le=1e30,
        description="largest norm of all gradients together; longer ones are cut (arXiv:1211.5063; 1 is ours)",
    )
    noise_eta: float = Field(
        0.0, ge=0, le=1e6, description="eta of the gradient noise (arXiv:1511.06807: 0.01 to 1); 0 adds none"
    )
    noise_gamma: float = Field(
        0.55, gt=0, le=10, description="how fast the gradient noise fades (arXiv:1511.06807: 0.55)"
    )

    @model_validator(mode="after")
    def _possible(self) -> Optimiser:
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must lie in [0, 1), not {self.betas}")
        return self


class Guard(Section):
    """What happens when the loss or a gradient is no longer a finite number."""

    factor: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="after going back to the last good checkpoint, the rate is multiplied by this, once (ours)",
    )
    spike: float = Field(
        0.0,
        ge=0,
        description="also go back where the mean loss of a log interval is so many times the one before; "
        "0 looks at finite numbers alone (ours)",
    )


class Loop(Section):
    """How the training runs."""

    steps: int = Field(
        2000,
        ge=1,
        le=10**9,
        description="optimiser steps of the denoiser (ours; arXiv:2006.11239: 800,000 for CIFAR-10)",
    )
    accumulate: int = Field(
        1, ge=1, le=4096, description="batches a step: more make a larger batch in the same memory (ours)"
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32",
        description="precision of the forward pass; weights stay float32 (fp16: arXiv:1710.03740; bf16: "
        "arXiv:1905.12322; the default is ours)",
    )
    ema: float = Field(
        0.999,
        ge=0,
        lt=1,
        description="decay of the moving average of weights that is shipped; 0 for none (ours; "
        "arXiv:2006.11239: 0.9999)",
    )
    compile: bool = Field(
        False,
        description="torch.compile: minutes at the start, then faster steps on most GPUs; not measured here",
    )
    device: Literal["auto", "cpu"] = Field("auto", description="auto takes the GPU where there is one (ours)")
    threads: int = Field(0, ge=0, le=1024, description="CPU threads of each process; 0 leaves them as they are (ours)")
    guard: Guard = Guard()


class Checkpoints(Section):
    """What is written, and how often."""

    every: int = Field(500, ge=1, description="steps between checkpoints (ours)")
    keep: int = Field(2, ge=1, le=1_000_000, description="so many of the newest checkpoints stay (ours)")


class Logs(Section):
    """What is reported; metrics.csv is always written."""

    every: int = Field(10, ge=1, description="steps a row; the GPU is asked for numbers only then (ours)")
    bins: int = Field(10, ge=1, le=100, description="ranges of noise levels whose losses are reported apart (ours)")
    histograms: int = Field(
        500, ge=1, description="steps between histograms of gradients and the search for dead units (ours)"
    )
    tensorboard: bool = Field(True, description="write TensorBoard files where the package tensorboard is installed")
    wandb: str = Field("", description="project of Weights & Biases to send metrics to; empty sends nothing anywhere")
    cpu_watts: float = Field(
        10.0,
        ge=0,
        description="watts of one busy CPU core, for the energy estimate without a GPU (ours: an assumption)",
    )
    grams_per_kwh: float = Field(
        480.0,
        ge=0,
        description="grams of CO2 a kWh (source: Ember's Global Electricity Review 2024, world mean of 2023)",
    )
