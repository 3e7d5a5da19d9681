"""Facts of a run beside its samples: is it whole, is it signed, do its counts agree, what made it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import yaml

from audit.counts import Counts
from dashboards.audit import bias_unsaid
from dashboards.balance import outcome_in_words, steps_in_words
from dashboards.queries import AppliedRule, Column, Survey
from dashboards.text import clean, number, score
from filters.errors import BadInput
from filters.rules import RULES
from pipelines.jobs.balance import shard_rows
from pipelines.jobs.decide import decide_fingerprint
from pipelines.jobs.finish import run_counts
from pipelines.run.directory import Run
from pipelines.run.manifest import SIGNATURE, content_hash, read_manifest
from pipelines.run.recipe_duplicates import Duplicates
from pipelines.run.signing import check_signature

#: Rows of a table of inputs, values of an allow-list, characters of the recipe: what a page can bear.
ROWS, VALUES, RECIPE_CHARACTERS = 20, 12, 20_000


@dataclass
class State:
    """How far the run is, and everything that is wrong with it."""

    finished: bool
    counts: Counts
    shards: int
    shipped: int
    content_hash: str = ""
    created_at: str = ""
    parent: str = ""
    signature: str = "unsigned"
    key_id: str = ""
    problems: list[str] = field(default_factory=list)


def check_decided(run: Run) -> None:
    """Raise `BadInput` where the ledger is not whole: a report of half a ledger would mislead."""
    parts = run.parts("samples")
    if not parts or run.parts("ledger") != parts or run.parts("scores") != parts:
        done = f"{len(run.parts('ledger'))} of {len(parts)} parts are decided"
        raise BadInput(f"{run.store.url}: no whole ledger yet ({done}); a report needs assay decide first")


def state(run: Run) -> State:
    """Read the manifest (if there is one), the signature and the counts, and compare them."""
    counts = run_counts(run)
    rows = list(shard_rows(run))
    found = State(run.finished(), counts, len(rows), sum(rows))
    if not counts.balanced:
        total = counts.kept + sum(counts.dropped.values())
        found.problems.append(
            f"Counts do not add up: {number(counts.samples)} samples came in, the ledger accounts for {number(total)}."
        )
    if found.finished:
        _add_manifest(run, found)
    elif run.marker("ledger", run.parts("ledger")[0]).fingerprint != decide_fingerprint(run):
        found.problems.append("The ledger is older than the recipe, the scores or the clusters: run assay decide.")
    return found


def _add_manifest(run: Run, found: State) -> None:
    body = read_manifest(run)
    content, counts = body["content"], found.counts
    found.content_hash = clean(body.get("content_hash"), 64)
    found.created_at = clean(body.get("provenance", {}).get("created_at"), 40)
    found.parent = clean(content.get("parent"), 64)
    found.signature, problems = check_signature(run, None)
    if run.store.exists(SIGNATURE) and found.signature == "valid":
        found.key_id = clean(json.loads(run.store.read(SIGNATURE)).get("key_id"), 16)
    found.problems += [f"The signature does not hold: {problem.detail}." for problem in problems]
    if content_hash(content) != body.get("content_hash"):
        found.problems.append("The manifest's content does not have the hash that it states.")
    if content["counts"] != {"samples": counts.samples, "kept": counts.kept, "dropped": counts.dropped}:
        found.problems.append("The manifest's counts are not those of the ledger.")
    if found.shipped != counts.kept:
        found.problems.append(
            f"{number(counts.kept)} samples are kept, but {number(found.shipped)} stand in the shards."
        )


def models(run: Run) -> list[tuple[str, str]]:
    """Return scorer and model id, from the first scores part's marker (the manifest proves that all agree)."""
    facts: dict[str, Any] = run.marker("scores", run.parts("scores")[0]).facts
    return [(clean(name), clean(ident, 200)) for name, ident in facts.get("models", {}).items()]


def inputs(run: Run) -> list[tuple[str, int, int]]:
    """Return name, rows and unreadable samples of the first input shards."""
    rows = []
    for part in run.parts("samples")[:ROWS]:
        marker = run.marker("samples", part)
        failed = sum(marker.facts.get("failures", {}).values())
        failed += sum(run.marker("scores", part).facts.get("failures", {}).values())
        rows.append((clean(marker.facts.get("shard")), marker.rows, failed))
    return rows


def recipe_text(run: Run) -> str:
    """Return the resolved recipe as YAML without the place of its input, which may name a machine."""
    text = yaml.safe_dump(run.recipe.content(), sort_keys=False, allow_unicode=True)
    return text if len(text) <= RECIPE_CHARACTERS else text[:RECIPE_CHARACTERS] + "\n# …"


@dataclass(frozen=True)
class RuleRow:
    """One row of the table of rules."""

    rule: AppliedRule
    tests: str
    bound: str
    origin: str
    failing: int


def rule_rows(rules: list[AppliedRule], survey: Survey) -> list[RuleRow]:
    """Return the table of rules; `failing` counts the samples that each rule alone would drop."""
    rows = []
    for rule in rules:
        failing = sum(survey.outside[rule.name, kind] for kind in ("low", "high", "list"))
        missing = survey.outside[rule.name, "missing"]
        dropped_too = missing if rule.allow is None else (0 if rule.missing == "keep" else missing)
        rows.append(RuleRow(rule, rule.unit, bound_text(rule), _origin(rule), failing + dropped_too))
    return rows


