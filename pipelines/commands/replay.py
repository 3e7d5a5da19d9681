"""`assay replay`: the same scores, other decisions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipelines.commands.common import JsonOption, OutOption, RunArgument, SetOption, print_json


def replay(
    run: RunArgument,
    out: OutOption,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", help="Recipe to decide by, instead of the run's own.")
    ] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide again with other bounds; no model runs. `assay balance` then writes the new shards."""
    from pipelines.commands.status import describe, print_counts
    from pipelines.jobs import replay as job
    from pipelines.run.directory import open_run

    new = job.replay(open_run(run), overrides or [], out, recipe)
    if as_json:
        print_json(describe(new))
    else:
        print_counts(new, Console(stderr=True))
