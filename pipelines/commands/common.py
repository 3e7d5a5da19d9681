"""Options that several commands share, and how they print."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from pipelines.engine import Engine

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Run directory: a path or any fsspec URL.")]
OutOption = Annotated[str, typer.Option("--out", help="Run directory to write: a path or any fsspec URL.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=VALUE", help="Override one key of the recipe.")
]
RunnerOption = Annotated[
    str, typer.Option("--runner", help="Beam runner by name, or 'plain' for a loop; further Beam options follow.")
]
WorkersOption = Annotated[
    int, typer.Option("--workers", metavar="N", min=1, help="Processes on this machine; they share its cores.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


def make_engine(runner: str, context: typer.Context, workers: int = 1) -> Engine:
    """Return the engine of `--runner` and `--workers`; what the command does not know is passed to Beam."""
    return Engine(runner, tuple(context.args), workers)


def print_json(value: Any) -> None:
    """Print one JSON value on standard output."""
    print(json.dumps(value, ensure_ascii=False, indent=1))
