"""What every page uses: its entry in the navigation, the run that an address names, and how it is rendered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

import jinja2
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import HTMLResponse

from dashboards.text import clean, number, score, share, ticked
from dashboards.web.catalogue import Catalogue, Opened
from dashboards.web.query.filters import Filters, parse_filters
from dashboards.web.text import reveal
from pipelines.page_templates import page_templates
from pipelines.run.directory import Run


@dataclass(frozen=True)
class Page:
    """A page: its name in addresses, its title, its routes. `of_run`: it shows one run, and stands in its menu."""

    slug: str
    title: str
    router: APIRouter
    of_run: bool = True


def catalogue_of(request: Request) -> Catalogue:
    """Return the dashboard's runs."""
    found: Catalogue = request.app.state.catalogue
    return found


Runs = Annotated[Catalogue, Depends(catalogue_of)]


def _opened(run: str, catalogue: Runs) -> Opened:
    return catalogue.open(run)


def _directory(run: str, catalogue: Runs) -> Run:
    return catalogue.directory(run)


#: The run of an address with its index, and the bare directory of one that may not be decided yet.
OpenedRun = Annotated[Opened, Depends(_opened)]
RunDirectory = Annotated[Run, Depends(_directory)]

_Word = Annotated[str, Query(max_length=300)]


def _filters(
    request: Request,
    opened: OpenedRun,
    decision: _Word = "",
    reason: _Word = "",
    any_reason: _Word = "",
    q: _Word = "",
    domain: _Word = "",
    creator: _Word = "",
    licence: _Word = "",
    cluster: _Word = "",
    sort: _Word = "",
    order: _Word = "",
) -> Filters:
    """Return the filters of the address; the parameters stand here for the API's description alone.

    Further ones carry a name: `low.SCORE`, `high.SCORE`, `missing.SCORE`, `group.GROUP`.
    """
    return parse_filters(request.query_params.multi_items(), opened.columns)


#: The filters of samples that an address asks for.
Chosen = Annotated[Filters, Depends(_filters)]


def environment(pages: tuple[Page, ...]) -> jinja2.Environment:
    """Return the templates. All values are escaped; a name that is not there is an error."""
    found = page_templates("dashboards.web")
    found.filters.update(
        number=number,
        clean=clean,
        ticked=ticked,
        reveal=reveal,
        score=score,
        segment=lambda text: quote(text, safe=""),
    )
    found.globals.update(share=share, pages=[page for page in pages if page.of_run])
    return found


def render(request: Request, template: str, context: Mapping[str, Any], status: int = 200) -> Response:
    """Render a page; for htmx, only its content. `context` has `title`, and `run` (a name) on pages of a run."""
    names = {"run": "", "slug": "", "theme": _theme(request), "fragment": "hx-request" in request.headers}
    page: jinja2.Environment = request.app.state.templates
    body = page.get_template(template).render({**names, **context})
    return HTMLResponse(body, status, {"vary": "HX-Request, Cookie"})


def _theme(request: Request) -> str:
    wanted = request.query_params.get("theme", "")
    return wanted if wanted in ("light", "dark") else ""


def run_address(run: str, rest: str = "") -> str:
    """Return the address of a run's page."""
    return f"/runs/{quote(run, safe='')}/{rest}"
