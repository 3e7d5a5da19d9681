"""Health: how far a job is, how fast, and what it could not read."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from dashboards.web.pages.base import Page, RunDirectory, Runs, render
from dashboards.web.query.health import Health, health

router = APIRouter()
PAGE = Page("health", "Health", router)


@router.get("/runs/{run}/health", include_in_schema=False)
def health_page(request: Request, run: str, catalogue: Runs) -> Response:
    """Show the job's progress; while the job is not done, the page asks again every two seconds."""
    found = health(catalogue.directory(run))
    return render(request, "health.html", {"title": "Health", "run": run, "slug": "health", "found": found})


@router.get("/api/runs/{run}/health", tags=["health"])
def health_api(directory: RunDirectory) -> Health:
    """Tell stage, rates and failures of the run's job."""
    return health(directory)
