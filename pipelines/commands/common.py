"""Options that several commands share, and how they print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from filters.errors import BadInput
from filters.terminal import json_shown
from pipelines.beam_options import refuse_unknown
from pipelines.engine import Engine

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Run directory: a path or any fsspec URL.")]
OutOption = Annotated[str, typer.Option("--out", help="Run directory to write: a path or any fsspec URL.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=VALUE", help="Override one key of the recipe or configuration."),
]
RunnerOption = Annotated[
    str,
    typer.Option(
        "--runner",
        help="Beam runner by name, or 'plain' for a loop; further Beam options follow; --log parts prints each part.",
    ),
]
WorkersOption = Annotated[
    int, typer.Option("--workers", metavar="N", min=1, help="Processes on this machine; they share its cores.")
]
SignerOption = Annotated[
    Path | None,
    typer.Option("--public-key", help="The key that must have signed the manifest; without it any signer counts."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


def make_engine(runner: str, context: typer.Context, workers: int = 1) -> Engine:
    """Return the engine of `--runner` and `--workers`; what the command does not know is passed to Beam.

    But for `--log parts` and `--accelerator WORDS`, which are the engine's own. Raises `BadInput` for words that
    nobody knows: a mistyped option would leave its default in force.
    """
    log, rest = _taken(context.args, "--log")
    accelerator, rest = _taken(rest, "--accelerator")
    if log not in (None, "parts"):
        raise BadInput(f"--log {log}: only parts can be logged (--log parts)")
    if rest:
        refuse_unknown(rest, (name for option in context.command.params for name in option.opts))
    return Engine(runner, tuple(rest), workers, log_parts=log is not None, accelerator=accelerator)


def _taken(arguments: list[str], name: str) -> tuple[str | None, list[str]]:
    """Take `name VALUE` or `name=VALUE` out of arguments; return the value and what is left."""
    for position, argument in enumerate(arguments):
        if argument == name:
            if position + 1 == len(arguments):
                raise BadInput(f"{name}: give its value")
            return arguments[position + 1], [*arguments[:position], *arguments[position + 2 :]]
        if argument.startswith(f"{name}="):
            return argument.removeprefix(f"{name}="), [*arguments[:position], *arguments[position + 1 :]]
    return None, arguments


def print_json(value: Any) -> None:
    """Print one JSON value on standard output."""
    print(json_shown(json.dumps(value, ensure_ascii=False, indent=1)))
