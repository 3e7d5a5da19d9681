"""Rights: signals and their evidence, the registry, receipts, retractions, checkpoints that saw what left."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response

from dashboards.web.pages.base import OpenedRun, Page, render
from dashboards.web.query.rights import Rights, SignalPage, rights, signal_page
from dashboards.web.query.rights_evidence import Evidence, HostDocument, evidence, host_documents
from dashboards.web.query.rights_took import ReceiptText, receipt_text

router = APIRouter()
PAGE = Page("rights", "Rights", router)

_Digest = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
_Entry = Annotated[int, Path(ge=0, lt=1 << 48)]
_Channel = Annotated[str, Query(max_length=200)]
_Verdict = Annotated[str, Query(max_length=40)]
_After = Annotated[str, Query(max_length=40, description="`after` of the page before")]


@router.get("/runs/{run}/rights", include_in_schema=False)
def rights_page(request: Request, opened: OpenedRun) -> Response:
    """Show signals, registry, receipts, retractions and exposure."""
    documents, more = host_documents(opened)
    context = {
        "title": "Rights",
        "run": opened.name,
        "slug": "rights",
        "found": _rights(request, opened),
        "documents": documents,
        "more_documents": more,
    }
    return render(request, "rights.html", context)


@router.get("/runs/{run}/rights/signals", include_in_schema=False)
def signals_page(
    request: Request, opened: OpenedRun, channel: _Channel = "", verdict: _Verdict = "", after: _After = ""
) -> Response:
    """Show signals of one channel and kind; each leads to its sample and its evidence."""
    context = {
        "title": "Signals",
        "run": opened.name,
        "slug": "rights",
        "found": signal_page(opened, channel, verdict, after),
        "channel": channel,
        "verdict": verdict,
        "after": after,
    }
    return render(request, "rights_signals.html", context)


@router.get("/runs/{run}/rights/evidence/{sha256}", include_in_schema=False)
def evidence_page(request: Request, opened: OpenedRun, sha256: _Digest) -> Response:
    """Show one stored document, the deciding lines marked."""
    context = {"title": "Evidence", "run": opened.name, "slug": "rights", "found": _evidence(opened, sha256)}
    return render(request, "rights_evidence.html", context)


@router.get("/runs/{run}/rights/receipts/{entry}", include_in_schema=False)
def receipt_page(request: Request, opened: OpenedRun, entry: _Entry) -> Response:
    """Show one receipt in words."""
    context = {"title": f"Receipt {entry}", "run": opened.name, "slug": "rights", "found": _receipt(opened, entry)}
    return render(request, "rights_receipt.html", context)


@router.get("/api/runs/{run}/rights", tags=["rights"])
def rights_api(request: Request, opened: OpenedRun) -> Rights:
    """Count signals by channel and verdict; tell registry, receipts, retractions and exposure."""
    return _rights(request, opened)


@router.get("/api/runs/{run}/rights/signals", tags=["rights"])
def signals_api(opened: OpenedRun, channel: _Channel = "", verdict: _Verdict = "", after: _After = "") -> SignalPage:
    """List signals of a channel and verdict, a page at a time."""
    return signal_page(opened, channel, verdict, after)


@router.get("/api/runs/{run}/rights/documents", tags=["rights"])
def documents_api(opened: OpenedRun) -> list[HostDocument]:
    """List the policy documents that hosts last answered with."""
    return host_documents(opened)[0]


@router.get("/api/runs/{run}/rights/evidence/{sha256}", tags=["rights"])
def evidence_api(opened: OpenedRun, sha256: _Digest) -> Evidence:
    """Return one stored document by lines, those marked that a signal rests on."""
    return _evidence(opened, sha256)


@router.get("/api/runs/{run}/rights/receipts/{entry}", tags=["rights"])
def receipt_api(opened: OpenedRun, entry: _Entry) -> ReceiptText:
    """Return one receipt in words, and whether its signature holds."""
    return _receipt(opened, entry)


def _rights(request: Request, opened: OpenedRun) -> Rights:
    return rights(opened, request.app.state.settings.root.resolve())


def _evidence(opened: OpenedRun, digest: str) -> Evidence:
    found = evidence(opened, digest)
    if found is None:
        raise HTTPException(404, "this run has no such evidence")
    return found


def _receipt(opened: OpenedRun, entry: int) -> ReceiptText:
    found = receipt_text(opened, entry)
    if found is None:
        raise HTTPException(404, "this run has no such receipt")
    return found
