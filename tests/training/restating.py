"""Changes a checkpoint's facts, and gives it the identity of what then lies there, as a forger would."""

import hashlib
import json
from pathlib import Path
from typing import Any

from pipelines.run.manifest import canonical
from pipelines.run.storage import sha256_file
from training.checkpoints import COPY, read_facts


def edit(path: Path, **changes: Any) -> dict[str, Any]:
    """Change the facts of the checkpoint at `path`, and nothing else; return them."""
    body = read_facts(path) | changes
    (path / "assay.json").write_text(json.dumps(body))
    return body


def identified(path: Path, body: dict[str, Any], copied: bool = True) -> dict[str, Any]:
    """Give a checkpoint with the facts `body` the identity of its files, with a copy of the facts or without."""
    files = {name: digest for name, digest in body["files"].items() if name != COPY}
    facts = {name: value for name, value in body.items() if name not in ("format", "checkpoint", "files")}
    (path / COPY).unlink()
    if copied:
        (path / COPY).write_text(json.dumps(facts))
        files[COPY] = sha256_file(path / COPY)
    shipped = {name: digest for name, digest in files.items() if not name.startswith("state/")}
    stated = {**body, "files": files, "checkpoint": hashlib.sha256(canonical(shipped)).hexdigest()}
    (path / "assay.json").write_text(json.dumps(stated))
    return stated
