"""The samplers by name, each made from the scheduler configuration that lies in a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from filters.encoders.torchvision_fix import ensure_torchvision
from filters.errors import BadInput


@dataclass(frozen=True)
class Kind:
    """One sampler: diffusers' class, and what it can do.

    `flow`: it walks the straight paths of rectified flow, and only those. `random`: it draws noise in every step, so
    that the initial noise cannot be found again by running it backwards. `zero`: it bears a schedule whose last step
    holds no signal.
    """

    class_name: str
    source: str
    flow: bool = False
    random: bool = False
    zero: bool = True


#: Names on the command line. Heun and DEIS have no way around the division by zero of a zero terminal SNR.
KINDS: Mapping[str, Kind] = {
    "ddpm": Kind("DDPMScheduler", "arXiv:2006.11239", random=True),
    "ddim": Kind("DDIMScheduler", "arXiv:2010.02502"),
    "euler": Kind("EulerDiscreteScheduler", "arXiv:2206.00364, algorithm 2 without churn"),
    "heun": Kind("HeunDiscreteScheduler", "arXiv:2206.00364, algorithm 1", zero=False),
    "dpm++": Kind("DPMSolverMultistepScheduler", "arXiv:2211.01095, second order"),
    "deis": Kind("DEISMultistepScheduler", "arXiv:2204.13902", zero=False),
    "unipc": Kind("UniPCMultistepScheduler", "arXiv:2302.04867"),
    "lcm": Kind("LCMScheduler", "arXiv:2310.04378", random=True),
    "flow-euler": Kind("FlowMatchEulerDiscreteScheduler", "arXiv:2209.03003", flow=True),
}

_FLOW_CLASS = "FlowMatchEulerDiscreteScheduler"


def default_kind(config: Mapping[str, Any]) -> str:
    """Return the sampler that is taken where none is named: deterministic, and sound at any number of steps."""
    return "flow-euler" if config.get("_class_name") == _FLOW_CLASS else "ddim"


def make_scheduler(name: str, config: Mapping[str, Any], steps: int) -> Any:
    """Return a fresh scheduler with `steps` steps set. Raises `BadInput` where it does not fit the checkpoint.

    `config`: the checkpoint's `scheduler_config.json`. A scheduler has a state: make one for each batch.
    """
    kind = checked_kind(name, config)
    levels = int(config.get("num_train_timesteps", 1000))
    if not 1 <= steps <= levels:
        raise BadInput(f"--steps {steps}: 1 to {levels}, the noise levels that the checkpoint was trained with")
    ensure_torchvision()
    import diffusers

    built: Any = getattr(diffusers, kind.class_name)
    # Sigmoid schedules are known to DDPMScheduler alone; the others take its betas as they are.
    given = dict(config)
    if config.get("beta_schedule") == "sigmoid" and name != "ddpm":
        plain = diffusers.DDPMScheduler.from_config({**config, "rescale_betas_zero_snr": False})
        given |= {"beta_schedule": "linear", "trained_betas": plain.betas.tolist()}
    scheduler = built.from_config(given)
    if name == "lcm":
        # Its steps are picked from a coarser schedule, 50 levels in the paper; never fewer than are asked for.
        scheduler.set_timesteps(steps, original_inference_steps=max(50, steps) if levels >= 50 else levels)
    else:
        scheduler.set_timesteps(steps)
    return scheduler


def checked_kind(name: str, config: Mapping[str, Any]) -> Kind:
    """Return a sampler that fits the checkpoint's objective. Raises `BadInput`."""
    kind = KINDS.get(name)
    if kind is None:
        raise BadInput(f"--scheduler {name}: no such sampler; one of {', '.join(KINDS)}")
    flow = config.get("_class_name") == _FLOW_CLASS
    if flow != kind.flow:
        what = "rectified flow" if flow else f"diffusion ({config.get('prediction_type')})"
        fitting = [one for one, other in KINDS.items() if other.flow == flow]
        raise BadInput(f"--scheduler {name}: the checkpoint was trained for {what}; take {', '.join(fitting)}")
    if config.get("rescale_betas_zero_snr") and not kind.zero:
        fitting = [one for one, other in KINDS.items() if other.zero and not other.flow]
        raise BadInput(
            f"--scheduler {name}: cannot start where no signal is left (objective.zero_terminal_snr); "
            f"take {', '.join(fitting)}"
        )
    return kind
