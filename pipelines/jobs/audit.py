"""Audit: one pass over ledger and groups, part by part, to counts; then statistics and gates over the counts alone.

Cost grows with rows only in the counting. A part's counts are kept, so that a killed audit, and one after a
retraction, count only what is new.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from audit.assemble import Section, sections
from audit.document import SCHEMA_VERSION, Document, GateFact, document, read, write
from audit.gate_judging import judge
from audit.gates import Gate
from audit.groups import Membership
from audit.groups.buckets import bucketed
from audit.groups.columns import from_column
from audit.questions import RESAMPLED, Asked, Questions, Ranked
from audit.rankings import ranking_section
from audit.tally import Key, Tally, tally
from filters.errors import BadInput
from pipelines.engine import PLAIN, Engine, carried, load_beam, run_pipeline
from pipelines.jobs.groups import declared_groups, source_table
from pipelines.progress import Meter, shown
from pipelines.run.directory import Run
from pipelines.run.parts import Marker, PartWriter, fingerprint, finished, part_name, read_table
from pipelines.run.recipe import Recipe
from pipelines.run.recipe_gates import declared_gates
from pipelines.run.schema_audit import FINDINGS, TALLY

VERSION = "2"

NAME = "audit/all"
DOCUMENT = "audit/audit.json"
TALLY_FILE = "audit/tally.parquet"
FINDINGS_FILE = "audit/findings.parquet"
#: Counts of single parts.
PARTS = "audit/parts"
_TOTAL = f"{PARTS}/total.parquet"


def questions_of(recipe: Recipe) -> Questions:
    """Return what a recipe asks of its audit."""
    groups = recipe.groups()
    return Questions(
        groups,
        recipe.audit.reference_of(groups),
        tuple(Asked(a.concepts, a.group, *a.values) for a in recipe.audit.asked_associations()),
        tuple(recipe.audit.asked_intersections()),
        tuple((rate.group, rate.within) for rate in recipe.audit.asked_rates()),
        tuple(Ranked(r.column, r.group, tuple(r.k)) for r in recipe.audit.rankings),
        recipe.audit.resample,
        declared_gates(recipe.gates, recipe.audit),
    )


@dataclass(frozen=True)
class CountPart:
    """Counts one part and keeps its counts."""

    run_dir: Run

    def counts(self, index: int) -> Tally:
        """Return the counts of part `index`, from what is kept where that is up to date."""
        store, name, wanted = self.run_dir.store, part_name(PARTS, index, ""), self.wanted(index)
        file = part_name(PARTS, index)
        if finished(store, name, wanted):
            return Tally.from_table(read_table(store, file))
        meter = Meter(store, "audit", index)
        questions = questions_of(self.run_dir.recipe)
        ledger = self.run_dir.table("ledger", index, ["decision", "reasons", "weight"])
        counted = Tally(tally(ledger, self._memberships(index, questions), questions.pairs()))
        writer = PartWriter(store, name, wanted)
        writer.add_table(file, counted.table().replace_schema_metadata(TALLY.metadata))
        writer.commit(ledger.num_rows)
        meter.count(ledger.num_rows)
        meter.flush()
        return counted

    def _memberships(self, index: int, questions: Questions) -> list[Membership]:
        run = self.run_dir
        table = run.table("groups", index)
        if table.num_rows != run.marker("ledger", index).rows:
            raise BadInput(f"{run.store.url}: groups and ledger part {index} do not belong together; run assay decide")
        found = [from_column(group.name, table.column(group.name)) for group in questions.groups]
        if questions.resample is not None:
            found.append(_buckets(run, index, questions.resample))
        return found

    def wanted(self, index: int) -> str:
        """Return the fingerprint of a part's counts."""
        run = self.run_dir
        content = run.marker("ledger", index).facts["content"]
        groups = run.marker("groups", index).files[part_name("groups", index)].sha256
        questions = questions_of(run.recipe)
        return fingerprint(
            "tally",
            VERSION,
            content,
            groups,
            [g.name for g in questions.groups],
            questions.pairs(),
            questions.resample,
        )


