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
    "flow-lcm": Kind("FlowMatchLCMScheduler", "arXiv:2310.04378 on straight paths", flow=True, random=True),
}

_FLOW_CLASSES = {kind.class_name for kind in KINDS.values() if kind.flow}

#: Samplers of distilled students, by the class that their checkpoints name.
_FEW_STEPS = {"LCMScheduler": "lcm", "FlowMatchLCMScheduler": "flow-lcm"}


def default_kind(config: Mapping[str, Any]) -> str:
    """Return the sampler that is taken where none is named: deterministic, and sound at any number of steps.

    A distilled student has the one that it was made for.
    """
    named = str(config.get("_class_name"))
    return _FEW_STEPS.get(named) or ("flow-euler" if named in _FLOW_CLASSES else "ddim")


def default_steps(facts: Mapping[str, Any]) -> int:
    """Return the steps that are taken where none are named: of a distilled student those that it was made for."""
    return _student_steps(facts) or 30


def default_guidance(facts: Mapping[str, Any]) -> float:
    """Return the guidance that is taken where none is named; a student has its teacher's inside."""
    return 1.0 if _student_steps(facts) else 3.0


def _student_steps(facts: Mapping[str, Any]) -> int:
    """Return the steps that a checkpoint's facts state for a student, 0 where it is none."""
    method = facts.get("method")
    steps = method.get("student_steps") if isinstance(method, dict) else None
    return steps if isinstance(steps, int) and not isinstance(steps, bool) and steps > 0 else 0


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
        # Its steps are picked from a coarser schedule, the teacher's or 50 levels; never fewer than are asked for.
        coarse = int(config.get("original_inference_steps") or 50)
        scheduler.set_timesteps(steps, original_inference_steps=max(coarse, steps) if levels >= coarse else levels)
    elif name == "flow-lcm":
        # Diffusers' own spacing would end on a level with a thousandth of noise, a step that does nothing.
        scheduler.set_timesteps(sigmas=[1.0 - at / steps for at in range(steps)])
    else:
        scheduler.set_timesteps(steps)
    return scheduler


def checked_kind(name: str, config: Mapping[str, Any]) -> Kind:
    """Return a sampler that fits the checkpoint's objective. Raises `BadInput`."""
    kind = KINDS.get(name)
    if kind is None:
        raise BadInput(f"--scheduler {name}: no such sampler; one of {', '.join(KINDS)}")
    flow = config.get("_class_name") in _FLOW_CLASSES
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
