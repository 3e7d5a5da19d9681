"""The manifest: root of the hash chain of a finished run.

`content` holds what the dataset is; its hash is the same for the same input, recipe and code, wherever and
however often interrupted the job ran. `files` names every artefact with its SHA-256, and `provenance` says
when, where and with which packages; both stand outside the content hash, and inside the signature.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import platform
import socket
import subprocess
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from audit.compliance import Problem
from filters import __version__
from filters.errors import BadInput
from pipelines.run.directory import MANIFEST, RECIPE, REGISTRY, Run
from pipelines.run.gates import gate_entries
from pipelines.run.parts import Marker, read_marker
from pipelines.run.storage import sha256_stream

FORMAT = 1
#: The shards' index, written by the balance job.
INDEX = "shards/index.json"
SIGNATURE = "manifest.sig"

#: Folders whose markers the manifest gathers.
ARTEFACTS = (
    "lists",
    "downloads",
    "samples",
    "matches",
    "statistics",
    "scores",
    "duplicates",
    "groups",
    "ledger",
    "audit",
    "balance",
    "shards",
    "index",
)

_PACKAGES = ("apache-beam", "pyarrow", "numpy", "pillow", "torch", "open_clip_torch", "onnxruntime", "faiss-cpu")


def canonical(value: object) -> bytes:
    """Return JSON bytes that are the same for equal values: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def content_hash(content: dict[str, Any]) -> str:
    """Return the SHA-256 of the manifest's content, 64 hex digits."""
    return hashlib.sha256(canonical(content)).hexdigest()


def markers(run: Run) -> dict[str, Marker]:
    """Return the markers of all artefacts by part name (`samples/part-00000`)."""
    found = {}
    for artefact in ARTEFACTS:
        for name in run.store.list(artefact):
            if name.endswith(".done.json"):
                part = name.removesuffix(".done.json")
                marker = read_marker(run.store, part)
                if marker is None:
                    raise BadInput(f"{run.store.url}/{name}: the marker is unreadable; delete it and run again")
                found[part] = marker
    return found


def build(
    run: Run,
    counts: dict[str, Any],
    versions: dict[str, str],
    parent: str | None,
    gates: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return the manifest of a run whose stages are all done.

    `counts` come from the ledger; `versions` name the stages' versions; `parent` is the content hash of the
    dataset that this one was derived from. `gates` are those of the version before, whose waivers may still hold.
    """
    found = markers(run)
    scores = [m for name, m in found.items() if name.startswith("scores/")]
    ledger = {name: m for name, m in found.items() if name.startswith("ledger/")}
    models: dict[str, str] = {}
    for marker in scores:
        if models and marker.facts["models"] != models:
            raise BadInput(f"{run.store.url}: parts were scored with different models; delete scores/ and run again")
        models = marker.facts["models"]
    content = {
        "format": FORMAT,
        "name": run.recipe.name,
        "parent": parent,
        "recipe": run.recipe.content(),
        "versions": {"assay": __version__, **versions},
        "models": models,
        "calibration": calibration.facts if (calibration := found.get("statistics/calibration")) else None,
        "rules": next(iter(ledger.values())).facts["rules"],
        "inputs": [
            {
                "part": name,
                "shard": m.facts["shard"],
                "rows": m.rows,
                "sha256": m.facts["content"],
                "signals": m.facts["signals_content"],
            }
            for name, m in found.items()
            if name.startswith("samples/")
        ],
        "registry": _registry(run),
        "ledger": [{"part": name, "rows": m.rows, "sha256": m.facts["content"]} for name, m in ledger.items()],
        "shards": [
            {"shard": name, "rows": m.rows, "sha256": m.files[f"{name}.tar"].sha256}
            for name, m in found.items()
            if name.startswith("shards/")
        ],
        "counts": counts,
        "gates": gate_entries(audited.facts["gates"] if (audited := found.get("audit/all")) else [], gates),
    }
    files = {path: {"size": r.size, "sha256": r.sha256} for m in found.values() for path, r in m.files.items()}
    for name in (RECIPE, INDEX, REGISTRY):
        if name == REGISTRY and not run.store.exists(name):
            continue
        data = run.store.read(name)
        files[name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return {
        "content_hash": content_hash(content),
        "content": content,
        "files": dict(sorted(files.items())),
        "provenance": provenance(run, next((m.facts["precision"] for m in scores if "precision" in m.facts), None)),
    }


def _registry(run: Run) -> dict[str, Any] | None:
    """Return number and hash of the registry's last entry that the dataset is up to date with."""
    if not run.store.exists(REGISTRY):
        return None
    state = json.loads(run.store.read(REGISTRY))
    return {"seq": state["seq"], "hash": state["hash"]}


def provenance(run: Run, precision: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return when, where and with what the manifest was made.

    `precision` says what running the similarity in less than float32 cost on the machine that scored; None where it
    did not.
    """
    return {
        "created_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "user": _user(),
        "input": run.recipe.input.path,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "commit": _commit(),
        "precision": precision,
    }


def write_manifest(run: Run, body: dict[str, Any]) -> None:
    """Write the manifest atomically; the run is a dataset from here on."""
    run.store.delete(SIGNATURE)
    run.store.write(MANIFEST, json.dumps(body, sort_keys=True, indent=1).encode() + b"\n")


def read_manifest(run: Run) -> dict[str, Any]:
    """Return the manifest. Raises `BadInput` where the run has none, or none that can be read."""
    if not run.finished():
        raise BadInput(f"{run.store.url}: no {MANIFEST}: the run is not finished; run assay run on it")
    try:
        body: dict[str, Any] = json.loads(run.store.read(MANIFEST))
        if body["content"]["format"] != FORMAT:
            raise BadInput(
                f"{run.store.url}/{MANIFEST}: format {body['content']['format']}, this Assay reads {FORMAT}"
            )
    except (ValueError, KeyError, TypeError):
        raise BadInput(f"{run.store.url}/{MANIFEST}: not a manifest; delete it and run assay run again") from None
    return body


def verify(run: Run) -> list[Problem]:
    """Check the content hash and the SHA-256 of every file; return what is wrong.

    Raises `BadInput` where the manifest itself is damaged.
    """
    body = read_manifest(run)
    try:
        return _problems(run, body)
    except (KeyError, TypeError, AttributeError, ValueError):
        raise BadInput(f"{run.store.url}/{MANIFEST}: damaged; assay run on the same folder writes it again") from None


def _problems(run: Run, body: dict[str, Any]) -> list[Problem]:
    problems = []
    if content_hash(body["content"]) != body.get("content_hash"):
        problems.append(Problem("CONTENT_HASH", "the manifest's content does not have the hash that it states"))
    for path, expected in body.get("files", {}).items():
        if not run.store.exists(path):
            problems.append(Problem("FILE_MISSING", path))
            continue
        with run.store.open(path) as stream:
            if sha256_stream(stream) != expected["sha256"]:
                problems.append(Problem("FILE_CHANGED", path))
    problems += _chain(body)
    return problems


def _chain(body: dict[str, Any]) -> list[Problem]:
    """Check that the content's own hashes are those of the files."""
    files = body.get("files", {})
    problems = []
    for shard in body["content"]["shards"]:
        if files.get(f"{shard['shard']}.tar", {}).get("sha256") != shard["sha256"]:
            problems.append(Problem("CHAIN_BROKEN", f"{shard['shard']}.tar is not the file that the content names"))
    return problems


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return None


def _commit() -> str | None:
    """Return the git commit of this code, with `-dirty` where it was changed; None outside a checkout."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40", "--match", ""]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
