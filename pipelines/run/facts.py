"""Gathers the facts that documents state, from a finished run and from nothing else.

The manifest is believed only where its content has the hash that it states. Dates are those that the run recorded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from audit.compliance import Problem
from audit.counts import count
from audit.documents.facts import (
    Counts,
    Dataset,
    Fact,
    Facts,
    Processing,
    Retraction,
    Rights,
    Shard,
    Source,
)
from audit.documents.provider import Provider
from audit.documents.text import clean
from filters.errors import BadInput
from filters.optout.agents import AGENTS_DATE, obeyed
from filters.reasons import BY_CODE
from filters.rules import RULES
from pipelines.retraction.versions import WAIVERS, retraction_records
from pipelines.run import facts_rows as rows
from pipelines.run.directory import MANIFEST, REGISTRY, Run
from pipelines.run.facts_audit import audit_fact, gate_facts
from pipelines.run.manifest import SIGNATURE, content_hash, read_manifest


def gather(
    run: Run,
    agent: str,
    problems: tuple[Problem, ...] = (),
    provider: Provider | None = None,
    provider_place: str = "recipe",
) -> Facts:
    """Return the facts of a finished run.

    `agent` is the user agent of its downloads; `problems` are what `assay check` found; `provider` is the provider's
    section where it does not come from the recipe. Raises `BadInput` for an unfinished run or a changed manifest.
    """
    body = trusted_manifest(run)
    content = body["content"]
    try:
        return _gathered(run, body, agent, problems, provider, provider_place)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        version = content.get("versions", {}).get("assay", "unknown") if isinstance(content, dict) else "unknown"
        raise BadInput(
            f"{run.store.url}/{MANIFEST}: lacks what a document needs ({type(error).__name__}: {clean(error, 100)}); "
            f"written by Assay {clean(version, 20)}"
        ) from None


def trusted_manifest(run: Run) -> dict[str, Any]:
    """Return the manifest, refusing one whose content does not have the hash that it states. Raises `BadInput`."""
    body = read_manifest(run)
    if content_hash(body["content"]) != body.get("content_hash"):
        raise BadInput(f"{run.store.url}/{MANIFEST}: its content does not have the hash that it states; not exported")
    return body


def _gathered(
    run: Run,
    body: dict[str, Any],
    agent: str,
    problems: tuple[Problem, ...],
    provider: Provider | None,
    provider_place: str,
) -> Facts:
    content, recipe = body["content"], body["content"]["recipe"]
    material, domains = rows.kept_rows(run)
    in_recipe = run.recipe.provider
    crawl = rows.crawl(run, recipe, agent)
    kind = recipe["input"]["kind"]
    blank = Facts()
    return Facts(
        dataset=Fact(_dataset(run, body), "manifest"),
        counts=Fact(_counts(run), "ledger"),
        material=Fact(material, "samples, scores and ledger"),
        domains=Fact(domains, "samples and ledger"),
        source=Fact(Source(kind, tuple((i["shard"], i["rows"], i["sha256"]) for i in content["inputs"])), "manifest"),
        crawl=Fact(crawl, "downloads and recipe") if crawl else blank.crawl,
        rights=Fact(_rights(run, recipe), "recipe, signals, matches, registry, retractions"),
        processing=Fact(_processing(content), "manifest: rules, models, recipe"),
        shards=Fact(_shards(body), "manifest"),
        audit=audit_fact(run, body),
        gates=Fact(gate_facts(content), "manifest: gates"),
        problems=problems,
        provider=provider or (in_recipe.facts() if in_recipe else Provider()),
        provider_place=provider_place,
    )


def _dataset(run: Run, body: dict[str, Any]) -> Dataset:
    content, made = body["content"], body["provenance"]
    packages = {name: version for name, version in made.get("packages", {}).items() if version}
    return Dataset(
        content["name"],
        body["content_hash"],
        content["parent"],
        made["created_at"],
        content["versions"]["assay"],
        made.get("commit"),
        packages,
        run.store.exists(SIGNATURE),
        f"1.{len(retraction_records(run.store))}.{len(run.store.list(WAIVERS))}+{body['content_hash'][:12]}",
    )


def _counts(run: Run) -> Counts:
    """Count the ledger again; the manifest's own counts are not believed where the ledger can be asked."""
    found = count(run.tables("ledger", ["decision", "primary_reason"]), run.rows("samples"))
    meanings = {code: BY_CODE[code].meaning.replace("`", "") for code in found.dropped}
    return Counts(found.samples, found.kept, found.dropped, meanings)


