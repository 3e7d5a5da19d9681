"""Rights: what a run's signals and registry matches say about its samples, part by part."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from filters.errors import BadInput
from filters.optout.judging import Policy, rights_masks
from pipelines.run.directory import Run
from pipelines.run.parts import part_name, read_marker
from pipelines.run.recipe_rights import Rights
from pipelines.run.schema import MATCHES


def policy_of(rights: Rights) -> Policy:
    """Return what the recipe's `rights` section decides."""
    return Policy(
        silence_allows=rights.default == "fail_open",
        unreadable_denies=rights.unreadable == "deny",
        captions_count=rights.captions == "drop",
        synthetic_allowed=rights.synthetic == "keep",
    )


def rights_part(run: Run, index: int, uids: pa.Array) -> np.ndarray:
    """Return the reason masks (n,) that the rights of one part's samples give, rows as in `uids`."""
    return rights_masks(uids, run.table("signals", index), matches_part(run, index), policy_of(run.recipe.rights))


def matches_part(run: Run, index: int) -> pa.Table:
    """Return one part's registry matches; none where the run was never matched."""
    name = part_name("matches", index)
    return run.table("matches", index) if run.store.exists(name) else MATCHES.empty_table()


def rights_state(run: Run) -> list[object]:
    """Return what the rights artefacts hold, as hashes.

    Raises `BadInput` where the recipe names a registry and the samples were not matched with it.
    """
    if run.recipe.rights.registry is not None and run.parts("matches") != run.parts("samples"):
        raise BadInput(f"{run.store.url}: not every part is matched with the registry; run assay optout match first")
    state: list[object] = []
    for index in run.parts("samples"):
        signals = run.marker("samples", index).files[part_name("signals", index)]
        matches = read_marker(run.store, part_name("matches", index, ""))
        state.append((signals.sha256, matches.files[part_name("matches", index)].sha256 if matches else None))
    return state
