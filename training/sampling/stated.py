"""Whether a checkpoint's facts are whole, and say of the data what its hashed files say: both go into credentials."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from filters.errors import BadInput
from filters.json_text import read_json
from training.checkpoints import FACTS
from training.contents import INDEX
from training.data.exposure import FILE as EXPOSURE

_DIGEST = re.compile(r"[0-9a-f]{64}")


def require_stated(path: Path, facts: Mapping[str, Any]) -> None:
    """Refuse facts that lack what a credential says of a model, its data and its bases. Raises `BadInput`."""
    data = facts.get("data")
    if not _is_model(facts) or not isinstance(data, dict) or not isinstance(data.get("name"), str):
        raise BadInput(f"{path}: its facts do not say what it is and which data it was trained on")
    if not _are_bases(facts.get("base")):
        raise BadInput(f"{path}: its facts do not say what its base is and which data that was trained on")
    if not _is_loaded(facts.get("autoencoder")):
        raise BadInput(f"{path}: its facts do not say what its autoencoder is")


def require_same_data(path: Path, facts: Mapping[str, Any]) -> None:
    """Refuse facts that name other datasets than the files do which the identity covers. Raises `BadInput`.

    The facts themselves are no part of the identity in checkpoints without a copy of them among their files.
    """
    shipped, stated = facts["files"], facts["datasets"]
    if INDEX in shipped and read_object(path / INDEX).get("dataset") != stated:
        raise BadInput(f"{path}: {FACTS} names other datasets than {INDEX}: it was changed since the training")
    if EXPOSURE in shipped and _counted(path / EXPOSURE) != set(stated):
        raise BadInput(f"{path}: {FACTS} names other datasets than {EXPOSURE}: it was changed since the training")


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object of a checkpoint's file. Raises `BadInput`."""
    try:
        body = read_json(path.read_bytes())
    except (OSError, ValueError):
        raise BadInput(f"{path}: cannot be read") from None
    if not isinstance(body, dict):
        raise BadInput(f"{path}: not an object")
    return body


def _is_model(facts: Mapping[str, Any]) -> bool:
    datasets = facts.get("datasets")
    return (
        isinstance(facts.get("name"), str)
        and type(facts.get("step")) is int
        and _is_digest(facts.get("checkpoint"))
        and isinstance(datasets, list)
        and bool(datasets)
        and all(map(_is_digest, datasets))
    )


def _are_bases(base: Any) -> bool:
    while base is not None:
        if not isinstance(base, dict) or not _is_model(base) or not isinstance(base.get("data"), str):
            return False
        if not _is_loaded(base.get("autoencoder")):
            return False
        base = base.get("base")
    return True


def _is_loaded(autoencoder: Any) -> bool:
    """Tell whether facts about a loaded autoencoder are whole; there are none where none was loaded."""
    if autoencoder is None:
        return True
    return (
        isinstance(autoencoder, dict)
        and _is_digest(autoencoder.get("weights"))
        and _are_bases(autoencoder.get("base"))
    )


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _counted(path: Path) -> set[str]:
    """Return the content hashes of the dataset versions that an exposure log counts, from its head alone."""
    try:
        schema = pq.read_schema(path)
        views = read_json((schema.metadata or {})[b"exposure"])["views"]
        return {str(content) for _, content in views.values()}
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError, AttributeError):
        raise BadInput(f"{path}: not an exposure log") from None
