"""Configuration of what is learned."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from training.config_base import Section


class Objective(Section):
    """What the denoiser learns; formulas and their sources stand in training/objectives.py."""

    prediction: Literal["epsilon", "v", "x0", "flow"] = Field(
        "v",
        description="the noise (arXiv:2006.11239), v (arXiv:2202.00512), the clean sample, or the velocity of "
        "rectified flow (arXiv:2209.03003)",
    )
    schedule: Literal["linear", "scaled-linear", "cosine", "sigmoid"] = Field(
        "scaled-linear",
        description="noise schedule; rectified flow has none (linear: arXiv:2006.11239; scaled-linear: "
        "arXiv:2112.10752; cosine: arXiv:2102.09672; sigmoid: arXiv:2203.02923)",
    )
    steps: int = Field(1000, ge=2, le=100_000, description="noise levels of the schedule (arXiv:2006.11239: 1000)")
    beta_start: float = Field(0.00085, gt=0, lt=1, description="first beta (arXiv:2112.10752; for linear take 0.0001)")
    beta_end: float = Field(0.012, gt=0, lt=1, description="last beta (arXiv:2112.10752; for linear take 0.02)")
    zero_terminal_snr: bool = Field(
        False, description="no signal at the last level (arXiv:2305.08891); not with epsilon, which cannot be inverted"
    )
    min_snr_gamma: float | None = Field(
        None, gt=0, description="gamma of min-SNR weights (arXiv:2303.09556: 5); null weighs all levels alike"
    )
    times: Literal["uniform", "logit-normal"] = Field(
        "uniform", description="how levels are drawn; logit-normal for flow alone (arXiv:2403.03206, equation 19)"
    )
    bound: bool = Field(
        False, description="also report the diffusion part of the variational bound (arXiv:2107.00630)"
    )

    @model_validator(mode="after")
    def _possible(self) -> Objective:
        if self.zero_terminal_snr and self.prediction == "epsilon":
            raise ValueError("zero_terminal_snr needs prediction v or x0: pure noise tells epsilon nothing")
        if self.prediction == "flow" and self.zero_terminal_snr:
            raise ValueError("rectified flow ends in pure noise anyway: leave zero_terminal_snr out")
        if self.times == "logit-normal" and self.prediction != "flow":
            raise ValueError("times logit-normal belongs to prediction flow")
        if self.bound and self.times != "uniform":
            raise ValueError("bound needs levels drawn uniformly: times uniform")
        if self.beta_start >= self.beta_end:
            raise ValueError(f"beta_start ({self.beta_start}) must be below beta_end ({self.beta_end})")
        return self