def bound_text(rule: AppliedRule) -> str:
    """Say what a rule lets pass."""
    if rule.allow is not None:
        shown = ", ".join(clean(value, 60) for value in rule.allow[:VALUES])
        more = f" and {len(rule.allow) - VALUES} more" if len(rule.allow) > VALUES else ""
        return f"{shown}{more}; missing: {'kept' if rule.missing == 'keep' else 'dropped'}"
    if rule.keep_top is not None and not rule.sides:
        return "nothing: no sample has a score"
    low, high = score(rule.low, 6), score(rule.high, 6)
    sides = [side for side, _ in rule.sides]
    if sides == ["low", "high"]:
        return f"{low} to {high}"
    return f"{low} or more" if sides == ["low"] else f"{high} or less"


def _origin(rule: AppliedRule) -> str:
    return f"the best {100 * rule.keep_top:g}% of the scores" if rule.keep_top is not None else ""


def choices(run: Run) -> list[tuple[str, str]]:
    """Return what the recipe says about duplicates, balance and shards, in words."""
    recipe = run.recipe
    rows = []
    if recipe.duplicates is None:
        rows.append(("Duplicates", "kept (but never the same uid twice)"))
    else:
        found = ["equal bytes (SHA-256)"] if recipe.duplicates.exact else []
        if recipe.duplicates.phash_distance is not None:
            confirm = recipe.duplicates.confirm_distance
            second = f", PDQ not over {confirm}" if confirm is not None and "pdq" in recipe.scorers else ""
            found.append(f"perceptual hashes within {recipe.duplicates.phash_distance} of 64 bits{second}")
        found += _further(recipe.duplicates, recipe.scorers)
        joined = " or ".join(found) or "nothing counts as a duplicate"
        colour = recipe.duplicates.colour_distance
        if colour is not None and "colours" in recipe.scorers:
            joined += f" (of hashes, where the colours agree within {colour})"
        rows.append(("Duplicates", f"{joined}; who stays: {', then '.join(recipe.duplicates.keep)}"))
    rows.append(("Balance", "; ".join(steps_in_words(recipe.balance)) or "groups as they are"))
    if came := outcome_in_words(run):
        rows.append(("What the balance came to", came))
    rows.append(("Similarity model", recipe.similarity.model))
    rows.append(("Scorers", ", ".join(recipe.scorers)))
    return rows


def _further(settings: Duplicates, scorers: list[str]) -> list[str]:
    """Return the methods beside bytes and pHash, in words."""
    found = []
    if settings.pdq_distance is not None and "pdq" in scorers:
        turns = " in any flip or turn" if settings.dihedral else ""
        found.append(f"PDQ hashes within {settings.pdq_distance} of 256 bits{turns}")
    if settings.cosine is not None:
        found.append(f"embeddings with a cosine of at least {settings.cosine:g}")
    return found


def unsaid(run: Run, columns: list[Column]) -> list[tuple[str, str]]:
    """Return what this report cannot say, each with the reason why."""
    has_nsfw = any(column.name == RULES["nsfw"].column for column in columns)
    nsfw = (
        "The classifier's recall was not measured on this data. A picture below the bound is one that the model did "
        "not flag, and no proof that it is harmless. Pictures are veiled here by the same model."
        if has_nsfw
        else "No NSFW scorer was run. Nothing in this dataset, and no picture on this page, was checked."
    )
    return [
        ("Opt-outs", _unread_rights(run)),
        ("Licences", "They stand as the input states them. Nobody checked that whoever stated one could grant it."),
        ("Bias", bias_unsaid(run)),
        ("NSFW", nsfw),
        ("Known harmful material", _harmful(run)),
        (
            "Fit of caption and picture",
            f"{clean(run.recipe.similarity.model)} ranks pairs; how well it does so on this data was not measured, "
            "and its bound means nothing for another model.",
        ),
        (
            "Near-duplicates",
            "Perceptual hashes miss crops, small rotations and redrawn copies, and two different simple pictures may "
            "share a hash (colour does not count); recall and precision were not measured on this data.",
        ),
        ("Evaluation sets", _against(run)),
        (
            "The galleries",
            "Each shows a dozen samples chosen by a fixed rule, one of each duplicate cluster first. They help to "
            "judge a bound; they are no estimate of its error rate.",
        ),
        ("File hashes", "This page does not hash the shards again. `assay manifest verify` does."),
    ]


def _unread_rights(run: Run) -> str:
    if run.recipe.input.kind == "url":
        return "Terms of use and other words for people were not judged, and pages only where `fetch.pages` says so."
    return (
        "The files' metadata and the records were read. The hosts that the pictures came from were not asked: no "
        "robots.txt, header, TDMRep or AIPREF speaks here. Words for people were not judged."
    )


def _harmful(run: Run) -> str:
    lists = len(run.recipe.rights.harmful)
    if not lists:
        return "Pictures were not compared with any hash list of known illegal or harmful material."
    return (
        f"Pictures were compared with {lists} hash list{'s' if lists != 1 else ''}. What no list holds was not found."
    )


def _against(run: Run) -> str:
    sets = len(run.recipe.duplicates.against) if run.recipe.duplicates else 0
    if not sets:
        return "The samples were not compared with any benchmark that a model may be tested on later."
    return (
        f"The samples were compared with {sets} other set{'s' if sets != 1 else ''}, by hashes; with no further one."
    )
