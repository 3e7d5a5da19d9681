"""Which method a configuration asks for; each is loaded when it is."""

from __future__ import annotations

from filters.errors import BadInput
from training.config_method import Consistency, ControlNet, Lora, Progressive, TextualInversion
from training.methods.base import Given, Method


def method_of(given: Given) -> Method:
    """Make the method that the configuration asks for. Raises `BadInput` where the base does not do for it."""
    wanted = given.config.method
    if isinstance(wanted, Lora):
        from training.methods.lora import LoraMethod

        return LoraMethod(given, wanted)
    if isinstance(wanted, TextualInversion):
        from training.methods.inversion import InversionMethod

        return InversionMethod(given, wanted)
    if isinstance(wanted, ControlNet):
        from training.methods.controlnet import ControlNetMethod

        return ControlNetMethod(given, wanted)
    if isinstance(wanted, (Consistency, Progressive)):
        from training.methods.distil import Distillation

        return Distillation(given, wanted)
    raise BadInput("method.kind: full begins from nothing")
