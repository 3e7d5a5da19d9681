"""A generated picture's way back as a graph: checkpoint, dataset version, shards, rules, registry, later opt-outs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from markupsafe import Markup

from dashboards.text import clean
from dashboards.web.catalogue import Opened
from dashboards.web.places import within
from filters.errors import AssayError
from filters.rules import RULES
from pipelines.run.trainings import trainings

if TYPE_CHECKING:
    from training.hallmark.claim import Claim
    from training.hallmark.verify import Report

#: Shards, inputs, rules and opt-outs that a page lists one by one.
_LISTED = 40


@dataclass(frozen=True)
class Node:
    """One station. `state` is known, missing or warned; `href` leads to its page here, empty where there is none."""

    kind: str
    label: str
    detail: str
    href: str
    state: str


@dataclass(frozen=True)
class Branch:
    """What a dataset version rests on, of one kind; `more` counts those that are not listed."""

    title: str
    nodes: list[Node]
    more: int


@dataclass(frozen=True)
class Lineage:
    """The way from a picture back: `chain` from the picture to the dataset, `branches` from there to the rules.

    `found` tells whether the way was found to its end; `missing` says what was not.
    """

    found: bool
    missing: list[str]
    chain: list[Node]
    branches: list[Branch]


def lineage(opened: Opened, root: Path, report: Report, folder: str) -> Lineage:
    """Return a verified picture's lineage in this run. Nothing outside `root` is read."""
    from training.picture_lineage import picture_lineage

    address = f"/runs/{quote(opened.name, safe='')}"
    picture = Node(
        "picture",
        clean(report.file, 60),
        f"credential {report.credential.verdict}",
        f"{address}/generated/picture?{urlencode({'folder': folder, 'name': report.file})}",
        "known" if report.ok else "warned",
    )
    if not opened.run.finished():
        return Lineage(False, ["this run is not finished, so it has no version to lead to"], [picture], [])
    try:
        if report.claim is not None and any(_leads_out(opened, root, one) for one in _datasets(report.claim)):
            return Lineage(False, ["a training of this run lies outside the folder that is served"], [picture], [])
        body = picture_lineage(report, opened.run)
    except AssayError as error:
        return Lineage(False, [_said(str(error), opened)], [picture], [])
    chain = [picture]
    if body["checkpoint"]:
        chain.append(_checkpoint(body["checkpoint"], address))
    if body["dataset"]:
        chain.append(_dataset(body["dataset"], address))
    branches = _branches(body["dataset"], address) if body["dataset"] and "name" in body["dataset"] else []
    branches += _opt_outs(body["opt_outs_since"], address)
    if body["parts"]:
        branches.append(
            Branch("Further models", [_checkpoint(one["checkpoint"], address) for one in body["parts"]], 0)
        )
    return Lineage(bool(body["found"]), [_said(words, opened) for words in body["missing"]], chain, branches)


def _datasets(claim: Claim) -> list[str]:
    return [claim.dataset, *(part.dataset for part in claim.parts)]


def _said(words: str, opened: Opened) -> str:
    return clean(words.replace(str(opened.place.path), opened.name), 300)


def _leads_out(opened: Opened, root: Path, dataset: str) -> bool:
    """Tell whether a log of what was seen would be looked for outside `root`: a record may name any folder."""
    for record in trainings(opened.run.store, {dataset}):
        kept = opened.place.path / "exposures" / f"{record.checkpoint}.parquet"
        if not kept.is_file() and not within(Path(record.path), root) and Path(record.path).exists():
            return True
    return False


def _checkpoint(body: dict[str, Any], address: str) -> Node:
    seen = body.get("samples_seen")
    known = body.get("path") is not None
    told = "this run has no record of it" if not known else "what it saw is not on record"
    if seen is not None:
        told = f"saw {seen:,} samples, {body['exposures']:,} times together"
    label = clean(str(body.get("model") or ""), 60) or clean(str(body["sha256"]), 16)
    words = f"{clean(str(body['sha256']), 64)[:16]}… · {told}"
    return Node("checkpoint", label, words, f"{address}/training" if known else "", "known" if known else "missing")


def _dataset(body: dict[str, Any], address: str) -> Node:
    digest = clean(str(body["sha256"]), 64)
    if "name" not in body:
        return Node("dataset", f"{digest[:16]}…", "no version of this run", "", "missing")
    kept = body["counts"]["kept"]
    state = "its present version" if body["current"] else "an earlier version"
    return Node(
        "dataset",
        clean(str(body["name"]), 60),
        f"{digest[:16]}… · {state}, {kept:,} samples",
        f"{address}/funnel",
        "known",
    )


