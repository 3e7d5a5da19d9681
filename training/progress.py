"""How far a training is: the small part of its state, kept as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from filters.errors import BadInput
from filters.json_text import read_json


@dataclass
class Progress:
    """Where a stage stands after `step` steps.

    `cursor`: the data loader's whole state; `rate_scale`: factor on the learning rate, below 1 after the guard went
    back; `rollbacks`: how often it did; `samples`: samples used; `window`: numbers of the log's unfinished row;
    `previous`: the last row's mean loss; `joules`, `seconds`: used so far.
    """

    step: int = 0
    cursor: dict[str, Any] | None = None
    rate_scale: float = 1.0
    rollbacks: int = 0
    samples: int = 0
    window: dict[str, Any] = field(default_factory=lambda: {"sums": {}, "steps": {}})
    previous: float | None = None
    joules: float = 0.0
    seconds: float = 0.0

    def dump(self) -> bytes:
        """Return the progress as JSON bytes."""
        return json.dumps(asdict(self), indent=1).encode()


def read_progress(data: bytes, where: str) -> Progress:
    """Read what `dump` wrote. Raises `BadInput` naming the place."""
    try:
        return Progress(**read_json(data))
    except (ValueError, TypeError):
        raise BadInput(
            f"{where}: not the state of a training; delete this checkpoint, the one before is used"
        ) from None
