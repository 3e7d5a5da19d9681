"""Generated: pictures that models made, what their credentials say, and their lineage from picture to rule."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Query, Request, Response

from dashboards.web.catalogue import Opened
from dashboards.web.pages.base import OpenedRun, Page, render
from dashboards.web.query.filters import BadFilter
from dashboards.web.query.generated import (
    MEDIA,
    PictureFolder,
    PicturePage,
    Verdict,
    Verdicts,
    folders,
    picture_bytes,
    picture_page,
    refusals,
    thumbnail_of,
)
from dashboards.web.query.lineage import Lineage, lineage, lineage_figure
from dashboards.web.query.training import run_trainings
from dashboards.web.query.training_places import Folder
from training.hallmark.verify import Report

router = APIRouter()
PAGE = Page("generated", "Generated", router)

_FolderName = Annotated[str, Query(max_length=450, description="a folder of the list; empty for its first")]
_Name = Annotated[str, Query(max_length=250, description="a picture's file name in the folder")]


@router.get("/runs/{run}/generated", include_in_schema=False)
def generated_page(request: Request, opened: OpenedRun, folder: _FolderName = "", after: _Name = "") -> Response:
    """Show a page of pictures at once; their credentials are verified by requests of their own."""
    listed = _folders(request, opened)
    context: dict[str, Any] = {
        "title": "Generated",
        "run": opened.name,
        "slug": "generated",
        "rows": [row for _, row in listed],
        "chosen": None,
        "found": None,
        "refused": [],
        "after": after,
    }
    if listed:
        place, row = _chosen(listed, folder)
        context |= {"chosen": row, "found": picture_page(place, after), "refused": refusals(place)}
    return render(request, "generated.html", context)


@router.get("/runs/{run}/generated/verdict", include_in_schema=False)
def verdict_fragment(request: Request, opened: OpenedRun, folder: _FolderName, name: _Name) -> Response:
    """Return the verdict on one picture as a piece of the page."""
    _, _, verdict, _ = _verified(request, opened, folder, name)
    return render(request, "generated_verdict.html", {"run": opened.name, "verdict": verdict})


@router.get("/runs/{run}/generated/picture", include_in_schema=False)
def generated_picture(request: Request, opened: OpenedRun, folder: _FolderName, name: _Name) -> Response:
    """Show one picture: credential, register, and the way back to shards, rules and registry."""
    place, row, verdict, report = _verified(request, opened, folder, name)
    found = lineage(opened, _root(request), report, place.name)
    context = {
        "title": "Generated picture",
        "run": opened.name,
        "slug": "generated",
        "row": row,
        "verdict": verdict,
        "lineage": found,
        "figure": lineage_figure(found),
    }
    return render(request, "generated_picture.html", context)


@router.get("/runs/{run}/generated/thumb.webp", include_in_schema=False)
def generated_thumbnail(request: Request, opened: OpenedRun, folder: _FolderName, name: _Name) -> Response:
    """Return one picture made small, without its metadata."""
    data = thumbnail_of(_bytes(request, opened, folder, name))
    if data is None:
        raise HTTPException(404, "this picture cannot be decoded")
    return Response(data, 200, {"cache-control": "private, max-age=60"}, "image/webp")


@router.get("/runs/{run}/generated/file", include_in_schema=False)
def generated_file(request: Request, opened: OpenedRun, folder: _FolderName, name: _Name) -> Response:
    """Return one picture's file as it is, credential and all, to be saved."""
    data = _bytes(request, opened, folder, name)
    headers = {"content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}
    return Response(data, 200, headers, MEDIA[Path(name).suffix.lower()])


@router.get("/api/runs/{run}/generated", tags=["generated"])
def folders_api(request: Request, opened: OpenedRun) -> list[PictureFolder]:
    """List the folders of generated pictures below the folder that is served."""
    return [row for _, row in _folders(request, opened)]


@router.get("/api/runs/{run}/generated/pictures", tags=["generated"])
def pictures_api(request: Request, opened: OpenedRun, folder: _FolderName = "", after: _Name = "") -> PicturePage:
    """List the pictures of one folder, a page at a time."""
    return picture_page(_place(request, opened, folder)[0], after)


@router.get("/api/runs/{run}/generated/verdict", tags=["generated"])
def verdict_api(request: Request, opened: OpenedRun, folder: _FolderName, name: _Name) -> Verdict:
    """Verify one picture's credential."""
    return _verified(request, opened, folder, name)[2]


@router.get("/api/runs/{run}/generated/lineage", tags=["generated"])
def lineage_api(request: Request, opened: OpenedRun, folder: _FolderName, name: _Name) -> Lineage:
    """Return one picture's way back, from the picture to the rules."""
    place, _, _, report = _verified(request, opened, folder, name)
    return lineage(opened, _root(request), report, place.name)


def _root(request: Request) -> Path:
    root: Path = request.app.state.settings.root.resolve()
    return root


def _folders(request: Request, opened: Opened) -> list[tuple[Folder, PictureFolder]]:
    known = {record.checkpoint for record in run_trainings(opened)}
    return folders(opened, _root(request), known)


def _chosen(listed: list[tuple[Folder, PictureFolder]], name: str) -> tuple[Folder, PictureFolder]:
    found = next((item for item in listed if item[0].name == name), None) if name else listed[0]
    if found is None:
        raise BadFilter("there is no such folder of pictures here")
    return found


def _place(request: Request, opened: Opened, name: str) -> tuple[Folder, PictureFolder]:
    listed = _folders(request, opened)
    if not listed:
        raise HTTPException(404, "no generated pictures lie in the folder that is served")
    return _chosen(listed, name)


def _bytes(request: Request, opened: Opened, folder: str, name: str) -> bytes:
    data = picture_bytes(_place(request, opened, folder)[0], name)
    if data is None:
        raise HTTPException(404, "there is no such picture here")
    return data


def _verified(
    request: Request, opened: Opened, folder: str, name: str
) -> tuple[Folder, PictureFolder, Verdict, Report]:
    place, row = _place(request, opened, folder)
    found = _verdicts(request).of(opened, place, name)
    if found is None:
        raise HTTPException(404, "there is no such picture here")
    return place, row, *found


def _verdicts(request: Request) -> Verdicts:
    """Return the application's verdicts; two first requests at once cost one verification more."""
    state = request.app.state
    if not hasattr(state, "verdicts"):
        state.verdicts = Verdicts(state.settings.trust)
    found: Verdicts = state.verdicts
    return found
