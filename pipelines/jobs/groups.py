"""Groups: which values of each declared group a sample has, part by part, for the balance and the audit.

Nothing is inferred from a picture: captions, addresses, columns and the user's labels are all that is read.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache

import pyarrow as pa

from audit.groups import Assigner, Group, check_labels
from audit.groups.assign import lexicons_of
from audit.groups.columns import to_column
from filters.errors import BadInput, first_line
from pipelines.engine import PLAIN, Engine, run_parts
from pipelines.jobs.score import unloaded_scorer
from pipelines.progress import Meter, shown
from pipelines.run.directory import Run
from pipelines.run.parquet_stream import parquet_of
from pipelines.run.parts import PartWriter, fingerprint, finished, part_name
from pipelines.run.recipe import Recipe
from pipelines.run.schema import SAMPLES, groups_schema
from pipelines.sources.listing import opened_file

VERSION = "2"

#: Prefix of a group's column that names a further field of the input, kept in samples.metadata.
METADATA = "metadata."


@dataclass(frozen=True)
class AssignGroups:
    """Writes `groups` parts. `labels` is the SHA-256 of the labels' file, None where there is none."""

    run_dir: Run
    labels: str | None

    def load(self) -> None:
        """Compile the lexicons, once a process."""
        _assigner(self.run_dir.recipe.groups())

    def run(self, index: int) -> None:
        """Write part `index` unless it is there."""
        store, name, wanted = self.run_dir.store, part_name("groups", index, ""), self.wanted(index)
        if finished(store, name, wanted):
            return
        meter = Meter(store, "groups", index)
        assigner = _assigner(self.run_dir.recipe.groups())
        table = source_table(self.run_dir, index, assigner.columns())
        memberships = assigner.assign(table, self._labels())
        columns = [to_column(membership, table.num_rows) for membership in memberships]
        schema = groups_schema([(group.name, group.described) for group in assigner.groups])
        writer = PartWriter(store, name, wanted)
        writer.add_table(
            part_name("groups", index), pa.Table.from_arrays([table.column("uid"), *columns], schema=schema)
        )
        writer.commit(table.num_rows, {"labels": self.labels})
        meter.count(table.num_rows)
        meter.flush()

    def _labels(self) -> pa.Table | None:
        path = self.run_dir.recipe.audit.labels
        return None if path is None or self.labels is None else read_labels(path, self.labels)

    def wanted(self, index: int) -> str:
        """Return the fingerprint of part `index`: samples, scores that are read, declarations, lexicons, labels."""
        recipe = self.run_dir.recipe
        content = self.run_dir.marker("samples", index).facts["content"]
        files = self.run_dir.marker("scores", index).files if _reads_scores(recipe.groups()) else None
        scores = files[part_name("scores", index)].sha256 if files else None
        rules = (VERSION, unicodedata.unidata_version)  # what is a word is Unicode's, whose version is Python's
        return fingerprint("groups", rules, content, scores, declared_groups(recipe.groups()), self.labels)


def assign_groups(run: Run, engine: Engine | None = None) -> None:
    """Write all `groups` parts. Raises `BadInput` for unknown columns and for labels that do not fit the run."""
    parts = run.parts("scores")
    if not parts or parts != run.parts("samples"):
        raise BadInput(f"{run.store.url}: not every part is scored; run assay score first")
    path = run.recipe.audit.labels
    work = AssignGroups(run, None if path is None else labels_digest(path))
    pending = [i for i in parts if not finished(run.store, part_name("groups", i, ""), work.wanted(i))]
    if not pending:
        return
    if path is not None and work.labels is not None:
        uids = pa.concat_tables(run.tables("samples", ["uid"])).column("uid")
        _named(path, lambda: check_labels(read_labels(path, work.labels or ""), uids))
    with shown(run.store, "groups", sum(run.marker("samples", i).rows for i in pending)):
        run_parts(engine or Engine(PLAIN), "groups", work, pending)


