"""`assay audit`: who is in a run, whom its rules removed, what goes with whom, and whether its gates pass."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from filters.terminal import json_shown, printable
from pipelines.commands.common import JsonOption, RunArgument, RunnerOption, WorkersOption, make_engine

if TYPE_CHECKING:
    from audit.document import Document

#: Findings of one section that the command prints; all stand in audit.json.
_SHOWN = 5


def audit(
    context: typer.Context,
    run: RunArgument,
    runner: RunnerOption = "FnApiRunner",
    workers: WorkersOption = 1,
    key: Annotated[
        Path | None, typer.Option("--key", help="Ed25519 private key to sign the manifest with, if it changes.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Count groups in the ledger and judge the gates; write audit/audit.json and its tables.

    Gates do not change the exit code here: `assay check` refuses with 3.
    """
    from audit.document import write
    from pipelines.jobs import audit as job
    from pipelines.jobs.finish import finish
    from pipelines.jobs.groups import assign_groups
    from pipelines.jobs.replay import parent_of
    from pipelines.retraction.versions import revised
    from pipelines.run.directory import open_run
    from pipelines.run.lock import locked
    from pipelines.run.signing import load_private

    signer = load_private(key) if key else None
    opened = open_run(run)
    engine = make_engine(runner, context, workers)
    with locked(opened.store):
        if job.current(opened) is None:
            assign_groups(opened, engine)
            job.audit(opened, engine)
            # a later version's manifest is written by what made the version
            if opened.finished() and not revised(opened.store):
                finish(opened, signer, parent_of(opened))
        found = job.load_audit(opened)
    if as_json:
        print(json_shown(write(found).decode()), end="")
        return
    print_audit(opened.store.url, found)


def print_audit(where: str, found: Document) -> None:
    """Print what is sure and large enough to matter, the gates, and what nobody measured."""
    console = Console(highlight=False, soft_wrap=True)

    def told(words: str) -> None:
        console.print(printable(words), markup=False)  # names of groups come from captions and creators

    cost = found.cost
    console.print(f"{where}: {cost.came:,} samples came in, {cost.kept:,} are kept", markup=False)
    for section in found.sections:
        sure = [item for item in section.findings if item.state.value == "found"]
        if not sure:
            continue
        console.print(f"\n{section.title}", style="bold", markup=False)
        for item in sure[:_SHOWN]:
            told(f"  {item.words}")
        if len(sure) > _SHOWN:
            console.print(f"  and {len(sure) - _SHOWN} more, in audit/audit.json", markup=False)
    if found.gates:
        console.print("\nGates", style="bold")
    for gate in found.gates:
        told(f"  {gate.judged.name}: {gate.judged.state}: {gate.judged.words}")
    if found.unread_captions is not None:
        console.print(f"\n{found.unread_captions.words}", markup=False)
    console.print(f"\nnot measured: {'; '.join(item.what for item in found.not_measured)}", markup=False)
