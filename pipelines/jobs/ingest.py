"""Ingest: every record of every input shard becomes one row of `samples`, readable or not."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa

from audit.groups.gps import country_of, map_version
from filters.decoding import Undecodable, read_header
from filters.errors import BadInput, TooManyFailures
from filters.identity import sample_uid
from filters.json_text import read_json
from filters.optout.urls import canonical_host
from filters.reasons import BY_CODE, PRECEDENCE, Reason, Stage
from pipelines.engine import Engine, run_parts
from pipelines.jobs.attempts import guarded
from pipelines.jobs.fetch import fetch
from pipelines.jobs.harmful import harmful_hashes, harmful_state, is_harmful, withheld_row
from pipelines.jobs.match import pin_registry
from pipelines.jobs.signals import SignalWriter
from pipelines.progress import Meter, announce, shown
from pipelines.run.directory import Run
from pipelines.run.parts import PartWriter, fingerprint, finished, part_name
from pipelines.run.recipe import FieldNames, Limits, Recipe
from pipelines.run.schema import SAMPLES
from pipelines.sources.base import ReadLimits, Record, ShardRef
from pipelines.sources.registry import make_source

VERSION = "4"

#: How `_text` reads what is no text. Not part of the content hash, which the texts themselves are.
_TEXTS = "2"

#: Pictures that no decoder survives: not even their headers are read.
_NEVER_OPENED = (Reason.DECODER_CRASHED, Reason.DECODE_TIMEOUT)


@dataclass(frozen=True)
class Ingest:
    """Reads one input shard and writes one `samples` part."""

    run_dir: Run
    shards: tuple[ShardRef, ...]

    def load(self) -> None:
        """Nothing to load."""

    def run(self, index: int) -> None:
        """Write part `index` from shard `index`."""
        store, recipe, shard = self.run_dir.store, self.run_dir.recipe, self.shards[index]
        name = part_name("samples", index, "")
        wanted = self.wanted(index)
        if finished(store, name, wanted):
            return
        meter = Meter(store, "ingest", index)
        rows: list[dict[str, Any]] = []
        seen: set[str] = set()
        signals = SignalWriter(recipe.rights)
        harmful = harmful_hashes(tuple(recipe.rights.harmful))
        with guarded(store, "ingest", index) as guard:
            for number, found in enumerate(make_source(recipe.input).records(shard, read_limits(recipe))):
                trouble = guard.trouble(found.image, recipe.limits.max_pixels, pixels=harmful is not None)
                record = found if trouble is None else _refused(found, trouble)
                with guard.watched(record.key):
                    if is_harmful(record, harmful, pixels=trouble is None):
                        # first of all, and nothing else is read or kept of it
                        rows.append(withheld_row(shard.name, number))
                        meter.count(failure=Reason.KNOWN_HARMFUL.value)
                        continue
                    row = sample_row(record, shard.name, recipe.input.fields, recipe.limits)
                    if row["failure"] is None and record.key in seen:
                        row.update(
                            failure=Reason.DUPLICATE_KEY.value, failure_detail=f"key {record.key!r} stands twice"
                        )
                    seen.add(record.key)
                    rows.append(row)
                    signals.add(record if trouble is None else replace(record, image=None), row)
                meter.count(failure=row["failure"])
        meter.flush()
        table = pa.Table.from_pylist(rows, schema=SAMPLES)
        writer = PartWriter(store, name, wanted)
        writer.add_table(part_name("samples", index), table)
        facts = {"shard": shard.name, "content": content_digest(rows), "failures": _failures(rows)}
        writer.commit(len(rows), {**facts, **signals.write(writer, index)})

    def wanted(self, index: int) -> str:
        """Return the fingerprint of part `index`: shard, its state, limits and field names."""
        recipe, shard = self.run_dir.recipe, self.shards[index]
        settings = (recipe.input.model_dump(exclude={"path"}), recipe.limits.model_dump(exclude={"max_failures"}))
        rights = [*SignalWriter(recipe.rights).versions(), harmful_state(tuple(recipe.rights.harmful))]
        return fingerprint(
            "ingest", VERSION, _TEXTS, shard.name, shard.state, shard.members, settings, rights, map_version()
        )


def read_limits(recipe: Recipe) -> ReadLimits:
    """Return what a source may read into memory for one field."""
    limits = recipe.limits
    return ReadLimits(limits.max_image_bytes, limits.max_caption_bytes, limits.max_metadata_bytes)


def ingest(run: Run, engine: Engine) -> None:
    """Write all `samples` parts; a URL list is downloaded first, as far as it is not yet.

    Raises `BadInput` for an empty input, `TooManyFailures` over the limit.
    """
    pin_registry(run)
    fetch(run, engine)
    shards = tuple(make_source(run.recipe.input, run.store).shards())
    work = Ingest(run, shards)
    for index in run.parts("samples"):
        if index >= len(shards):
            run.store.delete(part_name("samples", index, ".done.json"))
    pending = [i for i in range(len(shards)) if not finished(run.store, part_name("samples", i, ""), work.wanted(i))]
    announce(run.store, "ingest", len(shards))
    with shown(run.store, "ingest", None):
        run_parts(engine, "ingest", work, pending)
    total = run.rows("samples")
    if total == 0:
        raise BadInput(f"{run.recipe.input.path}: the input is empty (no record in {len(shards)} shard(s))")
    # an opt-out that was honoured is no failure
    failures = (run.marker("samples", i).facts["failures"].items() for i in run.parts("samples"))
    failed = sum(n for found in failures for code, n in found if BY_CODE[code].stage is not Stage.RIGHTS)
    check_failures(failed, total, run.recipe.limits.max_failures)


def check_failures(failed: int, total: int, limit: float) -> None:
    """Raise `TooManyFailures` where more than the fraction `limit` of the samples failed."""
    if failed > limit * total:
        raise TooManyFailures(
            f"{failed} of {total} samples failed, more than limits.max_failures = {limit}; "
            "the failures stand in the samples and scores parts with their reasons"
        )


def sample_row(record: Record, shard: str, names: FieldNames, limits: Limits) -> dict[str, Any]:
    """Turn a record into a row of `samples`; the first thing that is wrong becomes its failure."""
    metadata, metadata_problem = _metadata(record.metadata, limits.max_metadata_bytes)
    caption, caption_problem = _caption(record, metadata, names, limits.max_caption_bytes)
    fields = {
        name: _text(metadata.pop(getattr(names, name), None)) for name in ("url", "page_url", "creator", "licence")
    }
    folder = _text(metadata.pop(names.folder, None)) or record.key.rpartition("/")[0] or None
    sha256 = hashlib.sha256(record.image or b"")
    header, image_problem = _image(None if record.failure in _NEVER_OPENED else record.image, limits)
    source_problem = (record.failure, record.detail) if record.failure else None
    if record.failure and (record.image is None or record.failure in _NEVER_OPENED):
        image_problem = None  # the source has said why there is none
    problem = _first(source_problem, metadata_problem, image_problem, caption_problem)
    return {
        "uid": sample_uid(sha256.digest(), caption or "", fields["url"]),
        "key": _clean(record.key),
        "shard": _clean(shard),
        "caption": None if caption is None else _cut(caption, limits.max_caption_bytes),
        **fields,
        "domain": _domain(fields["url"]) or _domain(fields["page_url"]),
        "folder": folder,
        "metadata": json.dumps(metadata, sort_keys=True, ensure_ascii=True, default=str) if metadata else None,
        **header,
        "nbytes": None if record.image is None else len(record.image),
        "sha256": None if record.image is None else sha256.hexdigest(),
        "fetched_at": record.facts.get("fetched_at"),
        "failure": problem[0].value if problem else None,
        "failure_detail": _clean(problem[1] or "")[:500] if problem else None,
    }


def _refused(record: Record, trouble: Undecodable) -> Record:
    """Return the record with what its picture does to a decoder as its failure, unless it has one already."""
    return record if record.failure else replace(record, failure=trouble.reason, detail=trouble.detail)


_Problem = tuple[Reason, str | None] | None


def _first(*problems: _Problem) -> _Problem:
    """Return the problem whose reason comes first in order of precedence."""
    return min((p for p in problems if p), key=lambda problem: PRECEDENCE[problem[0]], default=None)


def _image(data: bytes | None, limits: Limits) -> tuple[dict[str, Any], _Problem]:
    header: dict[str, Any] = {"width": None, "height": None, "format": None, "gps_country": None}
    if data is None:
        return header, (Reason.MISSING_IMAGE, "no picture in the record")
    if not data:
        return header, (Reason.EMPTY_IMAGE, "zero bytes")
    if len(data) > limits.max_image_bytes:
        return header, (Reason.FILE_TOO_LARGE, f"more than {limits.max_image_bytes} bytes")
    try:
        found = read_header(data, limits.max_pixels)
    except Undecodable as error:
        return header, (error.reason, error.detail)
    # the position is personal data: nothing but its country is kept
    country = None if found.position is None else country_of(found.position[:1], found.position[1:])[0]
    return {"width": found.width, "height": found.height, "format": found.format, "gps_country": country}, None


def _caption(record: Record, metadata: dict[str, Any], names: FieldNames, limit: int) -> tuple[str | None, _Problem]:
    raw: Any = record.caption
    if raw is None:
        raw = metadata.pop(names.caption, None)
    problem: _Problem = None
    if isinstance(raw, bytes):
        if len(raw) > limit:
            problem = (Reason.CAPTION_TOO_LONG, f"more than {limit} bytes")
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            text = raw.decode("utf-8", "backslashreplace")
            problem = problem or (Reason.CAPTION_NOT_UTF8, str(error))
    else:
        text = _text(raw) or ""
        if len(text.encode()) > limit:
            problem = (Reason.CAPTION_TOO_LONG, f"more than {limit} bytes")
    if raw is None or not text.strip():
        return text or None, (Reason.EMPTY_CAPTION, "no caption" if raw is None else "white space only")
    return text, problem


def _metadata(raw: bytes | dict[str, Any] | None, limit: int) -> tuple[dict[str, Any], _Problem]:
    if raw is None:
        return {}, None
    if isinstance(raw, dict):
        return dict(raw), None
    if len(raw) > limit:
        return {}, (Reason.BAD_METADATA, f"more than {limit} bytes")
    try:
        body = read_json(raw)
    except ValueError as error:
        return {}, (Reason.BAD_METADATA, f"{type(error).__name__}: {error}")
    if not isinstance(body, dict):
        return {}, (Reason.BAD_METADATA, f"a JSON {type(body).__name__}, not an object")
    return body, None


def _text(value: Any) -> str | None:
    """Return a value of the input as text: None for absent and empty, JSON for what is nested."""
    if value is None:
        return None
    if isinstance(value, bytes):  # a binary column of a table
        value = _plain(value)
    if not isinstance(value, str):
        value = json.dumps(value, sort_keys=True, ensure_ascii=False, default=_plain)
    return _clean(value) or None


def _plain(value: Any) -> str:
    """Return what JSON has no form for as text; octets are read as UTF-8, as those of captions are."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _clean(text: str) -> str:
    """Escape what UTF-8 cannot hold (lone surrogates from JSON or file names)."""
    return text.encode("utf-8", "backslashreplace").decode()


def _cut(text: str, limit: int) -> str:
    return text.encode()[:limit].decode("utf-8", "ignore")


def _domain(url: str | None) -> str | None:
    try:
        host = urlsplit(url).hostname if url else None
    except ValueError:
        return None
    return canonical_host(host) if host else None


def _failures(rows: list[dict[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in rows:
        if row["failure"]:
            counts[row["failure"]] = counts.get(row["failure"], 0) + 1
    return counts


def content_digest(rows: list[dict[str, Any]]) -> str:
    """Return a SHA-256 over the rows' content, independent of the container and of its place."""
    digest = hashlib.sha256()
    for row in rows:
        content = {k: v for k, v in row.items() if k not in ("shard", "fetched_at")}
        digest.update(json.dumps(content, sort_keys=True).encode())
        digest.update(b"\n")
    return digest.hexdigest()
