"""`assay manifest verify` and `assay keygen`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from filters.errors import GateRefused
from filters.terminal import tell
from pipelines.commands.common import JsonOption, RunArgument, SignerOption, print_json

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Verify a dataset's manifest.")


@app.callback()
def _group() -> None:
    """Verify a dataset's manifest."""


@app.command()
def verify(
    run: RunArgument,
    public_key: SignerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check content hash, every file's SHA-256, and the signature. Exit code 3 when something is wrong."""
    from pipelines.run.directory import open_run
    from pipelines.run.manifest import read_manifest
    from pipelines.run.manifest import verify as check
    from pipelines.run.signing import check_signature, load_public

    opened = open_run(run)
    trusted = load_public(public_key) if public_key else None
    body = read_manifest(opened)
    state, problems = check_signature(opened, trusted)
    problems = [*check(opened), *problems]
    if as_json:
        print_json(
            {
                "ok": not problems,
                "content_hash": body["content_hash"],
                "files": len(body["files"]),
                "signature": state,
                "problems": [asdict(problem) for problem in problems],
            }
        )
        if problems:
            raise typer.Exit(3)
        return
    if problems:
        listed = "; ".join(f"{p.code} {p.detail}" for p in problems[:10])
        more = f"; and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise GateRefused(f"{run}: {len(problems)} problem(s): {listed}{more}")
    words = {
        "unsigned": "not signed",
        "valid": "signed, by a key that was not checked (give --public-key)",
        "trusted": "signed by the given key",
    }
    tell(f"{run}: {len(body['files'])} files as stated, {words[state]}", f"content hash {body['content_hash']}")


def keygen(
    out: Annotated[Path, typer.Option("--out", help="File of the private key; the public one gets .pub.")],
) -> None:
    """Make an Ed25519 key pair for signing manifests."""
    from pipelines.run.signing import generate, key_id, load_public

    public = generate(out)
    print(f"private key {out} (keep it secret), public key {public}, key id {key_id(load_public(public))}")
