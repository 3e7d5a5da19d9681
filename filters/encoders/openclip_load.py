"""Models of open_clip from a tag, a weights file or a folder, refused where anything would be random or guessed."""

from __future__ import annotations

import difflib
import json
import warnings
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from filters.encoders.downloads import weights_of
from filters.encoders.openclip import Surface
from filters.encoders.torchvision_fix import ensure_torchvision
from filters.encoders.weights import tensor_shapes
from filters.errors import BadInput, first_line

_CONFIG = "open_clip_config.json"

#: The names that open_clip itself prefers among the files of a folder.
_PREFERRED = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors")

#: open_clip stretches these to the model's size without a word, so that a file for another picture size or text
#: length would load and quietly give other numbers.
_POSITIONS = ("visual.positional_embedding", "positional_embedding", "text.positional_embedding")

_PREPROCESS = ("mean", "std", "interpolation", "resize_mode")


def from_tag(arch: str, tag: str) -> Surface:
    """Load the published weights `tag` of `arch`, from the local cache or by download.

    Raises `BadInput` where either name is unknown or the weights cannot be had.
    """
    open_clip = _open_clip()
    _check_arch(open_clip, arch)
    published = _published(open_clip, arch, tag)
    try:
        path = weights_of(open_clip, published)
    except BadInput as error:
        raise BadInput(
            f"the weights of open-clip:{arch}/{tag} are not in the cache, and {error}: connect once, or copy the "
            f"file here and name it as file:/path/weights.safetensors?arch={arch}&tag={tag}"
        ) from error
    return from_file(path, arch, tag)


def from_file(path: Path, arch: str, tag: str = "") -> Surface:
    """Load the weights file `path` into the architecture `arch`.

    Preprocessing is that of the published weights of `arch`; where these differ among themselves, `tag` must name
    the one to follow. QuickGELU is used where `tag` was trained with it, or where `arch` says so by its name.
    Raises `BadInput` where the file is missing, damaged, holds code, or does not fit the architecture exactly.
    """
    open_clip = _open_clip()
    _check_arch(open_clip, arch)
    published = _published(open_clip, arch, tag) if tag else _common_preprocess(open_clip, arch)
    shapes = tensor_shapes(path)
    config = open_clip.get_model_config(arch)
    quick_gelu = bool(published.get("quick_gelu")) and not config.get("quick_gelu", False)
    preprocess = {key: published[key] for key in _PREPROCESS if key in published}
    model = _create(open_clip, arch, str(path), shapes, quick_gelu, preprocess)
    name = f"{arch}-quickgelu" if quick_gelu else arch
    return _surface(open_clip, name, arch, model, config["embed_dim"])


