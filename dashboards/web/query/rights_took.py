"""What was taken out of a run after it was finished: receipts, retractions, and checkpoints that saw what left."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from dashboards.text import clean
from dashboards.web.catalogue import Opened
from dashboards.web.places import within
from filters.errors import AssayError, BadInput
from pipelines.retraction.receipts import FOLDER as RECEIPTS
from pipelines.retraction.receipts import read_receipt, receipt_name, verify_receipt
from pipelines.retraction.versions import retraction_records, version_records
from pipelines.retraction.words import receipt_words
from pipelines.run.manifest import read_manifest
from pipelines.run.trainings import trainings
from training.data.exposure import FOLDER as EXPOSURES
from training.data.exposure import Exposure, load_exposure
from training.data.mixing import uid_words

#: Rows of a table; bytes of a receipt and of an exposure log that a page reads.
_ROWS, _RECEIPT_BYTES, _LOG_BYTES = 60, 4 << 20, 256 << 20


@dataclass(frozen=True)
class Receipt:
    """One receipt of the run. `state` is that of its signature: valid, invalid or unreadable."""

    entry: int
    state: str
    request: str
    at: str
    matched: int
    problem: str


@dataclass(frozen=True)
class ReceiptText:
    """A receipt in words, with the state of its signature and what is wrong with it."""

    entry: int
    state: str
    key: str
    words: str
    problems: list[str]


@dataclass(frozen=True)
class Retraction:
    """One retraction: when, by which entries, who left and who followed, the version before and after."""

    at: str
    entries: list[int]
    left: list[str]
    left_count: int
    came: int
    before: str
    after: str


@dataclass(frozen=True)
class CheckpointExposure:
    """One checkpoint trained on a version of this run, and how many samples that left later it has seen.

    `left` counts the samples that left after its dataset's version; `seen` and `times` are None where no log is kept.
    """

    checkpoint: str
    path: str
    dataset: str
    finished_at: str
    left: int
    seen: int | None
    times: int | None
    examples: list[str]
    problem: str


def receipts(opened: Opened) -> list[Receipt]:
    """Return the run's receipts, the newest entry first."""
    names = [name for name in opened.run.store.list(RECEIPTS) if name.endswith(".json")]
    numbers = sorted((number for name in names if (number := _entry(name)) is not None), reverse=True)
    return [_receipt(opened, number) for number in numbers[:_ROWS]]


def _entry(name: str) -> int | None:
    digits = name.rpartition("/")[2].removeprefix("entry-").removesuffix(".json")
    return int(digits) if digits.isdecimal() and receipt_name(int(digits)).endswith(name.rpartition("/")[2]) else None


def _receipt(opened: Opened, entry: int) -> Receipt:
    try:
        text, body = _read(opened, entry)
        request = body["request"]
        said = f"{request['kind']} {request['value']}"
        return Receipt(entry, text.state, clean(said, 200), clean(str(body["at"]), 30), len(body["matched"]), "")
    except (AssayError, OSError, KeyError, TypeError, AttributeError) as error:
        problem = clean(str(error), 200) if isinstance(error, AssayError) else "not a whole receipt"
        return Receipt(entry, "unreadable", "", "", 0, problem.replace(str(opened.place.path), opened.name))


def receipt_text(opened: Opened, entry: int) -> ReceiptText | None:
    """Return one receipt in words; None where there is none. Raises `BadInput` where it is broken."""
    if not (opened.place.path / receipt_name(entry)).is_file():
        return None
    return _read(opened, entry)[0]


def _read(opened: Opened, entry: int) -> tuple[ReceiptText, dict[str, Any]]:
    name = receipt_name(entry)
    path = opened.place.path / name
    if not within(path, opened.place.path) or path.stat().st_size > _RECEIPT_BYTES:
        raise BadInput(f"{name}: too large, or a link out of the run")
    data = path.read_bytes()
    state, problems = verify_receipt(data, name, None)
    signed = read_receipt(data, name)
    try:
        words = receipt_words(signed)
        key = str(signed["signature"]["key_id"])
    except (KeyError, TypeError, AttributeError, IndexError):
        raise BadInput(f"{name}: not a whole receipt") from None
    text = ReceiptText(entry, state, clean(key, 80), words, [clean(f"{p.code}: {p.detail}", 300) for p in problems])
    return text, signed["receipt"]


