"""Audit: gates, who is in the dataset, whom the rules remove, and what goes with whom."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request, Response

from audit.document import Document
from dashboards.web.pages.base import OpenedRun, Page, render
from dashboards.web.query.audit import Association, ImpactMatrix, audit, figures

router = APIRouter()
PAGE = Page("audit", "Audit", router)

_Group = Annotated[str, Query(max_length=200, description="a group of the audit; empty for its first")]


@router.get("/runs/{run}/audit", include_in_schema=False)
def audit_page(request: Request, opened: OpenedRun, group: _Group = "") -> Response:
    """Show the audit; the group whose matrix is shown stands in the address."""
    found = audit(opened.run, group)
    context = {
        "title": "Audit",
        "run": opened.name,
        "slug": "audit",
        "found": found,
        "facts": found.facts,
        "columns": {column.name for column in opened.columns.groups},
    }
    return render(request, "audit.html", context)


@router.get("/api/runs/{run}/audit", tags=["audit"])
def audit_api(opened: OpenedRun) -> Document:
    """Return the audit's document, as it stands in the run."""
    found = figures(opened.run)
    if found is None:
        raise HTTPException(404, "this run has no audit of its present ledger")
    return found


@router.get("/api/runs/{run}/audit/impact", tags=["audit"])
def impact_api(opened: OpenedRun, group: _Group = "") -> ImpactMatrix:
    """Return the disparate impact of one group by rule and value."""
    found = audit(opened.run, group).matrix
    if found is None:
        raise HTTPException(404, "no disparate impact was measured")
    return found


@router.get("/api/runs/{run}/audit/associations", tags=["audit"])
def associations_api(opened: OpenedRun) -> list[Association]:
    """List which concepts go with which value of a group, with intervals."""
    return audit(opened.run).associations
