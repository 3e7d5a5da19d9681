"""Thresholds: where a rule's bound lies in its score, and what another bound would change."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request, Response

from dashboards.figures import funnel_bar, histogram
from dashboards.web.pages.base import OpenedRun, Page, render, run_address
from dashboards.web.query.threshold_bins import histogram_of
from dashboards.web.query.threshold_replay import Change, parse_changes
from dashboards.web.query.thresholds import Thresholds, thresholds

router = APIRouter()
PAGE = Page("thresholds", "Thresholds", router)


def _asked(request: Request, opened: OpenedRun) -> tuple[Change, ...]:
    return parse_changes(request.query_params.multi_items(), opened)


#: Bounds of an address: `low.RULE`, `high.RULE`, `top.RULE` (the best fraction).
Asked = Annotated[tuple[Change, ...], Depends(_asked)]
_Word = Annotated[str, Query(max_length=100)]


@router.get("/runs/{run}/thresholds", include_in_schema=False)
def thresholds_page(
    request: Request, opened: OpenedRun, asked: Asked, rule: _Word = "", group: _Word = ""
) -> Response:
    """Show one rule: histogram, what-if counts, rates by group, samples at the bound."""
    found = thresholds(opened, asked, rule, group)
    others = [pair for change in asked if change.rule != found.rule for pair in _pairs(change)]
    mine = [pair for change in asked if change.rule == found.rule for pair in _pairs(change)]
    base = run_address(opened.name, "thresholds")
    context = {
        "title": "Thresholds",
        "run": opened.name,
        "slug": "thresholds",
        "found": found,
        "focus": next(item for item in found.rules if item.rule == found.rule),
        "picture": histogram(found.rule, "score", histogram_of(found.bins), []),
        "others": others,
        "to_rule": {
            item.rule: f"{base}?{urlencode([('rule', item.rule), ('group', found.group), *others, *mine])}"
            for item in found.rules
        },
        "undo": f"{base}?{urlencode([('rule', found.rule), ('group', found.group)])}",
        "bar": funnel_bar,
    }
    return render(request, "thresholds.html", context)


@router.get("/api/runs/{run}/thresholds", tags=["thresholds"])
def thresholds_api(opened: OpenedRun, asked: Asked, rule: _Word = "", group: _Word = "") -> Thresholds:
    """Count by other bounds, up to the rules: `low.RULE`, `high.RULE`, or `top.RULE` for the best fraction."""
    return thresholds(opened, asked, rule, group)


def _pairs(change: Change) -> list[tuple[str, str]]:
    values = (("low", change.low), ("high", change.high), ("top", change.keep_top))
    return [(f"{kind}.{change.rule}", f"{value:.9g}") for kind, value in values if value is not None]
