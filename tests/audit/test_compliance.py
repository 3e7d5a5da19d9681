"""The compliance check's units: what they find, and what they leave alone."""

from datetime import datetime, timedelta, timezone

import numpy as np
import pyarrow as pa

from audit.compliance import PROBLEMS, Tally, denied, evidence_lost, too_old, unlicensed
from filters.reasons import Reason
from filters.rules import mask

UIDS = pa.array(["a", "b", "c"])
KEPT = np.array([True, True, False])


def test_a_kept_sample_with_a_rights_reason_is_named_with_it():
    masks = np.array([0, mask(Reason.OPTED_OUT), mask(Reason.OPTED_OUT)], dtype=np.uint64)
    assert denied(UIDS, KEPT, masks) == ["b (OPTED_OUT)"]


def test_licences_are_compared_exactly_and_missing_ones_as_the_recipe_says():
    licences = pa.array(["CC0", " ", "other"])
    assert unlicensed(UIDS, KEPT, licences, ["CC0"], missing=False) == ["b (none)"]
    assert unlicensed(UIDS, KEPT, licences, ["CC0"], missing=True) == []
    assert unlicensed(UIDS, KEPT, pa.array(["cc0", None, None]), ["CC0"], missing=True) == ["a (cc0)"]


def test_evidence_of_kept_samples_must_be_stored():
    signals = pa.table({"uid": ["a", "a", "c"], "evidence_sha256": ["1", None, "3"]})
    assert evidence_lost(signals, pa.array(["a", "b"]), set()) == ["1"]
    assert evidence_lost(signals, pa.array(["a", "b"]), {"1"}) == []


def test_the_registry_is_too_old_after_the_stated_days():
    now = datetime(2026, 11, 21, tzinfo=timezone.utc)
    assert too_old(now - timedelta(days=30), now, 30) is None
    assert "30.5 days ago" in (too_old(now - timedelta(days=30.5), now, 30) or "")
    assert too_old(now + timedelta(hours=23), now, 30) is None
    assert "25.0 days from now" in (too_old(now + timedelta(days=25), now, 30) or "")


def test_a_tally_counts_all_and_names_a_few():
    tally = Tally()
    tally.add("EVIDENCE_LOST", [])
    tally.add("DENIED_BUT_KEPT", [f"u{i}" for i in range(4)])
    tally.add("DENIED_BUT_KEPT", [f"v{i}" for i in range(4)])
    (problem,) = tally.problems()
    assert problem.code == "DENIED_BUT_KEPT"
    assert problem.detail == f"{PROBLEMS['DENIED_BUT_KEPT']} 8 found, for example u0, u1, u2, u3, v0"