def _buckets(run: Run, index: int, by: str) -> Membership:
    """Return random groups of whole domains, creators or duplicate clusters; a sample without one stands alone."""
    if by == "cluster":
        table = run.table("ledger", index, ["uid", "cluster"])
        keys = table.column("cluster").cast(pa.string()).to_pylist()
    else:
        table = source_table(run, index, [by])
        keys = table.column(by).to_pylist()
    return bucketed(RESAMPLED, keys, table.column("uid").to_pylist())


def audit(run: Run, engine: Engine | None = None) -> Document:
    """Write `audit/`; return the audit. Raises `BadInput` where the ledger is not whole."""
    parts = run.parts("ledger")
    if not parts or parts != run.parts("samples") or parts != run.parts("groups"):
        raise BadInput(f"{run.store.url}: not every part is decided; run assay decide first")
    wanted = audit_fingerprint(run)
    if finished(run.store, NAME, wanted):
        return load_audit(run)
    questions = questions_of(run.recipe)
    with shown(run.store, "audit", run.rows("ledger")):
        total = _counted(run, engine or Engine(PLAIN), parts)
    if total.total() != run.rows("samples"):
        raise BadInput(f"{run.store.url}: {run.rows('samples')} samples, {total.total()} counted; run assay decide")
    found = sections(total, questions, _rankings(run, questions))
    gates = [
        GateFact(_asked(gate), judge(gate, total, questions.references, questions.groups)) for gate in questions.gates
    ]
    made = document(run.recipe.name, ledger_digest(run), total, questions, found, gates)
    _write(run, wanted, made, total)
    return load_audit(run)


def audit_fingerprint(run: Run) -> str:
    """Return what the audit depends on: ledger, groups, ranked scores and the recipe's questions."""
    questions = questions_of(run.recipe)
    parts = run.parts("ledger")
    count = CountPart(run)
    scores = (
        [run.marker("scores", i).files[part_name("scores", i)].sha256 for i in parts] if questions.rankings else []
    )
    asked = [repr(questions), declared_groups(questions.groups), run.recipe.name]
    return fingerprint("audit", VERSION, SCHEMA_VERSION, asked, [count.wanted(i) for i in parts], scores)


def current(run: Run) -> Marker | None:
    """Return the audit's marker where it is there and of the ledger as it is, else None."""
    if run.parts("groups") != run.parts("ledger"):
        return None
    return finished(run.store, NAME, audit_fingerprint(run))


def load_audit(run: Run) -> Document:
    """Read the audit. Raises `BadInput` where there is none."""
    if not run.store.exists(DOCUMENT):
        raise BadInput(f"{run.store.url}: no audit; run assay audit first")
    return read(run.store.read(DOCUMENT), f"{run.store.url}/{DOCUMENT}")


def load_tally(run: Run) -> Tally:
    """Read the audit's counts. Raises `BadInput` where there are none."""
    return Tally.from_table(read_table(run.store, TALLY_FILE))


def ledger_digest(run: Run) -> str:
    """Return a hash of the ledger's content, all parts in order."""
    return fingerprint([run.marker("ledger", i).facts["content"] for i in run.parts("ledger")])


