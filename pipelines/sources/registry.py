"""From a recipe's `input` to a source."""

from __future__ import annotations

from pipelines.run.recipe import Input
from pipelines.sources.base import Source
from pipelines.sources.folder import FolderSource
from pipelines.sources.parquet import ParquetSource
from pipelines.sources.webdataset import WebDatasetSource


def make_source(spec: Input) -> Source:
    """Return the source that `spec` describes. URL lists get their kind with the policy check."""
    if spec.kind == "webdataset":
        return WebDatasetSource(spec.path)
    if spec.kind == "folder":
        return FolderSource(spec.path, spec.files_per_part)
    return ParquetSource(spec.path, spec.fields.image, spec.fields.caption, spec.fields.key)
