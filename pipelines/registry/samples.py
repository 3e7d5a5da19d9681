"""One part's samples as the registry is asked about them."""

from __future__ import annotations

import pyarrow as pa

from filters.optout.matching import COLUMNS, FINAL_URL
from pipelines.run.directory import Run
from pipelines.run.parts import part_name
from pipelines.sources.url import DOWNLOADS


def samples_to_match(run: Run, index: int) -> pa.Table:
    """Return the columns of part `index` by which samples are looked up; for a URL list also where redirects ended."""
    samples = run.table("samples", index, list(COLUMNS))
    if run.recipe.input.kind != "url" or not run.store.exists(part_name(DOWNLOADS, index)):
        return samples
    column = run.table(DOWNLOADS, index, [FINAL_URL]).column(FINAL_URL).to_pylist()[: samples.num_rows]
    # where a part cannot be read to its end, a row without a picture stands in place of the rest
    column += [None] * (samples.num_rows - len(column))
    return samples.append_column(FINAL_URL, pa.array(column, pa.string()))