def check_columns(recipe: Recipe) -> None:
    """Refuse groups and rankings of columns that no part will have, before anything is read. Raises `BadInput`."""
    scorers = (unloaded_scorer(name, recipe.similarity.model, recipe.heads) for name in recipe.scorers)
    scores = {field.name for scorer in scorers for field in scorer.fields}
    if recipe.audit.labels is not None:
        _check_label_columns(recipe.audit.labels, recipe.groups())
    for group in recipe.groups():
        column = group.source_column
        if group.kind == "labels" or column.startswith(METADATA) or column in scores or column in SAMPLES.names:
            continue
        raise BadInput(
            f"audit.groups.{group.name}: no column {column!r} in samples, nor in the scores of "
            f"{', '.join(recipe.scorers)}; a further field of the input is {METADATA}{column}"
        )
    for ranking in recipe.audit.rankings:
        if ranking.column not in scores:
            raise BadInput(f"audit.rankings: no score {ranking.column!r}; there is {', '.join(sorted(scores))}")


def _check_label_columns(path: str, groups: Iterable[Group]) -> None:
    """Refuse a file of labels that cannot be read or lacks a column that a group reads. Raises `BadInput`."""
    try:
        with opened_file(path) as stream:
            names = parquet_of(stream).schema_arrow.names
    except (pa.ArrowException, OSError, ValueError, ImportError) as error:
        raise BadInput(f"audit.labels: {path}: no readable parquet ({first_line(error)})") from None
    for name in ("uid", *(group.source_column for group in groups if group.kind == "labels")):
        if name not in names:
            raise BadInput(f"audit.labels: {path}: no column {name!r}; there is {', '.join(names)}")


def source_table(run: Run, index: int, columns: Iterable[str]) -> pa.Table:
    """Return uid and `columns` of one part's samples, then of its scores; `metadata.KEY` is read from the metadata."""
    wanted = set(columns)
    keys = sorted(name for name in wanted if name.startswith(METADATA))
    table = run.table("samples", index, ["uid", *sorted(wanted - set(keys)), *(["metadata"] if keys else [])])
    for name in keys:
        table = table.append_column(name, _field(table.column("metadata"), name.removeprefix(METADATA)))
    missing = sorted(wanted - set(table.column_names))
    if missing:
        scores = run.table("scores", index, ["uid", *missing])
        if not scores.column("uid").equals(table.column("uid")):
            raise BadInput(f"{run.store.url}: samples and scores part {index} do not belong together; run assay score")
        for name in missing:
            if name in scores.column_names:
                table = table.append_column(name, scores.column(name))
    return table


def _field(metadata: pa.ChunkedArray, key: str) -> pa.Array:
    """Return one field of the input's own JSON as text; a list's entries follow one another, objects are none."""
    return pa.array([_text(json.loads(body).get(key)) if body else None for body in metadata.to_pylist()], pa.string())


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        return "; ".join(item for item in value if isinstance(item, str)) or None
    return None


@lru_cache(maxsize=4)
def _assigner(groups: tuple[Group, ...]) -> Assigner:
    return Assigner(groups)


def _reads_scores(groups: tuple[Group, ...]) -> bool:
    read = {group.source_column for group in groups if group.kind != "labels"}
    return any(name not in SAMPLES.names and not name.startswith(METADATA) for name in read)


def declared_groups(groups: tuple[Group, ...]) -> list[object]:
    """Return the declarations with hashes of the lexicons that they rest on, for fingerprints."""
    return [[asdict(group), [_digest(lexicon) for lexicon in lexicons_of(group)]] for group in groups]


def _digest(lexicon: object) -> str:
    return hashlib.sha256(repr(lexicon).encode()).hexdigest()


def labels_digest(path: str) -> str:
    """Return the SHA-256 of a file of labels. Raises `BadInput` where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with opened_file(path) as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    except (OSError, ValueError, ImportError) as error:
        raise BadInput(f"audit.labels: {path}: cannot be read ({first_line(error)})") from None
    return digest.hexdigest()


@lru_cache(maxsize=1)
def read_labels(path: str, digest: str) -> pa.Table:
    """Return a parquet file of labels; `digest` keeps a changed file from being taken for the old one."""
    try:
        with opened_file(path) as stream:
            return parquet_of(stream).read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"audit.labels: {path}: no readable parquet ({first_line(error)})") from None


def _named(path: str, check: Callable[[], None]) -> None:
    """Run a check of the labels; its error names their file."""
    try:
        check()
    except BadInput as error:
        raise BadInput(f"audit.labels: {path}: {error}") from None
