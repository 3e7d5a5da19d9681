"""Rights: what a run's signals and registry matches say about its samples, part by part, and on what that rests."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from filters.errors import BadInput
from filters.optout.judging import Policy, rights_masks
from pipelines.run.directory import Run
from pipelines.run.parts import Marker, part_name, read_marker
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
        found = (matches.files[part_name("matches", index)].sha256, _looks(matches)) if matches else None
        state.append((signals.sha256, found))
    return state


def scored_files(run: Run, index: int) -> list[str | None]:
    """Return what one part is matched by its looks with: the SHA-256 of its scores and of its embeddings.

    The marker's fingerprint would not do: it stays when spared scores are completed, or a sample is taken out.
    """
    files = run.marker("scores", index).files
    found = (files.get(part_name(artefact, index)) for artefact in ("scores", "embeddings"))
    return [record.sha256 if record else None for record in found]


def match_facts(run: Run, index: int, looks: bool) -> dict[str, object]:
    """Return the facts of a matches part: what it was matched with; `looks`: whether with embeddings of works too."""
    return {"scored": scored_files(run, index), "looks": looks}


def matched_now(run: Run, index: int) -> bool:
    """Tell whether one part was matched with its scores and embeddings as they are now."""
    marker = read_marker(run.store, part_name("matches", index, ""))
    return marker is not None and marker.facts.get("scored") == scored_files(run, index)


def require_matched(run: Run) -> None:
    """Refuse a run that the registry was matched with before its scores were as they are. Raises `BadInput`."""
    if run.recipe.rights.registry is None:
        return
    old = [index for index in run.parts("samples") if not matched_now(run, index)]
    if old:
        raise BadInput(
            f"{run.store.url}: {len(old)} part(s) are not matched with the registry by their present scores; "
            f"run assay optout match {run.store.url}, then assay decide {run.store.url}"
        )


def unseen(run: Run, index: int, rows: np.ndarray) -> np.ndarray:
    """Return which of the `rows` (n,) bool of one part have no embedding, where the registry holds works by theirs.

    Nobody can say of those whether they look like one.
    """
    marker = read_marker(run.store, part_name("matches", index, ""))
    if marker is None or not _looks(marker) or not rows.any():
        return np.zeros(len(rows), dtype=bool)
    found: np.ndarray = rows & without_embedding(run, index, len(rows))
    return found


def without_embedding(run: Run, index: int, count: int) -> np.ndarray:
    """Return which of a part's `count` rows have no picture embedding, (count,) bool."""
    if not run.store.exists(part_name("embeddings", index)):
        return np.ones(count, dtype=bool)
    column = run.table("embeddings", index, ["image"]).column("image").combine_chunks()
    found: np.ndarray = ~column.flatten().to_numpy().reshape(count, -1).any(axis=1)
    return found


def _looks(matches: Marker) -> bool:
    return bool(matches.facts.get("looks"))