@dataclass(frozen=True)
class Retractions:
    """The newest retractions of a run, the newest first; how many there are, and who left by all of them."""

    shown: list[Retraction]
    total: int
    left: int


def retractions(opened: Opened) -> Retractions:
    """Return the run's retractions. Raises `BadInput` for a broken record."""
    records, found = retraction_records(opened.run.store), []
    for record in records[::-1][:_ROWS]:
        left = [str(uid) for uid in record.get("left", [])]
        entries = [int(entry) for entry in record.get("entries", []) if isinstance(entry, int)]
        found.append(
            Retraction(
                clean(str(record.get("at")), 30),
                entries[:_ROWS],
                left[:_ROWS],
                len(left),
                len(record["came"]),
                clean(str(record["before"]), 64),
                clean(str(record["after"]), 64),
            )
        )
    return Retractions(found, len(records), sum(len(record.get("left", [])) for record in records))


def checkpoint_exposures(opened: Opened) -> list[CheckpointExposure]:
    """Return the checkpoints of all versions of this run, the newest first. Raises `BadInput` for a broken record."""
    run = opened.run
    if not run.finished():
        return []
    records = version_records(run.store)
    versions = [*(str(record["before"]) for record in records), str(read_manifest(run)["content_hash"])]
    found = []
    recorded = [training for training in trainings(run.store, set(versions)) if training.dataset in versions]
    for training in recorded[::-1][:_ROWS]:
        left = _left_since(records[versions.index(training.dataset) :])
        made = partial(
            CheckpointExposure,
            clean(training.checkpoint, 64),
            clean(training.path, 200),
            clean(training.dataset, 64),
            clean(training.finished_at, 30),
            len(left),
        )
        try:
            log = _log(opened, training.checkpoint)
            if log is None:
                found.append(made(None, None, [], "no log of what it saw is kept in the run"))
                continue
            seen, times, examples = _seen(log, left)
            found.append(made(seen, times, examples, ""))
        except (AssayError, OSError) as error:
            words = str(error).replace(str(opened.place.path), opened.name)
            found.append(made(None, None, [], clean(words, 200)))
    return found


def _left_since(records: list[dict[str, Any]]) -> list[str]:
    """Return, sorted, the samples of the version before these records that left; not those that came in between."""
    left, came = set[str](), set[str]()
    for record in records:
        left |= {str(uid) for uid in record.get("left", [])} - came
        came |= {str(uid) for uid in record.get("came", [])} - left
    return sorted(left)


def _log(opened: Opened, checkpoint: str) -> Exposure | None:
    """Return a checkpoint's log as the run keeps it; one that lies elsewhere is not read."""
    if not checkpoint.isalnum():
        return None
    folder = opened.place.path / EXPOSURES
    path = folder / f"{checkpoint}.parquet"
    if not path.is_file() or not within(path, opened.place.path):
        return None
    if path.stat().st_size > _LOG_BYTES:
        raise BadInput("the log is too large for a page; assay lineage reads it")
    return load_exposure(folder, path.name)


def _seen(log: Exposure, left: list[str]) -> tuple[int, int, list[str]]:
    """Return how many of the samples the log counts, how often together, and a few of them."""
    if not left:
        return 0, 0, []
    wanted = {(int(high), int(low)): uid for (high, low), uid in zip(uid_words(left, "left"), left, strict=True)}
    times: dict[str, int] = {}
    for name, total in log.total.items():
        words = log.views[name].words
        # one column narrows it down; pairs are compared for the few that remain
        near = np.flatnonzero(np.isin(words[:, 1], np.array([low for _, low in wanted], np.uint64)) & (total > 0))
        for row in near.tolist():
            uid = wanted.get((int(words[row, 0]), int(words[row, 1])))
            if uid is not None:
                times[uid] = times.get(uid, 0) + int(total[row])
    return len(times), sum(times.values()), sorted(times)[:5]
