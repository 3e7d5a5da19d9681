"""Search: is my work in here? By picture, address, creator, SHA-256; and by words, through the run's embeddings."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from dashboards.web.catalogue import Opened
from dashboards.web.pages.base import OpenedRun, Page, render
from dashboards.web.pages.search_upload import read_upload
from dashboards.web.query.search import (
    Answer,
    Searcher,
    answer_address,
    answer_creator,
    answer_picture,
    answer_sha256,
    answer_text,
    undecodable_words,
)
from filters.decoding import Undecodable

router = APIRouter()
PAGE = Page("search", "Search", router)

_Creator = Annotated[str, Query(max_length=500, description="name of a creator")]
_Url = Annotated[str, Query(max_length=4000, description="address of a picture, page or site; it is not fetched")]
_Digest = Annotated[str, Query(max_length=100, description="SHA-256 of a file, 64 hexadecimal digits")]
_Text = Annotated[str, Query(max_length=1000, description="words; the pictures nearest to them are shown")]

#: The bodies that an upload may have, for the API's description.
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["picture"],
                    "properties": {"picture": {"type": "string", "format": "binary"}},
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    },
    "responses": {
        "400": {"description": "no picture, or one that cannot be decoded"},
        "413": {"description": "too many bytes"},
        "415": {"description": "neither a form nor a picture"},
    },
}


@router.get("/runs/{run}/search", include_in_schema=False)
def search_page(
    request: Request, opened: OpenedRun, creator: _Creator = "", url: _Url = "", sha256: _Digest = "", text: _Text = ""
) -> Response:
    """Show the questions, and the answers to those that the address asks."""
    asked = {"creator": creator, "url": url, "sha256": sha256, "text": text}
    return _page(request, opened, _answers(request, opened, asked), asked)


@router.post("/runs/{run}/search", include_in_schema=False)
async def upload_page(request: Request, opened: OpenedRun) -> Response:
    """Show the answer for a picture that is sent; it is not stored."""
    found = await _by_picture(request, opened)
    return await run_in_threadpool(_page, request, opened, [found], {})


@router.get("/api/runs/{run}/search", tags=["search"])
def search_api(
    request: Request, opened: OpenedRun, creator: _Creator = "", url: _Url = "", sha256: _Digest = "", text: _Text = ""
) -> list[Answer]:
    """Answer whether work is in the run: one answer for each question that is asked."""
    return _answers(request, opened, {"creator": creator, "url": url, "sha256": sha256, "text": text})


@router.post("/api/runs/{run}/search", tags=["search"], openapi_extra=_BODY)
async def upload_api(request: Request, opened: OpenedRun) -> Answer:
    """Answer whether a picture is in the run: the same file, one that looks the same, or others that are alike."""
    return await _by_picture(request, opened)


async def _by_picture(request: Request, opened: Opened) -> Answer:
    data = await read_upload(request, request.app.state.settings.max_upload)
    try:
        return await run_in_threadpool(answer_picture, opened, searcher_of(request), data)
    except Undecodable as error:
        raise HTTPException(400, undecodable_words(error)) from None


def _answers(request: Request, opened: Opened, asked: dict[str, str]) -> list[Answer]:
    found = []
    if value := _said(asked["creator"]):
        found.append(answer_creator(opened, value))
    if value := _said(asked["url"]):
        found.append(answer_address(opened, value))
    if value := _said(asked["sha256"]):
        found.append(answer_sha256(opened, value))
    if value := _said(asked["text"]):
        found.append(answer_text(opened, searcher_of(request), value))
    return found


def _said(text: str) -> str:
    return text.replace("\0", "").strip()


def searcher_of(request: Request) -> Searcher:
    """Return what the dashboard's searches share; made by the first of them."""
    state = request.app.state
    if not hasattr(state, "searcher"):
        state.searcher = Searcher(state.settings.cache.resolve(), state.settings.threads)
    found: Searcher = state.searcher
    return found


def _page(request: Request, opened: Opened, answers: list[Answer], asked: dict[str, str]) -> Response:
    context = {
        "title": "Search",
        "run": opened.name,
        "slug": "search",
        "answers": answers,
        "asked": {"creator": "", "url": "", "sha256": "", "text": "", **asked},
        "total": sum(part.rows for part in opened.parts),
        "most": request.app.state.settings.max_upload // (1 << 20),
    }
    return render(request, "search.html", context)
