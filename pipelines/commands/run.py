"""`assay run`: the whole job."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipelines.commands.common import (
    JsonOption,
    OutOption,
    RunnerOption,
    SetOption,
    WorkersOption,
    make_engine,
    print_json,
)

#: The report stands on a floor above; it is named, never imported.
REPORT = "dashboards.report:write_report"


def run(
    context: typer.Context,
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="Recipe file (YAML).")],
    out: OutOption,
    overrides: SetOption = None,
    runner: RunnerOption = "FnApiRunner",
    workers: WorkersOption = 1,
    key: Annotated[Path | None, typer.Option("--key", help="Ed25519 private key to sign the manifest with.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Do all of a recipe. Killed at any point, the same command resumes; a dataset to which opt-outs were applied, or
    of which a gate was waived, since then stays as it is."""
    from pipelines.commands.status import describe, print_counts
    from pipelines.jobs.audit import audit
    from pipelines.jobs.balance import balance
    from pipelines.jobs.calibrate import calibrate
    from pipelines.jobs.decide import decide
    from pipelines.jobs.dedup import dedup
    from pipelines.jobs.finish import finish
    from pipelines.jobs.groups import assign_groups, check_columns
    from pipelines.jobs.ingest import ingest
    from pipelines.jobs.match import match
    from pipelines.jobs.score import score
    from pipelines.progress import clear_meters
    from pipelines.retraction.versions import revised
    from pipelines.run.directory import create_run, locked_place
    from pipelines.run.manifest import read_manifest
    from pipelines.run.recipe import load_recipe
    from pipelines.run.signing import load_private

    engine = make_engine(runner, context, workers)
    signer = load_private(key) if key else None
    loaded = load_recipe(recipe, overrides)
    check_columns(loaded)
    with locked_place(out):
        this = create_run(out, loaded)
        if not revised(this.store):
            this.store.sweep()
            clear_meters(this.store)
            ingest(this, engine)
            score(this, engine)
            calibrate(this)
            match(this, engine)
            dedup(this, engine)
            assign_groups(this, engine)
            decide(this)
            audit(this, engine)
            balance(this, engine)
            finish(this, signer)
        content_hash = read_manifest(this)["content_hash"]
        load_hook(REPORT)(this)
    if as_json:
        print_json({**describe(this), "content_hash": content_hash})
    else:
        print_counts(this, Console(stderr=True))


def load_hook(name: str) -> Callable[..., object]:
    """Import `module:function` by name."""
    module, _, attribute = name.partition(":")
    found: Callable[..., object] = getattr(importlib.import_module(module), attribute)
    return found