def _counted(run: Run, engine: Engine, parts: list[int]) -> Tally:
    """Return the counts of the whole run."""
    work = CountPart(run)
    if engine.runner == PLAIN:
        return Tally.of(work.counts(index).counts for index in parts)
    beam = load_beam()
    store = run.store

    class Count(beam.DoFn):  # type: ignore[misc,name-defined]
        def process(self, index: int) -> Iterable[tuple[tuple[str, str], Counter[Key]]]:
            # one element a pair of groups, not one a count: a count is much smaller than what moves it
            return by_groups(carried(lambda: work.counts(index)))

    def write_total(found: list[tuple[tuple[str, str], Counter[Key]]]) -> None:
        table = Tally.of(counts for _, counts in found).table().replace_schema_metadata(TALLY.metadata)
        PartWriter(store, f"{PARTS}/total", "").add_table(_TOTAL, table)

    def build(pipeline: Any) -> None:
        _ = (
            pipeline
            | "parts" >> beam.Create(parts)
            | "spread" >> beam.Reshuffle()
            | "count" >> beam.ParDo(Count())
            | "sum" >> beam.CombinePerKey(add_counts)
            | "gather" >> beam.combiners.ToList()
            | "write" >> beam.Map(write_total)
        )

    run_pipeline(engine, "audit", build)
    total = Tally.from_table(read_table(store, _TOTAL))
    store.delete(_TOTAL)
    return total


def by_groups(counted: Tally) -> list[tuple[tuple[str, str], Counter[Key]]]:
    """Return a part's counts by the group, or pair of groups, that they are of."""
    found: dict[tuple[str, str], Counter[Key]] = {}
    for key, count in counted.counts.items():
        found.setdefault((key.group, key.other), Counter())[key] = count
    return sorted(found.items())


def add_counts(counters: Iterable[Counter[Key]]) -> Counter[Key]:
    """Return the sum of counters; they are whole numbers, so that order does not matter."""
    total: Counter[Key] = Counter()
    for counter in counters:
        total.update(counter)
    return total


def _rankings(run: Run, questions: Questions) -> list[Section]:
    """Return who stands at the top by each score asked for, over all samples that have it."""
    found = []
    for ranked in questions.rankings:
        scores, codes, names = [], [], dict[str, int]()
        for index in run.parts("scores"):
            column = run.table("scores", index, [ranked.column])
            if ranked.column not in column.column_names:
                raise BadInput(f"{run.store.url}: audit.rankings: no score {ranked.column} in the scores")
            part = column.column(ranked.column).cast(pa.float64())
            scores.append(part.to_numpy())
            member = from_column(ranked.group, run.table("groups", index, [ranked.group]).column(ranked.group))
            mine = np.full(len(part), -1, dtype=np.int64)
            mine[member.rows] = np.array([names.setdefault(v, len(names)) for v in member.values] or [0])[member.codes]
            codes.append(mine)
        found.append(ranking_section(ranked, np.concatenate(scores), np.concatenate(codes), list(names)))
    return found


def _asked(gate: Gate) -> dict[str, object]:
    return {"name": gate.name, "rule": type(gate.rule).__name__, "surely": gate.surely, **asdict(gate.rule)}


def _write(run: Run, wanted: str, made: Document, total: Tally) -> None:
    writer = PartWriter(run.store, NAME, wanted)
    with run.store.create(DOCUMENT) as path:
        path.write_bytes(write(made))
        writer.add_file(DOCUMENT, path)
    writer.add_table(TALLY_FILE, total.table().replace_schema_metadata(TALLY.metadata))
    writer.add_table(FINDINGS_FILE, _findings(made.sections))
    gates = [asdict(gate) for gate in made.gates]
    writer.commit(sum(len(section.findings) for section in made.sections), {"gates": gates, "schema": SCHEMA_VERSION})


def _findings(found: list[Section]) -> pa.Table:
    rows = []
    for section in found:
        for item in section.findings:
            subject = {name: item.subject.get(name) for name in ("group", "value", "against", "concept", "reason")}
            figures = {"figure": item.value, "low": item.low, "high": item.high, "p": item.p, "q": item.q, "n": item.n}
            texts = {"section": section.name, "metric": item.metric, "state": item.state.value, "words": item.words}
            rows.append({**subject, **figures, **texts, "subject": json.dumps(dict(item.subject), sort_keys=True)})
    return pa.Table.from_pylist(rows, schema=FINDINGS)
