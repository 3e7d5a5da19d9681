"""What a training used: energy from the GPU's own counters where there are some, else estimated from CPU time."""

from __future__ import annotations

import os

_JOULES_PER_KWH = 3.6e6


class Meter:
    """Counts this process's energy since it was made; with GPUs, its own card's.

    CPU time is that of the process and its ended children, in seconds of one core.
    """

    def __init__(self, device_index: int | None, cpu_watts: float) -> None:
        self._watts = cpu_watts
        self._card = _card(device_index)
        self._start = self._read()

    def used(self) -> float:
        """Return the joules since the start."""
        return self._read() - self._start

    def named(self, joules: float, grams_per_kwh: float) -> dict[str, object]:
        """Return kWh and grams of CO2 of some joules, with the assumptions behind them."""
        kwh = joules / _JOULES_PER_KWH
        how = f"CPU seconds x {self._watts:g} W a core" if self._card is None else "the GPU's counter, CPU left out"
        return {
            "kwh": round(kwh, 6),
            "co2_grams": round(kwh * grams_per_kwh, 3),
            "method": f"{how}; {grams_per_kwh:g} g CO2 a kWh; an estimate for the first process",
        }

    def _read(self) -> float:
        if self._card is not None:
            return _counter(self._card) / 1000.0  # millijoules
        return sum(os.times()[:4]) * self._watts  # user and system, then those of ended children


def _card(index: int | None) -> object | None:
    """Return the card's handle; None without a GPU, without the package nvidia-ml-py, or without a counter."""
    if index is None:
        return None
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        card: object = pynvml.nvmlDeviceGetHandleByIndex(index)
        pynvml.nvmlDeviceGetTotalEnergyConsumption(card)
    except pynvml.NVMLError:
        return None
    return card


def _counter(card: object) -> float:
    import pynvml

    return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(card))
