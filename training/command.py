"""`assay train`: a latent diffusion model on cleared data alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from filters import environment
from pipelines.commands.common import JsonOption, SetOption, SignerOption, print_json

ConfigArgument = Annotated[Path, typer.Argument(metavar="CONFIG", help="Training configuration (YAML).")]
DataOption = Annotated[str, typer.Option("--data", metavar="RUN", help="Finished run to train on.")]
FolderOption = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the training, on a local disk.")]
RegistryOption = Annotated[
    str | None,
    typer.Option("--registry", help="Opt-out registry to check against; else the one that the recipe names."),
]


def train(
    config: ConfigArgument,
    data: DataOption,
    out: FolderOption,
    overrides: SetOption = None,
    registry: RegistryOption = None,
    public_key: SignerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train on a dataset that the compliance check clears; the same command again resumes."""
    from training.config import load_config

    wanted = load_config(config, overrides)

    from pipelines.run.signing import load_public
    from training.run import train as run_training

    result = run_training(wanted, data, out, registry, _say, load_public(public_key) if public_key else None)
    if not _first():
        return
    if as_json:
        print_json(
            {
                "checkpoint": str(result.checkpoint),
                "sha256": result.identity,
                "steps": result.steps,
                "metrics": result.metrics,
            }
        )
    else:
        print(f"{result.checkpoint}")


def _say(text: str) -> None:
    if _first():
        print(text, file=sys.stderr, flush=True)


def _first() -> bool:
    """Tell whether this is the first of several processes, or the only one."""
    return os.environ.get(environment.RANK, "0") == "0"
