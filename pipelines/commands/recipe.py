"""`assay recipe`: check a recipe before a long job, and the schema for editors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.common import SetOption, print_json
from pipelines.run.recipe import Recipe, load_recipe

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Check a recipe, or print its JSON schema.")


@app.command()
def check(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="Recipe file (YAML).")], overrides: SetOption = None
) -> None:
    """Check a recipe and print it in full, with all defaults."""
    from pipelines.jobs.groups import check_columns

    loaded = load_recipe(recipe, overrides)
    check_columns(loaded)
    print(loaded.dump(), end="")


@app.command()
def schema() -> None:
    """Print the JSON schema of recipes."""
    print_json(Recipe.model_json_schema())
