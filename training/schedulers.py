"""The sampler's configuration that goes with an objective: one of diffusers' schedulers."""

from __future__ import annotations

from typing import Any

from training.config_objective import Objective
from training.schedules import DIFFUSERS_NAMES

#: Our names of predictions -> those of diffusers' schedulers.
_PREDICTIONS = {"epsilon": "epsilon", "v": "v_prediction", "x0": "sample"}


def scheduler_of(objective: Objective, pixels: bool) -> Any:
    """Return diffusers' `DDPMScheduler` or, for rectified flow, `FlowMatchEulerDiscreteScheduler`.

    Other samplers are made from it by their `from_config`. `pixels`: samples are pictures, so that predicted clean
    ones are cut to [-1, 1]. Steps are spaced from the last level down ("trailing", arXiv:2305.08891, section 3.3).
    """
    from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler

    if objective.prediction == "flow":
        return FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=1.0)
    return DDPMScheduler(
        num_train_timesteps=objective.steps,
        beta_start=objective.beta_start,
        beta_end=objective.beta_end,
        beta_schedule=DIFFUSERS_NAMES[objective.schedule],
        prediction_type=_PREDICTIONS[objective.prediction],
        rescale_betas_zero_snr=objective.zero_terminal_snr,
        clip_sample=pixels,
        timestep_spacing="trailing",
    )


def few_step_scheduler_of(objective: Objective, pixels: bool, teacher_steps: int) -> Any:
    """Return the sampler of a distilled student: diffusers' `LCMScheduler` or `FlowMatchLCMScheduler`.

    It goes from noise to a clean sample at once, and back to a lower noise level for each further step
    (arXiv:2303.01469, algorithm 1). `teacher_steps`: of the grid that the student was taught on.
    """
    from diffusers import DDPMScheduler, FlowMatchLCMScheduler, LCMScheduler

    if objective.prediction == "flow":
        return FlowMatchLCMScheduler(num_train_timesteps=1000, shift=1.0)
    given = dict(scheduler_of(objective, pixels).config)
    if objective.schedule == "sigmoid":  # known to DDPMScheduler alone
        plain = DDPMScheduler.from_config({**given, "rescale_betas_zero_snr": False})
        given |= {"beta_schedule": "linear", "trained_betas": plain.betas.tolist()}
    return LCMScheduler.from_config(given, original_inference_steps=teacher_steps)
