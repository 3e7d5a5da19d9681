"""Samples: the gallery with its filters, one sample, and the pictures of both."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response

from dashboards.web.pages.base import Chosen, OpenedRun, Page, render
from dashboards.web.query.choices import choices
from dashboards.web.query.filters import NONE
from dashboards.web.query.pictures import thumbnail
from dashboards.web.query.sample import Detail, detail
from dashboards.web.query.samples import SamplePage, sample_page
from filters.reasons import BY_CODE

router = APIRouter()
PAGE = Page("samples", "Samples", router)

_After = Annotated[str, Query(max_length=80, description="`after` of the page before")]
_Size = Annotated[int, Query(ge=1, le=200, description="samples of a page")]
_Uid = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
_Row = Annotated[int, Path(ge=0, lt=1 << 48)]
_AnyRow = Annotated[int | None, Query(ge=0, lt=1 << 48, description="position, where a uid stands more than once")]


@router.get("/runs/{run}/samples", include_in_schema=False)
def samples_page(
    request: Request, opened: OpenedRun, chosen: Chosen, after: _After = "", view: str = "gallery"
) -> Response:
    """Show one page of samples."""
    found = sample_page(opened, chosen, after, request.app.state.settings.page_size)
    context = {
        "title": "Samples",
        "run": opened.name,
        "slug": "samples",
        "found": found,
        "chosen": chosen,
        "choices": choices(opened),
        "columns": opened.columns,
        "after": after,
        "view": "table" if view == "table" else "gallery",
        "NONE": NONE,
        "BY_CODE": BY_CODE,
    }
    return render(request, "samples.html", context)


@router.get("/runs/{run}/samples/{uid}", include_in_schema=False)
def sample_html(
    request: Request, opened: OpenedRun, uid: _Uid, row: _AnyRow = None, unblur: bool = False, full: bool = False
) -> Response:
    """Show one sample."""
    context = {
        "title": f"Sample {uid[:8]}",
        "run": opened.name,
        "slug": "samples",
        "found": _found(opened, uid, row),
        "unblur": unblur,
        "full": full,
    }
    return render(request, "sample.html", context)


@router.get("/runs/{run}/pictures/{row}/{uid}", include_in_schema=False)
def picture_fragment(request: Request, opened: OpenedRun, row: _Row, uid: _Uid, unblur: bool = False) -> Response:
    """Return the HTML of one picture; asked for when a veil is lifted."""
    return render(request, "picture.html", {"run": opened.name, "row": row, "uid": uid, "unblur": unblur})


@router.get("/runs/{run}/thumbs/{row}/{uid}.webp", include_in_schema=False)
def picture(request: Request, opened: OpenedRun, row: _Row, uid: _Uid, unblur: bool = False) -> Response:
    """Return one thumbnail."""
    return _picture(request, opened, row, uid, unblur)


@router.get("/api/runs/{run}/samples", tags=["samples"])
def samples_api(opened: OpenedRun, chosen: Chosen, after: _After = "", size: _Size = 60) -> SamplePage:
    """Return one page of samples. Further filters: `low.SCORE`, `high.SCORE`, `missing.SCORE`, `group.GROUP`."""
    return sample_page(opened, chosen, after, size)


@router.get("/api/runs/{run}/samples/{uid}", tags=["samples"])
def sample_api(opened: OpenedRun, uid: _Uid, row: _AnyRow = None) -> Detail:
    """Return all that is known of one sample."""
    return _found(opened, uid, row)


@router.get("/api/runs/{run}/thumbs/{row}/{uid}", tags=["samples"], response_class=Response)
def picture_api(request: Request, opened: OpenedRun, row: _Row, uid: _Uid, unblur: bool = False) -> Response:
    """Return one thumbnail as WebP; blurred where it may not be safe for work and `unblur` is not set."""
    return _picture(request, opened, row, uid, unblur)


def _found(opened: OpenedRun, uid: str, row: int | None) -> Detail:
    found = detail(opened, uid, row)
    if found is None:
        raise HTTPException(404, "this run has no such sample")
    return found


def _picture(request: Request, opened: OpenedRun, row: int, uid: str, unblur: bool) -> Response:
    found = thumbnail(opened, request.app.state.archives, row, uid, unblur)
    if found is None:
        raise HTTPException(404, "no picture is shown for this sample")
    # asked again each time: what was retracted since must not come from a cache
    headers = {"etag": f'"{found.etag}"', "cache-control": "private, no-cache"}
    if f'"{found.etag}"' in request.headers.get("if-none-match", ""):
        return Response(None, 304, headers)
    return Response(found.data, 200, headers, "image/webp")
