"""`assay check`: compliance before training."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from filters.errors import GateRefused
from filters.terminal import tell
from pipelines.commands.common import JsonOption, RunArgument, SignerOption, print_json

RegistryOption = Annotated[
    str | None,
    typer.Option("--registry", help="Opt-out registry to check against; else the one that the recipe names."),
]


def check(
    run: RunArgument,
    registry: RegistryOption = None,
    public_key: SignerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell whether a dataset may be trained on; exit code 3 with what is wrong where it may not.

    Whoever can write the run can write its manifest anew: where that matters, sign it (assay run --key), keep the
    public key elsewhere, and name it here and with assay train.
    """
    from pipelines.jobs import check as job
    from pipelines.run.directory import open_run
    from pipelines.run.signing import load_public

    verdict = job.check(open_run(run), registry, signer=load_public(public_key) if public_key else None)
    if as_json:
        problems = [asdict(problem) for problem in verdict.problems]
        print_json({"ok": verdict.ok, "problems": problems, "waived": verdict.waived})
        if not verdict.ok:
            raise typer.Exit(3)
        return
    if not verdict.ok:
        raise GateRefused(f"{run}: {job.described(verdict.problems)}")
    print(f"{run}: cleared for training")
    for waiver in verdict.waived:
        who = f"{waiver['by']} ({waiver['at']}): {waiver['why']}"
        tell(f"  gate {waiver['gate']} did not pass and was waived by {who}")
