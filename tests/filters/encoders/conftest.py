"""Real photos with captions, and a tiny open_clip architecture whose weights a test makes itself."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from filters.encoders.torchvision_fix import ensure_torchvision
from filters.encoders.uri import load_encoder

ROOT = Path(__file__).resolve().parents[3]

TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}


@dataclass(frozen=True)
class Tiny:
    """A made architecture known to open_clip by `arch`, its weights file, and the model they came from."""

    arch: str
    config: dict[str, object]
    weights: Path
    model: torch.nn.Module
    open_clip: ModuleType

    def uri(self) -> str:
        return f"file:{self.weights}?arch={self.arch}"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    ensure_torchvision()
    import open_clip

    folder = tmp_path_factory.mktemp("tiny")
    (folder / "assay-tiny.json").write_text(json.dumps(TINY))
    larger = {**TINY, "vision_cfg": {**TINY["vision_cfg"], "image_size": 96}}
    (folder / "assay-tiny-96.json").write_text(json.dumps(larger))
    open_clip.add_model_config(folder)
    torch.manual_seed(1)
    model = open_clip.create_model("assay-tiny").eval()
    save_file(model.state_dict(), folder / "weights.safetensors")
    return Tiny("assay-tiny", TINY, folder / "weights.safetensors", model, open_clip)


@pytest.fixture(scope="session")
def mini():
    return load_encoder("builtin:mini", threads=1)  # more only spin while other tests use the cores


@pytest.fixture(scope="session")
def flickr() -> tuple[dict[str, Image.Image], dict[str, list[str]]]:
    """500 captioned photos, to measure with and never to learn from."""
    shared = Path(os.environ.get("ASSAY_SHARED_DATA") or ROOT.parent / "shared" / "data")
    folder = shared / "flickr8k_sample"
    if not folder.is_dir():
        pytest.skip(f"no flickr8k_sample in {shared}: set ASSAY_SHARED_DATA")
    captions = json.loads((folder / "captions.json").read_text())
    return {name: Image.open(folder / "images" / name).convert("RGB") for name in captions}, captions


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Smooth colour pictures of many shapes, the same ones every time."""
    generator = np.random.default_rng(0)
    sizes = [(64, 64), (300, 200), (200, 300), (97, 31), (380, 370)]
    coarse = [generator.integers(0, 256, (5, 5, 3), dtype=np.uint8) for _ in sizes]
    return [Image.fromarray(c).resize(size, Image.Resampling.BICUBIC) for c, size in zip(coarse, sizes, strict=True)]


@pytest.fixture
def restored_threads() -> Iterator[int]:
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)
