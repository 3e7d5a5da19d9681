"""Training records: which checkpoint was trained on which version of a dataset.

The trainer writes one record for each checkpoint into the dataset's folder `trainings/`; a retraction lists from
them the checkpoints that have seen a sample.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass

from filters.errors import BadInput
from pipelines.run.storage import Store

_FOLDER = "trainings"


@dataclass(frozen=True)
class Training:
    """One checkpoint: its SHA-256 (64 hex digits), where it lies, the dataset's content hash, when it ended.

    `dataset` is the version that it was trained on last; `earlier`: those before, from the first on, that it was
    trained on too.
    """

    checkpoint: str
    path: str
    dataset: str
    finished_at: str
    earlier: tuple[str, ...] = ()

    def on(self, versions: Collection[str]) -> bool:
        """Tell whether it was trained on any of these versions."""
        return any(version in versions for version in (self.dataset, *self.earlier))


def record_training(store: Store, training: Training) -> None:
    """Write the record; the same checkpoint again replaces its own record."""
    store.write(f"{_FOLDER}/{training.checkpoint}.json", json.dumps(asdict(training), indent=1).encode())


def trainings(store: Store, datasets: set[str]) -> list[Training]:
    """Return the trainings on any of the dataset versions, by date. Raises `BadInput` for a broken record."""
    found = []
    for name in store.list(_FOLDER):
        try:
            body = json.loads(store.read(name))
            training = Training(**{**body, "earlier": tuple(str(one) for one in body.get("earlier", ()))})
        except (ValueError, TypeError, AttributeError):
            raise BadInput(f"{store.url}/{name}: not a training record; a retraction must know all of them") from None
        if training.on(datasets):
            found.append(training)
    return sorted(found, key=lambda training: (training.finished_at, training.checkpoint))
