"""`assay report`: a run's report as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.common import JsonOption, RunArgument, print_json


def report(
    run: RunArgument,
    out: Annotated[Path | None, typer.Option("--out", help="File to write; RUN/report.html where not given.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a run's report: funnel, reasons with pictures, scores with their bounds. Needs a whole ledger."""
    from dashboards.report import write_report
    from pipelines.run.directory import open_run

    opened = open_run(run)
    written = write_report(opened, out)
    if as_json:
        print_json({"report": written, "finished": opened.finished()})
    else:
        print(written)
