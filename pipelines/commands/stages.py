"""Each stage of the job as a command of its own on a run directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from filters.errors import BadInput
from pipelines.commands.common import (
    JsonOption,
    RunArgument,
    RunnerOption,
    SetOption,
    WorkersOption,
    make_engine,
    print_json,
)


def ingest(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(metavar="RECIPE|RUN", help="Recipe file (YAML), or a run to resume.")],
    out: Annotated[str | None, typer.Option("--out", help="Run directory to write; not for a run.")] = None,
    overrides: SetOption = None,
    retry: Annotated[
        str | None,
        typer.Option("--retry", metavar="network|http", help="Ask again for a URL list's rows that failed so."),
    ] = None,
    runner: RunnerOption = "FnApiRunner",
    workers: WorkersOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Read the input into sample rows; every record becomes a row, readable or not."""
    from pipelines.jobs import fetch
    from pipelines.jobs import ingest as job
    from pipelines.retraction.versions import sealed
    from pipelines.run.directory import create_run, locked_place, open_run
    from pipelines.run.recipe import load_recipe

    if out is None and (overrides or Path(recipe).is_file()):
        raise BadInput("--out: name the run directory to write")
    engine = make_engine(runner, context, workers)
    loaded = load_recipe(recipe, overrides) if out is not None else open_run(recipe).recipe
    place = recipe if out is None else out
    with locked_place(place):
        run = create_run(place, loaded)
        sealed(run.store)
        run.store.sweep()
        retried = fetch.retry(run, engine, retry) if retry else None
        job.ingest(run, engine)
    if as_json:
        counts = {"samples": run.rows("samples"), "parts": len(run.parts("samples"))}
        print_json(counts if retried is None else {**counts, "retried": retried})


def score(
    context: typer.Context,
    run: RunArgument,
    runner: RunnerOption = "FnApiRunner",
    workers: WorkersOption = 1,
    missing: Annotated[
        bool, typer.Option("--missing", help="Score just the samples whose skipped scores the recipe's rules need.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compute every score once; parts that are done are skipped."""
    from pipelines.jobs import score as job
    from pipelines.jobs.calibrate import calibrate
    from pipelines.jobs.complete import complete
    from pipelines.retraction.versions import sealed
    from pipelines.run.directory import open_run
    from pipelines.run.lock import locked

    opened = open_run(run)
    with locked(opened.store):
        sealed(opened.store)
        if missing:
            completed = complete(opened, make_engine(runner, context, workers))
        else:
            job.score(opened, make_engine(runner, context, workers))
            calibrate(opened)
    if as_json:
        counts = {"samples": opened.rows("scores"), "parts": len(opened.parts("scores"))}
        print_json({**counts, "completed": completed} if missing else counts)


def dedup(
    context: typer.Context,
    run: RunArgument,
    runner: RunnerOption = "FnApiRunner",
    workers: WorkersOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Find duplicate pairs and clusters from the stored hashes and embeddings."""
    from pipelines.jobs import dedup as job
    from pipelines.retraction.versions import sealed
    from pipelines.run.directory import open_run
    from pipelines.run.lock import locked

    opened = open_run(run)
    with locked(opened.store):
        sealed(opened.store)
        marker = job.dedup(opened, make_engine(runner, context, workers))
    if as_json:
        facts = {key: marker.facts[key] for key in ("clusters", "edges", "thinned", "since")}
        print_json({"in_clusters": marker.rows, **facts})


def decide(run: RunArgument, as_json: JsonOption = False) -> None:
    """Judge every sample by the recipe's rules and write the ledger."""
    from pipelines.commands.status import describe
    from pipelines.jobs import decide as job
    from pipelines.jobs.groups import assign_groups
    from pipelines.retraction.versions import sealed
    from pipelines.run.directory import open_run
    from pipelines.run.lock import locked

    opened = open_run(run)
    with locked(opened.store):
        sealed(opened.store)
        assign_groups(opened)
        job.decide(opened)
    if as_json:
        print_json(describe(opened))


def balance(
    context: typer.Context,
    run: RunArgument,
    runner: RunnerOption = "FnApiRunner",
    workers: WorkersOption = 1,
    key: Annotated[Path | None, typer.Option("--key", help="Ed25519 private key to sign the manifest with.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the kept samples to shards, then the manifest."""
    from pipelines.commands.status import describe
    from pipelines.jobs import balance as job
    from pipelines.jobs.audit import audit
    from pipelines.jobs.finish import finish
    from pipelines.jobs.groups import assign_groups
    from pipelines.jobs.replay import parent_of
    from pipelines.retraction.versions import sealed
    from pipelines.run.directory import open_run
    from pipelines.run.lock import locked
    from pipelines.run.signing import load_private

    opened = open_run(run)
    signer = load_private(key) if key else None
    with locked(opened.store):
        sealed(opened.store)
        engine = make_engine(runner, context, workers)
        assign_groups(opened, engine)
        audit(opened, engine)
        job.balance(opened, engine)
        manifest = finish(opened, signer, parent_of(opened))
    if as_json:
        print_json({**describe(opened), "content_hash": manifest["content_hash"]})
