"""Some columns of some rows of an artefact, by position in the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow.parquet as pq

from dashboards.web.catalogue import Opened


def rows_at(opened: Opened, artefact: str, columns: Sequence[str], rows: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return the named columns of the rows at these positions; columns and rows that are not there are left out."""
    by_part: dict[int, list[int]] = {}
    for row in rows:
        by_part.setdefault(opened.part_of(row).index, []).append(row)
    found: dict[int, dict[str, Any]] = {}
    for part in opened.parts:
        wanted = by_part.get(part.index)
        path = opened.file(artefact, part) if wanted else None
        if wanted is None or path is None:
            continue
        there = set(pq.read_schema(path).names)
        names = ", ".join(f'"{name}"' for name in columns if name in there)
        if not names:
            continue
        places = ", ".join(f"{row - part.start:d}" for row in wanted)
        for item in opened.reader.dicts(
            f"SELECT file_row_number, {names} FROM read_parquet(?, file_row_number=true) "
            f"WHERE file_row_number IN ({places})",
            [path],
        ):
            found[part.start + int(item.pop("file_row_number"))] = item
    return found
