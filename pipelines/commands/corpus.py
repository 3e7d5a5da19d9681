"""`assay corpus`: sample corpora to try the pipeline on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pipelines.sources.openclipart import write_corpus

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Sample corpora to try the pipeline on.")


@app.callback()
def corpus() -> None:
    """Sample corpora to try the pipeline on."""
    # With a callback, typer keeps `openclipart` a command of its own although it is the only one.


@app.command()
def openclipart(
    out: Annotated[Path, typer.Option("--out", help="Folder for the shards: absent, empty or an earlier corpus.")],
    debs: Annotated[
        list[Path] | None,
        typer.Option("--deb", help="File of openclipart-png or openclipart-svg: give both. Default: by apt-get."),
    ] = None,
    shard_size: Annotated[int, typer.Option("--shard-size", min=1, help="Samples a shard.")] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON on stdout.")] = False,
) -> None:
    """Write 8,121 real public-domain pictures with titles, keywords and artists as WebDataset shards."""
    summary = write_corpus(out, debs or (), shard_size)
    if as_json:
        typer.echo(json.dumps({"out": str(out), **summary}))
        return
    typer.echo(
        f"{out}: {summary['samples']:,} samples ({summary['links']:,} links) in {len(summary['shards'])} shards, "
        f"{summary['creators']:,} artists, {summary['without_licence']:,} without licence"
    )
