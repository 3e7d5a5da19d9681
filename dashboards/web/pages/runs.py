"""Runs: the list, and two of them side by side."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from dashboards.web.pages.base import Page, Runs, render, run_address
from dashboards.web.query.runs import Comparison, RunRow, compare, run_rows

router = APIRouter()
PAGE = Page("runs", "Runs", router, of_run=False)

_Name = Annotated[str, Query(max_length=300, description="name of a run")]


@router.get("/", include_in_schema=False)
def runs_page(request: Request, catalogue: Runs) -> Response:
    """Show all runs."""
    return render(request, "runs.html", {"title": "Runs", "rows": run_rows(catalogue), "slug": "runs"})


@router.get("/compare", include_in_schema=False)
def compare_page(request: Request, catalogue: Runs, a: _Name = "", b: _Name = "") -> Response:
    """Show what differs between two runs; without their names, lead to the list."""
    if not a or not b:
        return RedirectResponse("/", 303)
    found = compare(catalogue.open(a), catalogue.open(b))
    return render(request, "compare.html", {"title": f"{a} → {b}", "found": found, "slug": "compare"})


@router.get("/runs/{run}", include_in_schema=False)
def run_page(run: str, catalogue: Runs) -> Response:
    """Lead to the run's funnel."""
    return RedirectResponse(run_address(catalogue.place(run).name, "funnel"), 303)


@router.get("/api/runs", tags=["runs"])
def runs_api(catalogue: Runs) -> list[RunRow]:
    """List all runs."""
    return run_rows(catalogue)


@router.get("/api/compare", tags=["runs"])
def compare_api(catalogue: Runs, a: _Name, b: _Name) -> Comparison:
    """Tell what differs between two runs, `a` being the earlier one."""
    return compare(catalogue.open(a), catalogue.open(b))
