"""`assay status`: counts from the ledger, and how far a running job is."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from audit.counts import funnel
from filters.reasons import BY_CODE
from filters.terminal import printable
from pipelines.commands.common import JsonOption, RunArgument, print_json
from pipelines.jobs.balance import shard_rows
from pipelines.jobs.finish import run_counts
from pipelines.progress import planned, read_meters, split_seconds
from pipelines.run.directory import Run, open_run
from pipelines.run.manifest import read_manifest

#: Stages that work part by part, the folder of their markers, and those whose number of parts they tell themselves.
_ARTEFACTS = {"ingest": "samples", "score": "scores", "decide": "ledger"}
_PLANNED = ("ingest", "balance")


def status(run: RunArgument, as_json: JsonOption = False) -> None:
    """Tell counts, stage, rate and failures of a run."""
    opened = open_run(run)
    if as_json:
        print_json(describe(opened))
    else:
        print_counts(opened, Console())


def describe(run: Run) -> dict[str, Any]:
    """Return what `status --json` prints (DESIGN §4.4). `balanced` is false until the ledger is whole."""
    counts = run_counts(run)
    stage = current_stage(run)
    meter = read_meters(run.store, "score")
    balanced = counts.balanced
    if stage == "done":
        balanced = balanced and sum(shard_rows(run)) == counts.kept
    return {
        "samples": counts.samples,
        "kept": counts.kept,
        "dropped": counts.dropped,
        "balanced": balanced,
        "stage": stage,
        "parts": parts(run, stage),
        "rate": round(meter.rate, 2) if meter.rate else None,
        "seconds_per_sample": {phase: round(value, 6) for phase, value in split_seconds(meter).items()},
        "scorer_seconds": {name: round(v / meter.samples, 6) for name, v in meter.seconds.items() if meter.samples},
        "failures": failures(run),
        "scored": run.rows("scores"),
        "gates": gates(run),
    }


def gates(run: Run) -> list[dict[str, Any]]:
    """Return the gates of a finished run: name, state and who waived it (null where nobody did)."""
    entries = read_manifest(run)["content"].get("gates") or [] if run.finished() else []
    return [{"gate": g["name"], "state": g["state"], "words": g["words"], "waived": g["waiver"]} for g in entries]


def current_stage(run: Run) -> str:
    """Return the stage that is running or comes next; `done` for a finished run."""
    if run.finished():
        return "done"
    parts = run.parts("samples")
    if not parts or len(parts) < (planned(run.store, "ingest") or 0):
        return "ingest"
    if run.parts("scores") != parts:
        return "score"
    if not run.store.exists("duplicates/all.done.json"):
        return "dedup"
    if run.parts("ledger") != parts:
        return "decide"
    return "balance" if run.store.exists("audit/all.done.json") else "audit"


def parts(run: Run, stage: str) -> dict[str, int | None]:
    """Return how many parts of a stage are done, by their markers, and how many there are in all, null where unknown.

    A stage that works on all parts at once has one.
    """
    if stage == "balance":
        done = sum(name.endswith(".done.json") for name in run.store.list("shards"))
    elif stage in _ARTEFACTS:
        done = len(run.parts(_ARTEFACTS[stage]))
    else:
        return {"done": int(stage == "done"), "all": 1}
    every = planned(run.store, stage) if stage in _PLANNED else len(run.parts("samples"))
    return {"done": done, "all": None if every is None else max(every, done)}


def failures(run: Run) -> dict[str, int]:
    """Return the samples that could not be read, by reason, from the parts' markers."""
    total: Counter[str] = Counter()
    for artefact in ("samples", "scores"):
        for index in run.parts(artefact):
            total.update(run.marker(artefact, index).facts["failures"])
    return dict(sorted(total.items()))


def _title(run: Run) -> str:
    stage = current_stage(run)
    now = parts(run, stage)
    every = "?" if now["all"] is None else now["all"]
    return f"{run.recipe.name} · {stage}" + (f" ({now['done']} of {every} parts)" if stage != "done" else "")


def print_counts(run: Run, console: Console) -> None:
    """Print the funnel as a table."""
    counts = run_counts(run)
    table = Table(title=escape(printable(_title(run))), title_justify="left")
    for heading, justify in (("reason", "left"), ("dropped", "right"), ("left", "right"), ("meaning", "left")):
        table.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]
    table.add_row("samples", "", f"{counts.samples:,}", "")
    for step in funnel(counts):
        table.add_row(step.reason, f"{step.dropped:,}", f"{step.left:,}", BY_CODE[step.reason].meaning)
    table.add_row("kept", "", f"{counts.kept:,}", "adds up" if counts.balanced else "does not add up (yet)")
    console.print(table)
    for gate in gates(run):
        waiver = gate["waived"]
        mark = f"; waived by {waiver['by']} ({waiver['at']}): {waiver['why']}" if waiver else ""
        line = printable(f"gate {gate['gate']}: {gate['state']}: {gate['words']}{mark}")
        console.print(line, markup=False, highlight=False)
