"""`assay optout`: read opt-outs, keep them in a registry, apply them to finished datasets, verify receipts."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from filters import environment
from filters.errors import GateRefused
from filters.terminal import all_printable, tell
from pipelines.commands.check import RegistryOption
from pipelines.commands.common import JsonOption, RunArgument, RunnerOption, WorkersOption, make_engine, print_json
from pipelines.commands.registry import registry_app

KeyOption = Annotated[
    Path | None,
    typer.Option(
        "--key", help="Ed25519 private key for receipts and manifest; else the operator's own, receipts only."
    ),
]
PublicKeyOption = Annotated[
    Path | None, typer.Option("--public-key", help="The key that must have signed; without it any signer counts.")
]

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Opt-outs: read, keep, apply.")
app.registered_commands += registry_app.registered_commands

receipt_app = typer.Typer(add_completion=False, no_args_is_help=True, help="Receipts of applied opt-outs.")
app.add_typer(receipt_app, name="receipt")


@app.callback()
def _group() -> None:
    """Read opt-outs, keep them in a registry, apply them to finished datasets."""


@receipt_app.callback()
def _receipts() -> None:
    """Receipts of applied opt-outs."""


@app.command("check")
def check(
    targets: Annotated[list[str], typer.Argument(metavar="URL|FILE...", help="Addresses or files of pictures.")],
    contact: Annotated[
        str | None,
        typer.Option(
            "--contact", envvar=environment.CONTACT, help="Your mail or web address; sent to the hosts asked."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell every opt-out signal of addresses and files, and what they come to."""
    from filters.errors import BadInput
    from pipelines.fetch.inspect import inspect_file, inspect_urls

    urls = [target for target in targets if "://" in target]
    if urls and contact is None:
        raise BadInput(f"{urls[0]}: to ask a host, say who asks: --contact you@example.org (or {environment.CONTACT})")
    asked = iter(inspect_urls(urls, contact or "") if urls else [])
    found = [next(asked) if "://" in target else inspect_file(Path(target)) for target in targets]
    if as_json:
        print_json([inspection.body() for inspection in found])
        return
    for inspection in found:
        reason = inspection.resolution.reason
        tell(f"{inspection.target}: {inspection.verdict.value}" + (f", dropped as {reason.value}" if reason else ""))
        if inspection.problem:
            tell(f"  {inspection.problem}")
        for signal in inspection.signals:
            mark = "unreadable" if signal.unreadable else signal.verdict.value
            tell(f"  {mark:<10} {signal.channel} ({signal.source}): {signal.detail}")
            tell(f"             {signal.raw[:200]!r}, by {signal.spec}")
        if not inspection.signals:
            tell("  no statement on any channel")


@app.command("match", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def match(
    context: typer.Context,
    run: RunArgument,
    runner: RunnerOption = "FnApiRunner",
    workers: WorkersOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Match a scored run with the registry that its recipe names (a stage of assay run)."""
    from pipelines.jobs import match as job
    from pipelines.retraction.versions import sealed
    from pipelines.run.directory import open_run
    from pipelines.run.lock import locked

    opened = open_run(run)
    with locked(opened.store):
        sealed(opened.store)
        job.match(opened, make_engine(runner, context, workers))
    if as_json:
        print_json({"matches": opened.rows("matches"), "parts": len(opened.parts("matches"))})


@app.command("apply")
def apply(
    run: RunArgument, registry: RegistryOption = None, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Apply the registry's newer entries to a finished dataset; write a signed receipt for each."""
    from pipelines.commands.run import REPORT, load_hook
    from pipelines.jobs import apply as job
    from pipelines.jobs.retract import Keys
    from pipelines.run.directory import open_run
    from pipelines.run.lock import locked
    from pipelines.run.signing import load_private, operator_key

    signer = load_private(key) if key else None
    opened = open_run(run)
    with locked(opened.store):
        record = job.apply(opened, registry, Keys(signer or operator_key(), signer))
        load_hook(REPORT)(opened)
    if as_json:
        print_json(record)
        return
    tell(f"{run}: {len(record['receipts'])} request(s) applied, {len(record['left'])} sample(s) left the shards")
    if record["came"]:
        print(f"{len(record['came'])} near-duplicate(s) followed")
    for name in record["receipts"]:
        tell(f"receipt {run}/{name}")


@receipt_app.command("show")
def show(receipt: Annotated[Path, typer.Argument(metavar="RECEIPT", help="Receipt file.")]) -> None:
    """Print a receipt in words."""
    from filters.errors import BadInput
    from pipelines.retraction.receipts import read_receipt
    from pipelines.retraction.words import receipt_words

    found = all_printable(read_receipt(_bytes(receipt), str(receipt)))
    try:
        words = receipt_words(found)
    except (KeyError, TypeError, AttributeError, ValueError):
        raise BadInput(f"{receipt}: not a receipt: a field is missing or of another kind") from None
    tell(*words.split("\n"))


@receipt_app.command("verify")
def verify(
    receipt: Annotated[Path, typer.Argument(metavar="RECEIPT", help="Receipt file.")],
    public_key: PublicKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a receipt's signature. Exit code 3 where it does not hold."""
    from pipelines.retraction.receipts import verify_receipt
    from pipelines.run.signing import load_public

    state, problems = verify_receipt(_bytes(receipt), str(receipt), load_public(public_key) if public_key else None)
    if as_json:
        print_json({"ok": not problems, "signature": state, "problems": [asdict(problem) for problem in problems]})
        if problems:
            raise typer.Exit(3)
        return
    if problems:
        raise GateRefused(f"{receipt}: {problems[0].code} {problems[0].detail}")
    words = {
        "valid": "signed, by a key that was not checked (give --public-key)",
        "trusted": "signed by the given key",
    }
    tell(f"{receipt}: {words[state]}")


def _bytes(path: Path) -> bytes:
    from filters.errors import BadInput

    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from None
