"""Numbers of the steps since the last row of the log, summed on the device, so that no step waits for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Window:
    """Sums and counts by name. `bins` is the number of ranges of noise levels that losses are reported for."""

    def __init__(self, bins: int, device: torch.device) -> None:
        self.bins = bins
        self._device = device
        self._sums: dict[str, Tensor] = {}
        self._steps: dict[str, list[Tensor]] = {}

    def add(self, name: str, values: Tensor) -> None:
        """Add values (n,): their mean over the window is reported."""
        pair = torch.stack(
            (
                values.detach().double().sum(),
                torch.full((), float(values.numel()), dtype=torch.float64, device=self._device),
            )
        )
        self._sums[name] = self._sums[name] + pair if name in self._sums else pair

    def add_binned(self, name: str, values: Tensor, places: Tensor) -> None:
        """Add values (n,) to the range of their places (n,) in [0, 1)."""
        rows = (places * self.bins).long().clamp(0, self.bins - 1)
        pairs = torch.stack((values.detach().double(), torch.ones_like(values, dtype=torch.float64)), dim=1)
        key = f"{name}/bins"
        if key not in self._sums:
            self._sums[key] = torch.zeros(self.bins, 2, dtype=torch.float64, device=self._device)
        self._sums[key].index_add_(0, rows, pairs)

    def add_step(self, name: str, value: Tensor) -> None:
        """Add one number of a step, the same on all processes; mean and largest are reported, all for histograms."""
        self._steps.setdefault(name, []).append(value.detach().float())

    def gather(self, reduce: Any) -> None:
        """Sum over all processes with `reduce(tensor)`; what was gathered before must lie on one process only."""
        for name in sorted(self._sums):
            self._sums[name] = reduce(self._sums[name])

    def means(self) -> dict[str, float]:
        """Return the means by name; ranges without a value are left out."""
        found: dict[str, float] = {}
        for name, sums in self._sums.items():
            if name.endswith("/bins"):
                for place, (total, count) in enumerate(sums.tolist()):
                    if count:
                        found[f"{name.removesuffix('/bins')}/level{place:02d}"] = total / count
            else:
                total, count = sums.tolist()
                found[name] = total / max(count, 1.0)
        for name, values in self.steps().items():
            found[name], found[f"{name}/max"] = sum(values) / len(values), max(values)
        return found

    def steps(self) -> dict[str, list[float]]:
        """Return the numbers of the single steps by name."""
        return {name: torch.stack(values).tolist() for name, values in self._steps.items()}

    def clear(self) -> None:
        """Begin a new window."""
        self._sums, self._steps = {}, {}

    def clear_sums(self) -> None:
        """Forget the sums alone: another process holds them now."""
        self._sums = {}

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps; call `gather` before."""
        return {"sums": {name: sums.tolist() for name, sums in self._sums.items()}, "steps": self.steps()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        self._sums = {
            name: torch.tensor(sums, dtype=torch.float64, device=self._device) for name, sums in state["sums"].items()
        }
        self._steps = {
            name: [torch.tensor(value, device=self._device) for value in values]
            for name, values in state["steps"].items()
        }
