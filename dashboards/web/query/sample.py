"""One sample: every score, every rule with its bounds, its signals, its cluster, and its way through the job."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any

from dashboards.cards import difference
from dashboards.queries import AppliedRule, applied_rules
from dashboards.text import score as score_text
from dashboards.web.catalogue import Opened
from dashboards.web.query.samples import codes, picture_sql
from dashboards.web.query.signal_columns import SIGNAL
from filters.reasons import BY_CODE, Stage

#: Signals, matches, members of a cluster that one page shows.
_MOST = 100


@dataclass(frozen=True)
class Score:
    """One score column of the sample; `shown` is the value for people, None where there is none."""

    column: str
    scorer: str
    doc: str
    shown: str | None
    value: float | None


@dataclass(frozen=True)
class Verdict:
    """What one rule says: `state` is pass, fail, missing or unread (the picture could not be judged)."""

    rule: str
    column: str
    value: str
    bounds: str
    reason: str
    state: str


@dataclass(frozen=True)
class Signal:
    """One rights statement found for the sample, or one match with the registry."""

    channel: str
    verdict: str
    source: str
    raw: str
    spec: str
    detail: str


@dataclass(frozen=True)
class Member:
    """A sample of the same cluster."""

    uid: str
    row: int
    kept: bool
    reason: str
    picture: str


@dataclass(frozen=True)
class Stop:
    """One station of the way: passed, stopped, skipped, or also (a reason of it applies, another stood before)."""

    stage: str
    state: str
    words: str


@dataclass(frozen=True)
class Detail:
    """All that is known of one sample."""

    uid: str
    row: int
    part: int
    kept: bool
    reason: str
    reasons: list[str]
    meaning: str
    remedy: str
    picture: str
    facts: list[tuple[str, str]]
    caption: str
    metadata: str
    scores: list[Score]
    rules: list[Verdict]
    signals: list[Signal]
    groups: list[tuple[str, list[str]]]
    cluster: int | None
    duplicate: str
    duplicate_of: str
    members: list[Member]
    way: list[Stop]
    twins: list[int]


def rows_of(opened: Opened, uid: str, row: int | None = None) -> list[int]:
    """Return positions at which the uid stands in the run, the first ones and `row` if it is one of them; sorted."""
    if len(uid) != 32 or not all(c in "0123456789abcdef" for c in uid):
        return []
    found = opened.reader.rows(
        f"SELECT row FROM samples WHERE uid = ?::UUID ORDER BY row <> ?, row LIMIT {_MOST}",
        [uid, -1 if row is None else row],
    )
    return sorted(int(place) for (place,) in found)


def detail(opened: Opened, uid: str, row: int | None = None) -> Detail | None:
    """Return all of one sample; None where the run has none of that uid (at that position)."""
    rows = rows_of(opened, uid, row)
    place = row if row is not None else (rows[0] if rows else None)
    if place is None or place not in rows:
        return None
    samples, scores, ledger, groups = (_row(opened, name, place) for name in ("samples", "scores", "ledger", "groups"))
    about = opened.reader.dicts(
        f"SELECT mask, {picture_sql(opened)} AS picture FROM samples WHERE rowid = ?", [place]
    )[0]
    reasons = codes(int(about["mask"]))
    failed = samples.get("failure") or scores.get("failure")
    rules = [_verdict(rule, {**samples, **scores}, failed) for rule in applied_rules(opened.run)]
    reason = ledger.get("primary_reason") or ""
    signals = [*_signals(opened, uid, place), *_matches(opened, uid, place)]
    cluster = ledger.get("cluster")
    return Detail(
        uid=uid,
        row=place,
        part=opened.part_of(place).index,
        kept=ledger.get("decision") == "kept",
        reason=reason,
        reasons=reasons,
        meaning=BY_CODE[reason].meaning if reason else "",
        remedy=BY_CODE[reason].remedy if reason else "",
        picture=about["picture"],
        facts=_facts(samples, scores, ledger),
        caption=samples.get("caption") or "",
        metadata=samples.get("metadata") or "",
        scores=_scores(opened, scores),
        rules=rules,
        signals=signals,
        groups=[(name, list(values)) for name, values in groups.items() if name != "uid" and values],
        cluster=cluster,
        duplicate=difference(ledger) if ledger.get("duplicate_of") else "",
        duplicate_of=ledger.get("duplicate_of") or "",
        members=_members(opened, cluster),
        way=_way(reasons, reason, ledger, opened.run.recipe.input.kind == "url"),
        twins=[r for r in rows if r != place],
    )


def _row(opened: Opened, artefact: str, row: int) -> dict[str, Any]:
    """Read one row of one part; nothing where the run has no such part."""
    part = opened.part_of(row)
    path = opened.file(artefact, part)
    if path is None:
        return {}
    found = opened.reader.dicts(
        "SELECT * EXCLUDE (file_row_number) FROM read_parquet(?, file_row_number=true) WHERE file_row_number = ?",
        [path, row - part.start],
    )
    return found[0] if found else {}


def _of_uid(opened: Opened, artefact: str, uid: str, row: int, columns: str = "*") -> list[dict[str, Any]]:
    path = opened.file(artefact, opened.part_of(row))
    if path is None:
        return []
    return opened.reader.dicts(f"SELECT {columns} FROM read_parquet(?) WHERE uid = ? LIMIT {_MOST}", [path, uid])


def _signals(opened: Opened, uid: str, row: int) -> list[Signal]:
    return [Signal(*map(str, item.values())) for item in _of_uid(opened, "signals", uid, row, SIGNAL)]


def _matches(opened: Opened, uid: str, row: int) -> list[Signal]:
    """Return what the opt-out registry says; a requester's own words are not in the run."""
    found = []
    for item in _of_uid(opened, "matches", uid, row):
        source = f"registry entry {item['entry']} ({item['kind']})"
        how = item["method"] + ("" if item["distance"] is None else f", distance {score_text(item['distance'])}")
        found.append(Signal("registry", item["outcome"], source, "", how, item["detail"]))
    return found


