"""`assay waive`: let a gate that did not pass pass, on somebody's responsibility."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.common import JsonOption, RunArgument, print_json


def waive(
    run: RunArgument,
    gate: Annotated[str, typer.Argument(metavar="GATE", help="The gate's name in the recipe.")],
    by: Annotated[str, typer.Option("--by", help="Who answers for it.")],
    why: Annotated[str, typer.Option("--why", help="Why it may pass.")],
    key: Annotated[
        Path | None, typer.Option("--key", help="Ed25519 private key to sign the new manifest with.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Waive a gate that did not pass; recorded in a new version of the manifest and shown everywhere."""
    from pipelines.commands.run import REPORT, load_hook
    from pipelines.jobs import waive as job
    from pipelines.run.directory import open_run
    from pipelines.run.lock import locked
    from pipelines.run.signing import load_private

    signer = load_private(key) if key else None
    opened = open_run(run)
    with locked(opened.store):
        record = job.waive(opened, gate, by, why, signer)
        load_hook(REPORT)(opened)
    if as_json:
        print_json(record)
        return
    print(f"{run}: gate {gate} waived by {record['waiver']['by']}; content hash {record['after']}")
    if record["unsigned"]:
        print("the version before was signed, this one is not: give --key to sign it")
