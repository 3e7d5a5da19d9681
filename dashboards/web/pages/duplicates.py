"""Duplicates: clusters as galleries, who stays and why, and what a smaller distance would leave."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response

from dashboards.web.pages.base import OpenedRun, Page, render
from dashboards.web.query.cluster_whatif import ClusterWhatif, cluster_whatif
from dashboards.web.query.clusters import ClusterPage, OneCluster, cluster_page, edges_file, one_cluster

router = APIRouter()
PAGE = Page("duplicates", "Duplicates", router)

_After = Annotated[str, Query(max_length=40, description="`after` of the page before")]
_Sort = Annotated[str, Query(max_length=10, description="size, or gone: those first of which most went")]
_Bits = Annotated[float | None, Query(ge=0, le=256, description="another bound, differing bits")]
_Cosine = Annotated[float | None, Query(ge=0, le=1, description="another bound, cosine")]
_Cluster = Annotated[int, Path(ge=0, lt=1 << 48)]


@router.get("/runs/{run}/duplicates", include_in_schema=False)
def duplicates_page(
    request: Request,
    opened: OpenedRun,
    sort: _Sort = "gone",
    after: _After = "",
    phash: _Bits = None,
    pdq: _Bits = None,
    cosine: _Cosine = None,
) -> Response:
    """Show one page of clusters."""
    asked = _asked(phash, pdq, cosine)
    searched = opened.run.recipe.duplicates is not None and edges_file(opened) is not None
    state = [(name, f"{value:g}") for name, value in asked.items()]
    context = {
        "title": "Duplicates",
        "run": opened.name,
        "slug": "duplicates",
        "found": cluster_page(opened, sort, after),
        "whatif": cluster_whatif(opened, asked) if searched else None,
        "asked": asked,
        "sort": sort,
        "after": after,
        "state": urlencode(state),
    }
    return render(request, "duplicates.html", context)


@router.get("/runs/{run}/duplicates/{cluster}", include_in_schema=False)
def cluster_html(request: Request, opened: OpenedRun, cluster: _Cluster, after: _After = "") -> Response:
    """Show one cluster with all its members and pairs."""
    found = _one(opened, cluster, after)
    places = {pair_end for pair in found.pairs for pair_end in (pair.a, pair.b)}
    uids = dict(
        opened.reader.rows(
            f"SELECT row, replace(uid::VARCHAR, '-', '') FROM samples WHERE row IN ({', '.join(map(str, places))})"
        )
        if places
        else []
    )
    context = {
        "title": f"Cluster {cluster}",
        "run": opened.name,
        "slug": "duplicates",
        "found": found,
        "uids": uids,
        "after": after,
    }
    return render(request, "cluster.html", context)


@router.get("/api/runs/{run}/duplicates", tags=["duplicates"])
def duplicates_api(opened: OpenedRun, sort: _Sort = "gone", after: _After = "") -> ClusterPage:
    """Return one page of duplicate clusters with some members each."""
    return cluster_page(opened, sort, after)


@router.get("/api/runs/{run}/duplicates/whatif", tags=["duplicates"])
def whatif_api(opened: OpenedRun, phash: _Bits = None, pdq: _Bits = None, cosine: _Cosine = None) -> ClusterWhatif:
    """Count clusters by smaller distances, from the stored pairs."""
    return cluster_whatif(opened, _asked(phash, pdq, cosine))


@router.get("/api/runs/{run}/duplicates/{cluster}", tags=["duplicates"])
def cluster_api(opened: OpenedRun, cluster: _Cluster, after: _After = "") -> OneCluster:
    """Return one cluster: members, who stays and why, pairs with method and distance."""
    return _one(opened, cluster, after)


def _one(opened: OpenedRun, cluster: int, after: str) -> OneCluster:
    found = one_cluster(opened, cluster, after)
    if found is None:
        raise HTTPException(404, "this run has no such cluster")
    return found


def _asked(phash: float | None, pdq: float | None, cosine: float | None) -> dict[str, float]:
    values = {"phash": phash, "pdq": pdq, "cosine": cosine}
    return {name: value for name, value in values.items() if value is not None}
