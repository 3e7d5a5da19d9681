"""Weights of heads: read without running anything, checked against the table, identified by their tensors."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from filters.errors import BadInput
from filters.heads.fetch import LIMIT_BYTES, cache_folder, fetch, sha256_of
from filters.heads.table import Head

#: TensorFlow's file of all variables inside a SavedModel.
_VARIABLES = "variables/variables.data-00000-of-00001"
_TORCH_SUFFIXES = (".pth", ".pt", ".bin")
_CHECKSUM = re.compile(r"sha256=([0-9a-f]{64})")


@dataclass(frozen=True)
class Weights:
    """Linear layers in order, each weight (out, in) and bias (out,), float64; `mean`, `variance` (in,) or None."""

    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    mean: np.ndarray | None = None
    variance: np.ndarray | None = None


def load_weights(head: Head, source: str = "", cache: Path | None = None) -> Weights:
    """Return the weights of `head`, in the shapes that the table gives.

    `source`: empty for the published place; else `file:/path` or `https://...`, to a state dict (.pth with tensors
    only, .safetensors) or to LAION's zip. Its tensors must be the published ones, unless the source ends in
    `#sha256=` and the file's checksum, which says that other weights are meant. Raises `BadInput` in one line.
    """
    address, _, fragment = source.partition("#")
    given = _CHECKSUM.fullmatch(fragment)
    if fragment and not given:
        raise BadInput(f"{source}: after # only sha256= and 64 hex digits are known")
    scheme = urlsplit(address).scheme
    if address and scheme not in ("file", "https"):
        raise BadInput(f"{source}: weights of a head are named as file:/path or https://...")
    if scheme == "file":
        path = _local(address)
        if given and sha256_of(path) != given[1]:
            raise BadInput(f"{path}: SHA-256 {sha256_of(path)[:16]}..., expected {given[1][:16]}...")
    else:
        path = fetch(address or head.url, given[1] if given else head.sha256, cache or cache_folder())
    weights = read(path, head)
    if not given and digest(weights) != head.weights:
        raise BadInput(
            f"{path} does not hold the published weights of {head.name}: if others are meant, "
            f"name it with #sha256={sha256_of(path)}"
        )
    return weights


def read(path: Path, head: Head) -> Weights:
    """Read a weights file of any kind as `head`. Raises `BadInput` where it does not fit."""
    if path.suffix == ".zip":
        return _from_saved_model(path, head)
    state = _state(path)
    mean, variance = state.pop("norm.mean", None), state.pop("norm.variance", None)
    # Published names rise with the layer: layers.0, layers.2, ...; linear_1, linear_2, ...
    names = sorted({name.rpartition(".")[0] for name in state}, key=lambda name: (len(name), name))
    prefixes = [f"{name}." if name else "" for name in names]
    try:
        layers = tuple((state[f"{prefix}weight"], state[f"{prefix}bias"]) for prefix in prefixes)
    except KeyError as error:
        raise BadInput(f"{path} is no head: it has no {error.args[0]}") from error
    return _fitting(path, head, Weights(layers, mean, variance))


def digest(weights: Weights) -> str:
    """Return the SHA-256 (64 hex digits) of the tensors as float32, shapes included, whatever file held them."""
    found = hashlib.sha256()
    tensors = [tensor for layer in weights.layers for tensor in layer]
    for tensor in (weights.mean, weights.variance, *tensors):
        if tensor is not None:
            found.update(f"{tensor.shape}\n".encode())
            found.update(np.ascontiguousarray(tensor, dtype="<f4").tobytes())
    return found.hexdigest()


def _local(address: str) -> Path:
    path = Path(address.removeprefix("file:").replace("///", "/", 1))
    if not path.is_file():
        raise BadInput(f"no weights file at {path}")
    if path.stat().st_size > LIMIT_BYTES:
        raise BadInput(f"{path} is larger than any head ({LIMIT_BYTES} bytes)")
    return path


def _state(path: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a state dict as float64. Never unpickles code."""
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            loaded = load_file(path)
        elif path.suffix in _TORCH_SUFFIXES:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
        else:
            raise BadInput(f"{path}: a head is read from .safetensors, .pth or LAION's .zip")
    except BadInput:
        raise
    except Exception as error:  # damaged or hostile files make both readers raise anything
        raise BadInput(f"{path} is damaged or holds more than tensors, and pickled code is never run") from error
    if not isinstance(loaded, Mapping) or not loaded:
        raise BadInput(f"{path} holds no state dict")
    if not all(isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in loaded.items()):
        raise BadInput(f"{path} holds more than tensors")
    return {name: tensor.double().numpy() for name, tensor in loaded.items()}


def _from_saved_model(path: Path, head: Head) -> Weights:
    """Read LAION's Keras model: its variables lie one after the other in the order of the layers.

    mean, variance, the count of samples (int64), then kernel (in, out) and bias of each layer, all float32. Anything
    else in the archive (the graph, which is code) stays unread.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(_VARIABLES)]
            if len(names) != 1 or archive.getinfo(names[0]).file_size > LIMIT_BYTES:
                raise BadInput(f"{path} is not one of LAION's Keras models")
            data = archive.read(names[0])
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        raise BadInput(f"{path} is not a readable zip: {error}") from error
    inputs = head.widths[0]
    shapes: list[tuple[int, ...]] = [(inputs,), (inputs,), (2,)]
    for before, after in zip(head.widths[:-1], head.widths[1:], strict=True):
        shapes += [(before, after), (after,)]
    ends = np.cumsum([4 * int(np.prod(shape)) for shape in shapes])
    if len(data) < ends[-1]:
        raise BadInput(f"{path} is not the Keras model of {head.name}: it has too few variables")
    parts = [
        np.frombuffer(data[end - 4 * int(np.prod(shape)) : end], "<f4").reshape(shape).astype(np.float64)
        for shape, end in zip(shapes, ends, strict=True)
    ]
    layers = tuple((kernel.T, bias) for kernel, bias in zip(parts[3::2], parts[4::2], strict=True))
    return _fitting(path, head, Weights(layers, parts[0], parts[1]))


def _fitting(path: Path, head: Head, weights: Weights) -> Weights:
    """Check kinds, shapes and values against the table."""
    inputs = (head.widths[0],)
    if (head.column == "nsfw_clip") != (weights.mean is not None and weights.variance is not None):
        raise BadInput(f"{path} is not a head of the kind of {head.name}")
    expected = [((after, before), (after,)) for before, after in zip(head.widths[:-1], head.widths[1:], strict=True)]
    if [(weight.shape, bias.shape) for weight, bias in weights.layers] != expected:
        raise BadInput(f"{path} does not have the layers of {head.name}: {' to '.join(map(str, head.widths))}")
    if any(part is not None and part.shape != inputs for part in (weights.mean, weights.variance)):
        raise BadInput(f"{path}: the normalisation does not fit {head.name}")
    tensors = [tensor for layer in weights.layers for tensor in layer]
    if not all(
        np.isfinite(tensor).all() for tensor in (*tensors, weights.mean, weights.variance) if tensor is not None
    ):
        raise BadInput(f"{path} holds values that are not finite")
    return weights