def from_folder(folder: Path) -> Surface:
    """Load a folder that holds `open_clip_config.json` and one safetensors weights file.

    Raises `BadInput` where one of them is missing or damaged, or they do not fit each other.
    """
    path = _weights_in(folder)
    try:
        text = (folder / _CONFIG).read_text(encoding="utf-8")
        config = json.loads(text)
        dimension = int(config["model_cfg"]["embed_dim"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{folder / _CONFIG} is no configuration of open_clip: {first_line(error)}") from error
    open_clip = _open_clip()
    name = f"local-dir:{folder}"
    model = _create(open_clip, name, "", tensor_shapes(path), False, {})
    canonical = json.dumps([config["model_cfg"], config.get("preprocess_cfg")], sort_keys=True)
    return _surface(open_clip, f"config-{sha256(canonical.encode()).hexdigest()[:8]}", name, model, dimension)


def _open_clip() -> ModuleType:
    ensure_torchvision()
    import open_clip

    module: ModuleType = open_clip
    return module


def _check_arch(open_clip: ModuleType, arch: str) -> None:
    known = open_clip.list_models()
    if arch not in known:
        near = difflib.get_close_matches(arch, known, n=3, cutoff=0.4)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise BadInput(f"open_clip has no architecture {arch!r}{hint}")


def _published(open_clip: ModuleType, arch: str, tag: str) -> dict[str, Any]:
    """Return open_clip's entry for the weights `tag` of `arch`: where they are and how pictures are prepared."""
    found: dict[str, Any] = open_clip.get_pretrained_cfg(arch, tag)
    if not found:
        tags = open_clip.list_pretrained_tags_by_model(arch)
        hint = f"known tags: {', '.join(tags)}" if tags else "it has no published weights"
        raise BadInput(f"open_clip has no weights {tag!r} for {arch}; {hint}")
    return found


def _common_preprocess(open_clip: ModuleType, arch: str) -> dict[str, Any]:
    """Return the preprocessing that all published weights of `arch` share (none published: open_clip's default)."""
    tags = open_clip.list_pretrained_tags_by_model(arch)
    entries = [open_clip.get_pretrained_cfg(arch, tag) for tag in tags]
    ways = [{key: entry[key] for key in _PREPROCESS if key in entry} for entry in entries]
    if any(way != ways[0] for way in ways):
        raise BadInput(
            f"the published weights of {arch} prepare pictures in different ways: add &tag=TAG with the one that "
            f"the file follows, of {', '.join(tags)}"
        )
    return ways[0] if ways else {}


def _weights_in(folder: Path) -> Path:
    if not (folder / _CONFIG).is_file():
        raise BadInput(f"{folder} has no {_CONFIG}: name a folder as open_clip saves it, or one weights file")
    for name in _PREFERRED:
        if (folder / name).is_file():
            return folder / name
    safe = sorted(folder.glob("*.safetensors"))
    pickles = [*folder.glob("*.bin"), *folder.glob("*.pth")]
    if len(safe) != 1 or pickles:  # open_clip would choose by rules of its own, a pickle before a safetensors file
        raise BadInput(f"{folder} must hold its weights as {_PREFERRED[0]}")
    return safe[0]


def _create(
    open_clip: ModuleType,
    name: str,
    weights: str,
    shapes: dict[str, tuple[int, ...]],
    quick_gelu: bool,
    preprocess: dict[str, Any],
) -> nn.Module:
    """Build `name` with weights that must load completely; `weights` is empty for a folder."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model: nn.Module = open_clip.create_model(
                name,
                pretrained=weights or None,
                precision="fp32",
                device="cpu",
                force_quick_gelu=quick_gelu,
                force_preprocess_cfg=preprocess,
                require_pretrained=True,
                weights_only=True,
            )
    except Exception as error:  # a file for another architecture fails in many places, each with its own error
        raise BadInput(_refusal(name, weights, error)) from error
    tensors = model.state_dict()
    for key in _POSITIONS:
        if key in shapes and key in tensors and shapes[key] != tuple(tensors[key].shape):
            raise BadInput(
                f"{weights or name} was made for another picture size or text length than {name}: "
                f"{key} is {shapes[key]}, not {tuple(tensors[key].shape)}"
            )
    return model


def _refusal(name: str, weights: str, error: Exception) -> str:
    source = weights or name.removeprefix("local-dir:")
    if isinstance(error, OSError) or "transformers" in str(error):
        return f"{name} needs a part that is not here ({first_line(error)}): connect once or install transformers"
    wrong = f"the architecture {name}" if weights else "its open_clip_config.json"
    return f"the weights in {source} do not fit {wrong}: {_detail(error)}"


def _detail(error: Exception) -> str:
    """Return the first lines of a loading error as one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:240] or type(error).__name__


def _surface(open_clip: ModuleType, arch: str, name: str, model: nn.Module, dimension: int) -> Surface:
    visual: Any = model.visual
    config: dict[str, Any] = visual.preprocess_cfg
    size = config["size"]
    sides = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    try:
        tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:  # tokenizers of other projects: transformers missing, files missing, no network
        raise BadInput(
            f"the tokenizer of {name} is not here ({first_line(error)}): connect once or install transformers"
        ) from error
    preprocess = open_clip.image_transform(
        size,
        is_train=False,
        mean=config["mean"],
        std=config["std"],
        interpolation=config["interpolation"],
        resize_mode=config["resize_mode"],
        fill_color=config["fill_color"],
    )
    return Surface(
        arch=arch,
        dimension=dimension,
        model=model.eval(),
        preprocess=preprocess,
        tokenizer=tokenizer,
        side=min(sides),
        crops=config["resize_mode"] == "shortest",
    )
