"""Counts come from the ledger, and a row that is lost or counted twice shows."""

import numpy as np
import pyarrow as pa

from audit.counts import count, funnel
from filters.reasons import Reason
from filters.rules import mask
from pipelines.jobs.decide import ledger_table
from pipelines.jobs.dedup_choice import Evidence


def ledger(*reasons):
    masks = np.array([mask(*found) for found in reasons], dtype=np.uint64)
    nobody = np.full(len(masks), -1)
    uids = pa.table({"uid": [f"{i:032x}" for i in range(len(masks))]})
    groups = np.array([None] * len(masks), dtype=object)
    shards = np.zeros(len(masks), dtype=np.int64)
    return ledger_table(uids, masks, nobody, Evidence.none(len(masks)), nobody, groups, shards)


def test_a_sample_with_several_reasons_counts_once_by_the_first():
    counts = count([ledger([], [Reason.NSFW, Reason.LICENCE_MISSING]), ledger([Reason.NSFW], [])], samples=4)
    assert (counts.kept, counts.dropped) == (2, {"LICENCE_MISSING": 1, "NSFW": 1})
    assert counts.balanced
    assert [(step.reason, step.left) for step in funnel(counts)] == [("LICENCE_MISSING", 3), ("NSFW", 2)]


def test_a_lost_row_and_a_row_without_reason_do_not_balance():
    whole = ledger([], [Reason.NSFW])
    assert not count([whole.slice(0, 1)], samples=2).balanced
    blank = whole.set_column(2, whole.schema.field(2), pa.array([None, None], whole.schema.field(2).type))
    assert not count([blank], samples=2).balanced


def test_nothing_counts_as_nothing():
    counts = count([], samples=0)
    assert (counts.samples, counts.kept, counts.balanced, funnel(counts)) == (0, 0, True, [])
