"""The dashboard's application: pages, API, files, and how errors are told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import duckdb
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from dashboards.web.catalogue import Catalogue, NotReady, UnknownRun, Unreadable
from dashboards.web.pages import load_pages
from dashboards.web.pages.base import environment, render
from dashboards.web.query.filters import BadFilter
from dashboards.web.query.pictures import Archives
from dashboards.web.security import Guard
from dashboards.web.settings import Settings
from filters import __version__
from filters.errors import AssayError

_STATIC = Path(__file__).parent / "static"


class Problem(BaseModel):
    """Why a request was not answered, in one line."""

    detail: str


#: What the API answers where it cannot answer; for its description.
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "the address asks for what the run does not have"},
    404: {"model": Problem, "description": "no such run, or nothing of that name in it"},
    409: {"model": Problem, "description": "the run cannot be shown"},
    422: {"model": Problem, "description": "a parameter is not of its kind"},
    503: {"model": Problem, "description": "the run is being indexed, or changed meanwhile; ask again"},
    # said before the application is reached, as plain text (security.py)
    401: {"description": "the token is missing or wrong"},
    414: {"description": "the query is too long"},
    421: {"description": "the Host header does not name this machine"},
}


def create_app(settings: Settings) -> FastAPI:
    """Return the application over the runs below `settings.root`. Raises `BadInput` where no index can be kept."""
    pages = load_pages()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        app.state.catalogue.close()
        if hasattr(app.state, "searcher"):
            app.state.searcher.apart.close()

    app = FastAPI(
        title="Assay dashboard",
        version=__version__,
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=lifespan,
    )
    app.state.settings = settings
    app.state.catalogue = Catalogue(settings)
    app.state.archives = Archives()
    app.state.templates = environment(pages)
    for page in pages:
        app.include_router(page.router, responses=_PROBLEMS)
    app.mount("/static", StaticFiles(directory=_STATIC), "static")
    app.add_middleware(Guard, settings=settings)
    _tell_errors(app)
    return app


def _tell_errors(app: FastAPI) -> None:
    """Tell errors as JSON under /api and as a page elsewhere; none shows a path of this machine or a traceback."""

    @app.exception_handler(UnknownRun)
    def unknown(request: Request, _: UnknownRun) -> Response:
        return _tell(request, 404, "There is no such run here.")

    @app.exception_handler(BadFilter)
    def bad_filter(request: Request, error: BadFilter) -> Response:
        return _tell(request, 400, str(error))

    @app.exception_handler(Unreadable)
    def unreadable(request: Request, error: Unreadable) -> Response:
        return _tell(request, 409, f"This run cannot be shown: {error}")

    @app.exception_handler(AssayError)
    def bad_run(request: Request, error: AssayError) -> Response:
        root = str(request.app.state.settings.root.resolve())
        return _tell(request, 409, f"This run cannot be shown: {str(error).replace(root, 'RUNS')}")

    @app.exception_handler(duckdb.Error)
    def changed(request: Request, _: duckdb.Error) -> Response:
        return _tell(request, 503, "The run changed while it was read. Ask again.", {"retry-after": "2"})

    @app.exception_handler(NotReady)
    def not_ready(request: Request, error: NotReady) -> Response:
        if _is_api(request):
            return _tell(request, 503, "The run is being indexed. Ask again.", {"retry-after": "2"})
        return render(request, "preparing.html", {"title": "Preparing", "done": error.done, "total": error.total}, 202)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(item) for item in first["loc"][1:])
        return _tell(request, 422, f"{place}: {first['msg']}")

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> Response:
        words = "There is no such page." if error.detail == "Not Found" else str(error.detail)
        return _tell(request, error.status_code, words, dict(error.headers or {}))


def _is_api(request: Request) -> bool:
    return request.url.path.startswith("/api")


def _tell(request: Request, status: int, words: str, headers: dict[str, str] | None = None) -> Response:
    if _is_api(request) or request.url.path.endswith(".webp"):
        return JSONResponse({"detail": words}, status, headers)
    answer = render(request, "error.html", {"title": "Not shown", "words": words}, status)
    answer.headers.update(headers or {})
    return answer
