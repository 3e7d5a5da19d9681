"""Model URIs: which encoder a recipe names, and the way from the name to the encoder.

builtin:mini                                          ships with the package, needs no network
open-clip:ViT-B-32/laion2b_s34b_b79k                  published weights: architecture / tag
file:/path/weights.safetensors?arch=ViT-B-32          own weights; &tag=TAG where open_clip must know whose
file:/path/folder                                     a folder with open_clip_config.json and its weights
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl

from filters.encoders.base import Encoder
from filters.errors import BadInput

_FORMS = "builtin:mini, open-clip:ARCHITECTURE/TAG, file:/path/weights.safetensors?arch=ARCHITECTURE or file:/folder"


@dataclass(frozen=True)
class ModelUri:
    """A parsed model URI. `arch`, `tag` and `path` are empty where the kind has none."""

    kind: Literal["builtin", "open-clip", "file"]
    name: str = ""
    arch: str = ""
    tag: str = ""
    path: str = ""


def parse_uri(uri: str) -> ModelUri:
    """Parse a model URI. Looks at nothing but the text. Raises `BadInput` with the forms that are known."""
    scheme, colon, rest = uri.partition(":")
    if colon and rest and not any(ord(letter) < 32 for letter in uri):
        if scheme == "builtin":
            return _builtin(rest)
        if scheme == "open-clip":
            return _open_clip(rest)
        if scheme == "file":
            return _file(uri, rest)
    raise BadInput(f"not a model URI: {uri!r}; known forms: {_FORMS}")


def load_encoder(uri: str, threads: int = 0, batch_size: int = 64) -> Encoder:
    """Load the encoder that `uri` names; the slow imports (torch, open_clip) happen here.

    `threads`: CPU threads of the process, 0 leaves them as they are. `batch_size`: pictures or texts at once.
    Raises `BadInput` in one line where the URI, the model or its weights cannot be had. Never gives random weights.
    """
    if batch_size < 1 or threads < 0:
        raise BadInput(f"batch_size must be at least 1 and threads at least 0, not {batch_size} and {threads}")
    parsed = parse_uri(uri)
    from filters.encoders.openclip import OpenClipEncoder

    if parsed.kind == "builtin":
        from filters.encoders.mini import load_mini

        return OpenClipEncoder(uri, load_mini(), threads, batch_size)
    from filters.encoders import openclip_load

    if parsed.kind == "open-clip":
        surface = openclip_load.from_tag(parsed.arch, parsed.tag)
    elif parsed.arch:
        surface = openclip_load.from_file(Path(parsed.path), parsed.arch, parsed.tag)
    elif Path(parsed.path).is_dir():
        surface = openclip_load.from_folder(Path(parsed.path))
    elif Path(parsed.path).exists():
        raise BadInput(f"{uri} does not say what it holds: add ?arch=ARCHITECTURE, e.g. ?arch=ViT-B-32")
    else:
        raise BadInput(f"no file or folder at {parsed.path}")
    return OpenClipEncoder(uri, surface, threads, batch_size)


def _builtin(name: str) -> ModelUri:
    if name != "mini":
        raise BadInput(f"there is no builtin:{name}; the only one is builtin:mini")
    return ModelUri("builtin", name=name)


def _open_clip(rest: str) -> ModelUri:
    arch, _, tag = rest.partition("/")
    if not arch or not tag or "/" in tag:
        raise BadInput(
            f"open-clip:{rest} names no weights, and random ones are refused: write open-clip:ARCHITECTURE/TAG, "
            "e.g. open-clip:ViT-B-32/laion2b_s34b_b79k"
        )
    return ModelUri("open-clip", arch=arch, tag=tag)


def _file(uri: str, rest: str) -> ModelUri:
    path, _, query = rest.partition("?")
    if path.startswith("///"):  # file:///path is file:/path
        path = path[2:]
    if not path or path.startswith("//"):
        raise BadInput(f"{uri} names no local file: write file:/path/weights.safetensors?arch=ARCHITECTURE")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if set(options) - {"arch", "tag"} or (query and not options.get("arch")):
        raise BadInput(f"{uri}: after ? only arch=ARCHITECTURE and &tag=TAG are known")
    return ModelUri("file", arch=options.get("arch", ""), tag=options.get("tag", ""), path=path)
