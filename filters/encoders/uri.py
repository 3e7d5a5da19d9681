"""Model URIs: which encoder a recipe names, and the way from the name to the encoder.

builtin:mini                                          ships with the package, needs no network
open-clip:ViT-B-32/laion2b_s34b_b79k                  published weights: architecture / tag
file:/path/weights.safetensors?arch=ViT-B-32          own weights; &tag=TAG where open_clip must know whose
file:/path/folder                                     a folder with open_clip_config.json and its weights

`open-clip:` and `file:` take `?precision=fp32|bf16|int8` (`&precision=` behind another option). Without it float32
on the CPU, bfloat16 on a GPU. int8 runs on the CPU alone. Precision changes scores: it is part of the model id.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, urlencode

from filters.encoders.base import Encoder
from filters.errors import BadInput

_FORMS = "builtin:mini, open-clip:ARCHITECTURE/TAG, file:/path/weights.safetensors?arch=ARCHITECTURE or file:/folder"

PRECISIONS = ("fp32", "bf16", "int8")


@dataclass(frozen=True)
class ModelUri:
    """A parsed model URI. `arch`, `tag`, `path` are empty where the kind has none, `precision` where none is named."""

    kind: Literal["builtin", "open-clip", "file"]
    name: str = ""
    arch: str = ""
    tag: str = ""
    path: str = ""
    precision: str = ""


def parse_uri(uri: str) -> ModelUri:
    """Parse a model URI. Looks at nothing but the text. Raises `BadInput` with the forms that are known."""
    scheme, colon, rest = uri.partition(":")
    if colon and rest and not any(ord(letter) < 32 for letter in uri):
        if scheme == "builtin":
            return _builtin(rest)
        if scheme == "open-clip":
            return _open_clip(uri, rest)
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

        return OpenClipEncoder(uri, load_mini(), threads, batch_size, "fp32")
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
    return OpenClipEncoder(uri, surface, threads, batch_size, parsed.precision)


def with_precision(uri: str, precision: str) -> str:
    """Return the URI of the same model in another precision. Raises `BadInput` as `parse_uri` does."""
    path, _, query = uri.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True)) | {"precision": precision}
    changed = f"{path}?{urlencode(options, safe='/:')}"
    parse_uri(changed)
    return changed


def _builtin(name: str) -> ModelUri:
    if name != "mini":
        raise BadInput(f"there is no builtin:{name}; the only one is builtin:mini")
    return ModelUri("builtin", name=name)


def _open_clip(uri: str, rest: str) -> ModelUri:
    name, _, query = rest.partition("?")
    arch, _, tag = name.partition("/")
    if not arch or not tag or "/" in tag:
        raise BadInput(
            f"open-clip:{rest} names no weights, and random ones are refused: write open-clip:ARCHITECTURE/TAG, "
            "e.g. open-clip:ViT-B-32/laion2b_s34b_b79k"
        )
    options = _options(uri, query, {"precision"}, "precision=fp32|bf16|int8 is")
    return ModelUri("open-clip", arch=arch, tag=tag, precision=options.get("precision", ""))


def _file(uri: str, rest: str) -> ModelUri:
    path, _, query = rest.partition("?")
    if path.startswith("///"):  # file:///path is file:/path
        path = path[2:]
    if not path or path.startswith("//"):
        raise BadInput(f"{uri} names no local file: write file:/path/weights.safetensors?arch=ARCHITECTURE")
    known = "arch=ARCHITECTURE, &tag=TAG and &precision=fp32|bf16|int8 are"
    options = _options(uri, query, {"arch", "tag", "precision"}, known)
    if "tag" in options and "arch" not in options:
        raise BadInput(f"{uri}: a tag needs arch=ARCHITECTURE beside it")
    precision = options.get("precision", "")
    return ModelUri("file", arch=options.get("arch", ""), tag=options.get("tag", ""), path=path, precision=precision)


def _options(uri: str, query: str, names: set[str], known: str) -> dict[str, str]:
    """Return the options behind `?`, each at most once and with a value."""
    pairs = parse_qsl(query, keep_blank_values=True)
    options = dict(pairs)
    if set(options) - names or len(options) < len(pairs) or (query and not pairs):
        raise BadInput(f"{uri}: after ? only {known} known, each once")
    if empty := [name for name, value in pairs if not value and name != "tag"]:
        raise BadInput(f"{uri}: {empty[0]} has no value")
    if options.get("precision", "fp32") not in PRECISIONS:
        raise BadInput(f"{uri}: precision is {', '.join(PRECISIONS)}, not {options['precision']!r}")
    return options
