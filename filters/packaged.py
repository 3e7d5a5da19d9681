"""Model files that other packages carry: found without importing the package, and never used unchecked."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from filters.errors import BadInput


def package_folder(package: str, needed: str) -> Path:
    """Return the folder of an installed package. Raises `BadInput` with the line `needed` where it is absent."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise BadInput(needed)
    return Path(spec.submodule_search_locations[0])


def checked_bytes(path: Path, sha256: str, remedy: str) -> bytes:
    """Return the file's bytes. Raises `BadInput`, ending in `remedy`, where they are not those of `sha256`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}: {remedy}") from None
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise BadInput(f"{path}: SHA-256 {found[:16]}..., expected {sha256[:16]}...: {remedy}")
    return data
