"""Each stage of the job as a command of its own on a run directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.common import (
    JsonOption,
    OutOption,
    RunArgument,
    RunnerOption,
    SetOption,
    make_engine,
    print_json,
)


def ingest(
    context: typer.Context,
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="Recipe file (YAML).")],
    out: OutOption,
    overrides: SetOption = None,
    runner: RunnerOption = "FnApiRunner",
    as_json: JsonOption = False,
) -> None:
    """Read the input into sample rows; every record becomes a row, readable or not."""
    from pipelines.jobs import ingest as job
    from pipelines.run.directory import create_run
    from pipelines.run.lock import locked
    from pipelines.run.recipe import load_recipe
    from pipelines.run.storage import Store

    loaded = load_recipe(recipe, overrides)
    with locked(Store(out)):
        run = create_run(out, loaded)
        run.store.sweep()
        job.ingest(run, make_engine(runner, context))
    if as_json:
        print_json({"samples": run.rows("samples"), "parts": len(run.parts("samples"))})


def score(
    context: typer.Context,
    run: RunArgument,
    runner: RunnerOption = "FnApiRunner",
    missing: Annotated[
        bool, typer.Option("--missing", help="Score just the samples whose skipped scores the recipe's rules need.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compute every score once; parts that are done are skipped."""
    from pipelines.jobs import score as job
    from pipelines.jobs.calibrate import calibrate
    from pipelines.jobs.complete import complete
    from pipelines.run.directory import open_run
    from pipelines.run.lock import locked

    opened = open_run(run)
    with locked(opened.store):
        if missing:
            completed = complete(opened, make_engine(runner, context))
        else:
            job.score(opened, make_engine(runner, context))
            calibrate(opened)
    if as_json:
        counts = {"samples": opened.rows("scores"), "parts": len(opened.parts("scores"))}
        print_json({**counts, "completed": completed} if missing else counts)


def dedup(run: RunArgument, as_json: JsonOption = False) -> None:
    """Find duplicate pairs and clusters from the stored hashes."""
    from pipelines.jobs import dedup as job
    from pipelines.run.directory import open_run
    from pipelines.run.lock import locked

    opened = open_run(run)
    with locked(opened.store):
        marker = job.dedup(opened)
    if as_json:
        print_json({"in_clusters": marker.rows, **marker.facts})


def decide(run: RunArgument, as_json: JsonOption = False) -> None:
    """Judge every sample by the recipe's rules and write the ledger."""
    from pipelines.commands.status import describe
    from pipelines.jobs import decide as job
    from pipelines.run.directory import open_run
    from pipelines.run.lock import locked

    opened = open_run(run)
    with locked(opened.store):
        job.decide(opened)
    if as_json:
        print_json(describe(opened))


def balance(
    context: typer.Context,
    run: RunArgument,
    runner: RunnerOption = "FnApiRunner",
    key: Annotated[Path | None, typer.Option("--key", help="Ed25519 private key to sign the manifest with.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the kept samples to shards, then the manifest."""
    from pipelines.commands.status import describe
    from pipelines.jobs import balance as job
    from pipelines.jobs.finish import finish
    from pipelines.jobs.replay import parent_of
    from pipelines.run.directory import open_run
    from pipelines.run.lock import locked
    from pipelines.run.signing import load_private

    opened = open_run(run)
    signer = load_private(key) if key else None
    with locked(opened.store):
        job.balance(opened, make_engine(runner, context))
        manifest = finish(opened, signer, parent_of(opened))
    if as_json:
        print_json({**describe(opened), "content_hash": manifest["content_hash"]})
