"""Complete: score just the samples whose scores a cascade left out and the recipe now needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.registry import COSTLY
from filters.rules import masks_of_codes, needed_columns
from pipelines.engine import Engine, run_parts
from pipelines.jobs.decide import joined, judge_scored, resolved_rules, spared
from pipelines.jobs.rights import rights_part
from pipelines.jobs.score import Score, evidence_table, score_rows, score_work, write_embeddings
from pipelines.jobs.scoring import Scored, scattered
from pipelines.progress import Meter, shown
from pipelines.run.directory import Run
from pipelines.run.parts import PartWriter, part_name, read_table
from pipelines.run.schema import EVIDENCE, embeddings_schema


def needed(run: Run, index: int) -> list[int]:
    """Return the rows of one part that the recipe's rules or the registry cannot decide without skipped scores."""
    rules = resolved_rules(run)
    table = joined(run, index, needed_columns(rules))
    failures = masks_of_codes(table.column("failure"))
    masks = judge_scored(rules, table) | rights_part(run, index, table.column("uid").combine_chunks())
    return [int(row) for row in np.flatnonzero(spared(run, index, rules, table, (failures == 0) & (masks == 0)))]


def without_reserved(run: Run, index: int) -> pa.Table:
    """Return one part's samples, none of them marked reserved: what is completed here, the recipe keeps."""
    samples = run.table("samples", index)
    return samples.append_column("reserved", pa.nulls(samples.num_rows, pa.string()))


@dataclass(frozen=True)
class Complete:
    """Fills the skipped scores of one part's needed rows; all other values stay as they are."""

    score: Score

    @property
    def run_dir(self) -> Run:
        """The run."""
        return self.score.run_dir

    def load(self) -> None:
        """Load the costly scorers."""
        for scorer in self.score.scorers():
            if scorer.name in COSTLY:
                scorer.load()

    def run(self, index: int) -> None:
        """Score the part's needed rows with every costly scorer and write the part again."""
        run = self.score.run_dir
        rows = needed(run, index)
        if not rows:
            return
        meter = Meter(run.store, "score", index)
        scorers = [scorer for scorer in self.score.scorers() if scorer.name in COSTLY]
        samples, old = without_reserved(run, index), run.table("scores", index)
        results = list(score_rows(run, self.score.shards[index], samples, scorers, (), meter, set(rows)))
        take = scattered(old.num_rows, [p for result in results for p in result.positions])
        table = old
        for scorer in scorers:
            batches = [result.columns[scorer.name] for result in results if result.positions]
            found = pa.Table.from_batches(batches, schema=scorer.fields)
            for name in scorer.fields.names:
                filled = pc.coalesce(
                    table.column(name).combine_chunks(), found.column(name).combine_chunks().take(take)
                )
                position = table.schema.get_field_index(name)
                table = table.set_column(position, table.schema.field(position), filled)
        table = _no_longer_skipped(table, rows)
        self._write(index, table, results)
        meter.flush()

    def _write(self, index: int, table: pa.Table, results: list[Scored]) -> None:
        run = self.score.run_dir
        marker = run.marker("scores", index)
        vectors = _filled_embeddings(run, index, results)
        uids = table.column("uid").combine_chunks()
        writer = PartWriter(run.store, part_name("scores", index, ""), marker.fingerprint)
        writer.keep(marker, part_name("thumbnails", index, ".tar"))
        writer.add_table(part_name("scores", index), table)
        if vectors is not None:
            writer.add_table(part_name("embeddings", index), vectors)
        else:  # the cascade had spared every row of the part
            write_embeddings(writer, index, uids, results)
        if run.store.exists(part_name("evidence", index)):
            found = _completed_evidence(run, index, uids.to_pylist(), results)
            writer.add_table(part_name("evidence", index), found)
        skipped = len(table) - table.column("skipped").null_count
        writer.commit(marker.rows, {**marker.facts, "skipped": skipped})


def _no_longer_skipped(table: pa.Table, rows: list[int]) -> pa.Table:
    position = table.schema.get_field_index("skipped")
    values = table.column(position).to_pylist()
    for row in rows:
        values[row] = None
    field = table.schema.field(position)
    return table.set_column(position, field, pa.array(values, field.type))


def _filled_embeddings(run: Run, index: int, results: list[Scored]) -> pa.Table | None:
    name = part_name("embeddings", index)
    if not run.store.exists(name):
        return None
    old = read_table(run.store, name)
    arrays: list[pa.Array] = [old.column("uid").combine_chunks()]
    dimension = old.schema.field("image").type.list_size
    for kind in ("image", "text"):
        flat = old.column(kind).combine_chunks().flatten().to_numpy().reshape(-1, dimension).copy()
        for result in results:
            if result.embeddings is not None:
                flat[result.positions] = getattr(result.embeddings, kind)
        arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), dimension))
    return pa.Table.from_arrays(arrays, schema=embeddings_schema(dimension))


def _completed_evidence(run: Run, index: int, uids: list[str], results: list[Scored]) -> pa.Table:
    """Return the part's evidence with that of the rows that were scored now in place of what they had."""
    old = read_table(run.store, part_name("evidence", index))
    again = {uids[position] for result in results for position in result.positions}
    kept = old.filter(pc.invert(pc.is_in(old.column("uid"), pa.array(sorted(again), pa.string()))))
    both = pa.concat_tables([kept, evidence_table(uids, results)]).unify_dictionaries()
    places = {uid: place for place, uid in reversed(list(enumerate(uids)))}
    order = np.argsort([places[uid] for uid in both.column("uid").to_pylist()], kind="stable")
    return both.take(pa.array(order, pa.int64())).cast(EVIDENCE)


def complete(run: Run, engine: Engine) -> int:
    """Score what is missing for the recipe's rules; returns the number of samples scored."""
    counts = {index: len(needed(run, index)) for index in run.parts("scores")}
    pending = [index for index, count in counts.items() if count]
    with shown(run.store, "score", sum(counts.values())):
        run_parts(engine, "complete", Complete(score_work(run, engine)), pending)
    return sum(counts.values())