def _shards(body: dict[str, Any]) -> tuple[Shard, ...]:
    files = body["files"]
    found = []
    for shard in body["content"]["shards"]:
        tar, table = f"{shard['shard']}.tar", f"{shard['shard']}.parquet"
        sizes = files[tar]["size"], files[table]["size"]
        found.append(Shard(tar, shard["rows"], shard["sha256"], sizes[0], table, files[table]["sha256"], sizes[1]))
    return tuple(found)


def _rights(run: Run, recipe: dict[str, Any]) -> Rights:
    rights = recipe["rights"]
    retractions = tuple(
        Retraction(str(r["at"]), len(r.get("entries", [])), len(r.get("left", [])), len(r["came"]))
        for r in retraction_records(run.store)
    )
    tokens = obeyed(tuple(rights["agents"]))
    registry = _registry(run)
    return Rights(
        _policy(rights, recipe["input"]["kind"] == "url", registry is not None),
        tokens,
        AGENTS_DATE,
        rows.channels(run),
        registry,
        rows.matched(run),
        retractions,
        len(run.recipe.rights.harmful),
    )


def _policy(rights: Mapping[str, Any], asks_hosts: bool, has_registry: bool) -> tuple[str, ...]:
    """Say in words what the recipe makes of statements, of silence, and of what cannot be read."""
    hosts = ", from the policies of each host and from the header fields of its answer" if asks_hosts else ""
    silence = (
        "A work on which no statement was found may be used (fail open)."
        if rights["default"] == "fail_open"
        else "A work on which no permission was found is left out (fail closed)."
    )
    unreadable = (
        "A statement that is there and cannot be read counts as a denial."
        if rights["unreadable"] == "deny"
        else "A statement that cannot be read counts as none."
    )
    captions = " and samples whose caption names that creator" if rights["captions"] == "drop" else ""
    named = (
        f"Whoever stands in the opt-out registry is left out: addresses, domains, creators{captions}, pictures by "
        "hash and by likeness."
    )
    return (
        f"Reservations are read from each file's embedded metadata, from each record's fields{hosts}. One denial on "
        "any channel leaves the work out.",
        silence,
        unreadable,
        *((named,) if has_registry else ()),
    )


def _registry(run: Run) -> tuple[int, str, str] | None:
    if not run.store.exists(REGISTRY):
        return None
    state = json.loads(run.store.read(REGISTRY))
    return int(state["seq"]), str(state["hash"]), str(state["at"])


def _processing(content: dict[str, Any]) -> Processing:
    recipe = content["recipe"]
    return Processing(
        dict(content["models"]),
        tuple(_rule(rule) for rule in content["rules"]),
        flat(recipe["duplicates"]) if recipe["duplicates"] else "kept, except the same sample twice",
        flat(recipe["balance"]) if recipe["balance"] else "none",
    )


def _rule(rule: Mapping[str, Any]) -> str:
    """Say one rule in words, with its reason code."""
    name, column, reason = rule["name"], rule["column"], rule["reason"]
    if "allow" in rule:
        return f"{name}: the {column} is one of {', '.join(rule['allow'])}; else {reason}"
    measured = RULES[name].unit if name in RULES else column
    bounds = [f"at least {rule['low']:g}"] if rule.get("low") is not None else []
    bounds += [f"at most {rule['high']:g}"] if rule.get("high") is not None else []
    return f"{name}: {' and '.join(bounds) or 'as the recipe says'} ({measured}); else {reason}"


def flat(section: object) -> str:
    """Return settings as `key value` pairs, those that are switched off left out."""
    if isinstance(section, Mapping):
        pairs = [f"{key} {flat(value)}" for key, value in section.items() if value not in (None, [], {}, "", False)]
        return "; ".join(pairs)
    if isinstance(section, list):
        return ", ".join(flat(item) for item in section)
    return "yes" if section is True else str(section)
