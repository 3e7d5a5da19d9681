"""Training: the trainings on a run, their curves, what they saw, their evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response

from dashboards.web.catalogue import Opened
from dashboards.web.pages.base import OpenedRun, Page, render
from dashboards.web.query.filters import BadFilter
from dashboards.web.query.training import ModelRow, TrainingFound, models, training
from dashboards.web.query.training_evaluation import EvaluationFound, evaluation
from dashboards.web.query.training_figures import curve_figure, level_figure, seen_figure
from dashboards.web.query.training_places import Folder

router = APIRouter()
PAGE = Page("training", "Training", router)

_Model = Annotated[str, Query(max_length=400, description="a training of the list; empty for its first")]
_Stage = Annotated[str, Query(max_length=100, description="a stage of metrics.csv; empty for the last")]
_Evaluation = Annotated[str, Query(max_length=200, description="an evaluation of the training; empty for the last")]


@router.get("/runs/{run}/training", include_in_schema=False)
def training_page(
    request: Request,
    opened: OpenedRun,
    model: _Model = "",
    stage: _Stage = "",
    evaluation_name: Annotated[str, Query(alias="evaluation", max_length=200)] = "",
) -> Response:
    """Show one training; while its metrics grow, the page asks again every five seconds."""
    listed = models(opened, _root(request))
    context: dict[str, Any] = {
        "title": "Training",
        "run": opened.name,
        "slug": "training",
        "rows": [row for _, row in listed],
        "found": None,
        "evaluation": None,
        "curve_figure": curve_figure,
        "level_figure": level_figure,
        "seen_figure": seen_figure,
    }
    if listed:
        folder, row = _chosen(listed, model)
        found = training(opened, _root(request), folder, row, stage)
        context["found"] = found
        context["evaluation"] = _evaluated(opened, folder, found.evaluations, evaluation_name)
    return render(request, "training.html", context)


@router.get("/api/runs/{run}/training", tags=["training"])
def trainings_api(request: Request, opened: OpenedRun) -> list[ModelRow]:
    """List the trainings below the folder that is served, those on this run first."""
    return [row for _, row in models(opened, _root(request))]


@router.get("/api/runs/{run}/training/curves", tags=["training"])
def training_api(request: Request, opened: OpenedRun, model: _Model = "", stage: _Stage = "") -> TrainingFound:
    """Return one training's curves and what it has seen."""
    folder, row = _one(request, opened, model)
    return training(opened, _root(request), folder, row, stage)


@router.get("/api/runs/{run}/training/evaluation", tags=["training"])
def evaluation_api(request: Request, opened: OpenedRun, model: _Model = "", name: _Evaluation = "") -> EvaluationFound:
    """Return one evaluation of a training."""
    folder, row = _one(request, opened, model)
    found = _evaluated(opened, folder, training(opened, _root(request), folder, row).evaluations, name)
    if found is None:
        raise HTTPException(404, "this training was not evaluated")
    return found


def _root(request: Request) -> Path:
    root: Path = request.app.state.settings.root.resolve()
    return root


def _one(request: Request, opened: Opened, model: str) -> tuple[Folder, ModelRow]:
    listed = models(opened, _root(request))
    if not listed:
        raise HTTPException(404, "no training lies in the folder that is served")
    return _chosen(listed, model)


def _chosen(listed: list[tuple[Folder, ModelRow]], model: str) -> tuple[Folder, ModelRow]:
    found = next((item for item in listed if item[0].name == model), None) if model else listed[0]
    if found is None:
        raise BadFilter("there is no such training here")
    return found


def _evaluated(opened: Opened, folder: Folder, names: list[str], name: str) -> EvaluationFound | None:
    if name and name not in names:
        raise BadFilter("this training has no such evaluation")
    return evaluation(opened, folder, name or names[-1]) if names else None