_FACTS = ("key", "shard", "url", "page_url", "domain", "creator", "licence", "folder", "format", "sha256")


def _facts(samples: dict[str, Any], scores: dict[str, Any], ledger: dict[str, Any]) -> list[tuple[str, str]]:
    found = [(name, str(samples[name])) for name in _FACTS if samples.get(name)]
    if samples.get("width"):
        found.append(
            ("size", f"{samples['width']} × {samples['height']} pixels, {samples.get('nbytes') or 0:,} bytes")
        )
    for name, row in (("gps_country", samples), ("skipped", scores), ("alike_opt_out", ledger)):
        if row.get(name):
            found.append((name, str(row[name])))
    failure = samples.get("failure_detail") or scores.get("failure_detail")
    if failure:
        found.append(("what was wrong", str(failure)))
    if ledger.get("weight") is not None:
        found.append(("weight in training", score_text(ledger["weight"])))
    if ledger.get("shard") is not None:
        found.append(("output shard", f"shard-{ledger['shard']:05d}"))
    return found


def _scores(opened: Opened, row: dict[str, Any]) -> list[Score]:
    found = []
    for column in opened.columns.scores:
        value = row.get(column.name)
        if column.numeric:
            number = None if value is None or not isfinite(value) else float(value)
            shown = None if number is None else score_text(number)
            found.append(Score(column.name, column.scorer, column.doc, shown, number))
        else:
            found.append(Score(column.name, column.scorer, column.doc, value or None, None))
    return found


def _verdict(rule: AppliedRule, row: dict[str, Any], failed: object) -> Verdict:
    value = row.get(rule.column)
    if rule.allow is not None:
        text = str(value or "").strip()
        state = "missing" if not text else "pass" if text in rule.allow else "fail"
        if state == "missing" and rule.missing == "keep":
            state = "pass"
        return Verdict(rule.name, rule.column, text, f"one of {', '.join(rule.allow)}", rule.reason.value, state)
    number = float(value) if isinstance(value, int | float) and isfinite(value) else None
    if number is None:
        state = "unread" if failed and rule.reason.stage is not Stage.RIGHTS else "missing"
    else:
        state = "pass" if rule.low <= number <= rule.high else "fail"
    bounds = [f"{'at least' if side == 'low' else 'at most'} {score_text(bound, 6)}" for side, bound in rule.sides]
    shown = "" if number is None else score_text(number, 6)
    return Verdict(rule.name, rule.column, shown, " and ".join(bounds), rule.reason.value, state)


def _members(opened: Opened, cluster: int | None) -> list[Member]:
    if cluster is None:
        return []
    found = opened.reader.dicts(
        f"SELECT row, uid::VARCHAR AS uid, kept, reason, {picture_sql(opened)} AS picture FROM samples "
        "WHERE cluster = ? ORDER BY kept DESC, row LIMIT 24",
        [cluster],
    )
    names = list(BY_CODE)
    return [
        Member(
            item["uid"].replace("-", ""),
            item["row"],
            item["kept"],
            "" if item["reason"] is None else names[item["reason"]],
            item["picture"],
        )
        for item in found
    ]


_STATIONS = {
    Stage.INGEST: "Read",
    Stage.RIGHTS: "Rights",
    Stage.FETCH: "Download",
    Stage.CONTENT: "Content",
    Stage.DECODE: "Decoded",
    Stage.RULE: "Rules",
    Stage.DUPLICATE: "Duplicates",
    Stage.BALANCE: "Balance",
}


def _way(reasons: list[str], primary: str, ledger: dict[str, Any], downloaded: bool) -> list[Stop]:
    """Return the stations in order of precedence; what stands after the deciding reason decides nothing."""
    stops, over = [], False
    for stage, words in _STATIONS.items():
        here = [code for code in reasons if BY_CODE[code].stage is stage]
        if stage is Stage.FETCH and not (here or downloaded):
            continue
        if primary in here:
            stops.append(Stop(words, "stopped", primary))
            over = True
        elif here:
            stops.append(Stop(words, "also", ", ".join(here)))
        else:
            stops.append(Stop(words, "skipped" if over else "passed", ""))
    kept = ledger.get("decision") == "kept"
    shard = f"shard-{ledger['shard']:05d}" if ledger.get("shard") is not None else "kept"
    return [*stops, Stop("Shard", "passed" if kept else "skipped", shard if kept else "")]
