"""Lists: a URL list is cut once into parts of equal length, which later stages read by number.

The slices pin what the list said when the run began: a list that changes or vanishes does no harm to a
run that is resumed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pyarrow as pa

from filters.errors import BadInput
from pipelines.run.directory import Run
from pipelines.run.parts import Marker, PartWriter, fingerprint, finished, part_name, read_marker
from pipelines.run.recipe_fetch import Fetch
from pipelines.run.schema_fetch import LISTS
from pipelines.run.steady import StoreFailed
from pipelines.sources.urllist import list_state, read_list

VERSION = "1"
ARTEFACT = "lists"
_ALL = f"{ARTEFACT}/all"


def slice_list(run: Run, settings: Fetch) -> Marker:
    """Write the slices of the run's list unless they are there. Raises `BadInput` for an empty list.

    A list that is gone is no error where its slices are whole.
    """
    recipe = run.recipe
    pinned = read_marker(run.store, _ALL)
    try:
        state = list_state(recipe.input.path)
    except (BadInput, StoreFailed):
        if pinned is None:
            raise
        state = pinned.facts["state"]
    shape = (recipe.input.fields.model_dump(), settings.rows_per_part, recipe.limits.max_metadata_bytes)
    wanted = fingerprint("lists", VERSION, state, shape)
    done = finished(run.store, _ALL, wanted)
    if done is not None:
        return done
    writer = PartWriter(run.store, _ALL, wanted)
    rows = _numbered(run)
    digests: list[str] = []
    count = 0
    while chunk := list(islice(rows, settings.rows_per_part)):
        writer.add_table(part_name(ARTEFACT, len(digests)), pa.Table.from_pylist(chunk, schema=LISTS))
        digests.append(fingerprint(chunk))
        count += len(chunk)
    if not digests:
        raise BadInput(f"{recipe.input.path}: the input is empty (no row)")
    forget(run, len(digests))
    return writer.commit(count, {"parts": digests, "state": state})


def _numbered(run: Run) -> Iterator[dict[str, Any]]:
    recipe = run.recipe
    found = read_list(recipe.input.path, recipe.input.fields, recipe.limits.max_metadata_bytes)
    for number, row in enumerate(found):
        yield {
            "row": number,
            "key": row.key or f"row-{number:08d}",
            "url": row.url,
            "page_url": row.page_url,
            "columns": row.columns,
            "failure": row.failure.value if row.failure else None,
            "failure_detail": row.detail[:500] if row.detail else None,
        }


def forget(run: Run, parts: int) -> None:
    """Delete the slices of a longer list that stood here before."""
    for name in run.store.list(ARTEFACT):
        number = name.rpartition("/part-")[2].partition(".")[0]
        if number.isdigit() and int(number) >= parts:
            run.store.delete(name)
