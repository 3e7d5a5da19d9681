"""`assay keys`: what signs and marks pictures. A development chain at once, a request for a real certificate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Keys that sign and mark generated pictures.")

AlgorithmOption = Annotated[str, typer.Option("--algorithm", help="es256, ps256 or ed25519.")]


@app.callback()
def _group() -> None:
    """Keys that sign and mark generated pictures."""


@app.command()
def init(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the keys; none there is overwritten.")],
    algorithm: AlgorithmOption = "es256",
) -> None:
    """Make a development chain and a watermark key. NOT FOR RELEASE: nobody but you vouches for such a chain."""
    from filters.errors import BadInput
    from training.hallmark.chains import development_chain, write_new
    from training.hallmark.watermark import new_key_file

    names = ("key.pem", "chain.pem", "root.pem", "watermark.key")
    if there := next((name for name in names if (out / name).exists()), None):
        raise BadInput(f"{out / there}: there is a file already, and keys are never overwritten")
    chain = development_chain(algorithm)
    write_new(out / "key.pem", chain.key, secret=True)
    write_new(out / "chain.pem", chain.certificates)
    write_new(out / "root.pem", chain.root)
    new_key_file(out / "watermark.key")
    print("DEVELOPMENT ONLY, NOT FOR RELEASE: nobody but you vouches for this chain.", file=sys.stderr)
    print("For release: assay keys csr, and have the request signed by an authority on C2PA's list.", file=sys.stderr)
    print(f"{out}: key.pem (secret), chain.pem, root.pem (give it to assay verify --trust), watermark.key (secret)")


@app.command()
def csr(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for key.pem and request.csr.")],
    organisation: Annotated[str, typer.Option("--organisation", help="Who signs: the legal name.")],
    name: Annotated[str, typer.Option("--name", help="The service that signs.")],
    country: Annotated[str | None, typer.Option("--country", help="Two letters.")] = None,
    algorithm: AlgorithmOption = "es256",
) -> None:
    """Make a private key and a request for a certificate that may sign credentials."""
    from filters.errors import BadInput
    from training.hallmark.chains import new_key, private_pem, request, write_new

    if (out / "request.csr").exists():
        raise BadInput(f"{out / 'request.csr'}: there is a file already, and keys are never overwritten")
    key = new_key(algorithm)
    made = request(key, organisation, name, country)
    write_new(out / "key.pem", private_pem(key), secret=True)
    write_new(out / "request.csr", made)
    print(f"{out}: key.pem (secret), request.csr (for the authority; its answer, leaf first, becomes chain.pem)")
