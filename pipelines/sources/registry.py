"""From a recipe's `input` to a source."""

from __future__ import annotations

from pipelines.run.recipe import Input
from pipelines.run.storage import Store
from pipelines.sources.base import Source
from pipelines.sources.folder import FolderSource
from pipelines.sources.parquet import ParquetSource
from pipelines.sources.url import UrlSource
from pipelines.sources.webdataset import WebDatasetSource


def make_source(spec: Input, store: Store | None = None) -> Source:
    """Return the source that `spec` describes. `store` is the run's, where a URL list's pictures are downloaded to.

    Without it a URL list's shards cannot be listed; one that is known can be read.
    """
    if spec.kind == "url":
        return UrlSource(store)
    if spec.kind == "webdataset":
        return WebDatasetSource(spec.path)
    if spec.kind == "folder":
        return FolderSource(spec.path, spec.files_per_part)
    return ParquetSource(spec.path, spec.fields.image, spec.fields.caption, spec.fields.key)
