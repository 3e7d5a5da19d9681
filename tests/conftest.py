"""What several tests share: the real corpus, made once and kept beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines.sources.debian import PackagesUnavailable
from pipelines.sources.openclipart import write_corpus

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with a test of the whole demo's kind go first: the longest of them, last and alone, would hold a core."""
    long = {item.path for item in items if item.get_closest_marker("e2e")}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session")
def openclipart() -> Path:
    """The folder of the real openclipart shards: `$ASSAY_CORPUS`, else `.cache/openclipart`, made if missing."""
    folder = Path(os.environ.get("ASSAY_CORPUS") or ROOT / ".cache" / "openclipart")
    try:
        write_corpus(folder)
    except PackagesUnavailable as error:
        pytest.skip(f"no real corpus: {error}")
    return folder