def _branches(body: dict[str, Any], address: str) -> list[Branch]:
    samples = f"{address}/samples"
    shards = [
        Node(
            "shard", clean(f"{one['shard']}", 60), f"{one['rows']:,} samples · {str(one['sha256'])[:12]}…", "", "known"
        )
        for one in body["shards"]
    ]
    rules = [_rule(rule, samples) for rule in body["rules"]]
    dropped = body["counts"]["dropped"]
    counts = [
        Node(
            "reason",
            clean(code, 60),
            f"{count:,} samples dropped",
            f"{samples}?{urlencode({'reason': code})}",
            "known",
        )
        for code, count in sorted(dropped.items(), key=lambda item: -item[1])
    ]
    registry = body["registry"]
    stood = (
        Node(
            "registry",
            f"up to entry {registry['seq']}",
            f"{str(registry['hash'])[:16]}…",
            f"{address}/rights#registry",
            "known",
        )
        if registry
        else Node("registry", "none", "no opt-out registry was consulted", f"{address}/rights#registry", "warned")
    )
    inputs = [Node("input", clean(str(one["shard"]), 60), "", "", "known") for one in body["inputs"]]
    listed = (
        ("Rules of the recipe", rules),
        ("What was dropped", counts),
        ("Opt-out registry", [stood]),
        ("Shards", shards),
        ("Inputs", inputs),
    )
    return [Branch(title, nodes[:_LISTED], max(0, len(nodes) - _LISTED)) for title, nodes in listed if nodes]


def _rule(rule: dict[str, Any], samples: str) -> Node:
    name, reason = str(rule.get("name")), str(rule.get("reason"))
    bounds = [
        f"{key.replace('_', ' ')} {rule[key]:g}" for key in ("low", "high", "keep_top") if _is_number(rule.get(key))
    ]
    href = f"{samples}?{urlencode({'any_reason': reason})}" if reason else ""
    known = f" · {reason}" if name in RULES else ""
    return Node("rule", clean(name, 60), clean(", ".join(bounds) + known, 120), href, "known")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _opt_outs(found: list[dict[str, Any]], address: str) -> list[Branch]:
    nodes = []
    for one in found:
        seen = one["seen_by_checkpoint"]
        told = (
            "not known how many of them the checkpoint saw" if seen is None else f"the checkpoint saw {seen:,} of them"
        )
        label = f"{clean(str(one['at']), 10)}: {one['taken_out']:,} taken out"
        nodes.append(Node("opt-out", label, told, f"{address}/rights#retractions", "warned" if seen != 0 else "known"))
    return [Branch("Opt-outs since", nodes[:_LISTED], max(0, len(nodes) - _LISTED))] if nodes else []


_BOX, _GAP, _TALL, _ROW = 206, 38, 54, 66


def lineage_figure(found: Lineage) -> Markup:
    """Draw the graph: the chain from left to right, one box for each branch at its end. Boxes are links."""
    rows = max(1, len(found.branches))
    width = (len(found.chain) + bool(found.branches)) * (_BOX + _GAP) - _GAP + 4
    height = rows * _ROW
    middle = height / 2
    drawn = []
    for at, node in enumerate(found.chain):
        x = 2 + at * (_BOX + _GAP)
        if at:
            drawn.append(_edge(x - _GAP, middle, x, middle))
        drawn.append(_box(x, middle - _TALL / 2, node))
    start = 2 + (len(found.chain) - 1) * (_BOX + _GAP) + _BOX
    for at, branch in enumerate(found.branches):
        y = (at + 0.5) * _ROW
        drawn.append(_edge(start, middle, start + _GAP, y))
        count = len(branch.nodes) + branch.more
        first = branch.nodes[0]
        told = first.label if count == 1 else f"{count:,}: {first.label}, …"
        state = "warned" if any(node.state == "warned" for node in branch.nodes) else "known"
        node = Node(branch.title, told, first.detail if count == 1 else "", f"#branch-{at}", state)
        drawn.append(_box(start + _GAP, y - _TALL / 2, node))
    return Markup(
        '<svg class="lineage" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="group" '
        'aria-label="Lineage as a graph; the lists below say the same">{body}</svg>'
    ).format(w=width, h=height, body=Markup("").join(drawn))


def _edge(x1: float, y1: float, x2: float, y2: float) -> Markup:
    bend = (x1 + x2) / 2
    return Markup('<path class="edge" d="M{} {:.1f}C{} {:.1f} {} {:.1f} {} {:.1f}"/>').format(
        x1, y1, bend, y1, bend, y2, x2, y2
    )


def _box(x: float, y: float, node: Node) -> Markup:
    mark = {"known": "", "missing": "? ", "warned": "! "}[node.state]
    body = Markup(
        '<rect class="box {state}" x="{x}" y="{y:.1f}" width="{w}" height="{h}" rx="7"/>'
        '<text class="kind" x="{tx}" y="{y1:.1f}">{mark}{kind}</text>'
        '<text class="what" x="{tx}" y="{y2:.1f}">{label}</text>'
        "<title>{full}</title>"
    ).format(
        state=node.state,
        x=x,
        y=y,
        w=_BOX,
        h=_TALL,
        tx=x + 12,
        y1=y + 20,
        y2=y + 40,
        mark=mark,
        kind=node.kind,
        label=clean(node.label, 21),
        full=f"{node.kind}: {node.label}. {node.detail}",
    )
    return Markup('<a href="{}">{}</a>').format(node.href, body) if node.href else Markup("<g>{}</g>").format(body)
