"""Funnel: samples in, what each reason took, shards out."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from dashboards.figures import funnel_bar
from dashboards.web.pages.base import OpenedRun, Page, render
from dashboards.web.query.funnel import Funnel, funnel

router = APIRouter()
PAGE = Page("funnel", "Funnel", router)


@router.get("/runs/{run}/funnel", include_in_schema=False)
def funnel_page(request: Request, opened: OpenedRun) -> Response:
    """Show the funnel; each bar leads to its samples."""
    context = {"title": "Funnel", "run": opened.name, "slug": "funnel", "found": funnel(opened), "bar": funnel_bar}
    return render(request, "funnel.html", context)


@router.get("/api/runs/{run}/funnel", tags=["funnel"])
def funnel_api(opened: OpenedRun) -> Funnel:
    """Count samples by primary reason, in order of precedence."""
    return funnel(opened)
