"""Where a training runs: accelerate's view of processes and devices, opened by the configuration."""

from __future__ import annotations

import platform
from typing import Any

import torch

from filters.encoders.torchvision_fix import ensure_torchvision
from filters.errors import BadInput
from training.config_loop import Loop


def open_accelerator(loop: Loop) -> Any:
    """Return accelerate's `Accelerator`: one process, or those of `accelerate launch` or torchrun.

    Raises `BadInput` where the device cannot do what the configuration asks for, or accelerate is not installed.
    """
    cpu = loop.device == "cpu" or not torch.cuda.is_available()
    if loop.precision == "fp16" and cpu:
        raise BadInput("loop.precision fp16 needs a GPU: take fp32 or bf16")
    if loop.threads:
        torch.set_num_threads(loop.threads)
    ensure_torchvision()
    try:
        from accelerate import Accelerator
    except ImportError:
        raise BadInput("training needs more packages: pip install 'assay-data[train]'") from None
    mixed = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}[loop.precision]
    return Accelerator(cpu=cpu, mixed_precision=mixed)


def device_name(device: torch.device) -> str:
    """Return the GPU's name, or the processor's kind."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
