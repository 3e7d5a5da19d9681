"""The review queue keeps who said what when, and the latest word counts."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from filters.errors import BadInput
from pipelines.registry.reviews import Judgement, Pair, judge, queue, reviews, verdicts

AT = datetime(2026, 11, 21, tzinfo=timezone.utc)


def test_a_queued_pair_waits_for_its_verdict(registry):
    queue(registry, [Pair(1, "a" * 64, "u" * 32, 0.93), Pair(2, "a" * 64, "u" * 32, 0.91)], AT)
    judge(registry, 1, Judgement.SAME, "Ana", "signature visible", AT)
    first, second = reviews(registry)
    assert (first.verdict, first.reviewer, first.note, first.decided_at) == (
        *(Judgement.SAME, "Ana", "signature visible", AT),
    )
    assert second.verdict is None
    assert second.queued_at == AT
    assert [item.id for item in reviews(registry, pending_only=True)] == [2]


def test_the_latest_verdict_counts_and_the_earlier_stays_on_record(registry):
    queue(registry, [Pair(1, "a" * 64, "u" * 32, 0.93)], AT)
    judge(registry, 1, Judgement.SAME, "Ana", at=AT)
    judge(registry, 1, Judgement.DIFFERENT, "Bo", at=AT + timedelta(days=1))
    assert verdicts(registry, AT) == {(1, "a" * 64): Judgement.SAME}
    assert verdicts(registry, AT + timedelta(days=1)) == {(1, "a" * 64): Judgement.DIFFERENT}
    assert len(registry.database.rows("SELECT 1 FROM optout_verdicts")) == 2
    with pytest.raises(BadInput, match="append-only"):
        registry.database.rows("DELETE FROM optout_verdicts")


def test_long_queues_are_read_in_pages(registry, monkeypatch):
    monkeypatch.setattr("pipelines.registry.reviews._PAGE", 3)
    queue(registry, [Pair(1, f"{at:064x}", "u" * 32, 0.92) for at in range(10)])
    judge(registry, 4, Judgement.SAME, "Ana")
    assert [item.id for item in reviews(registry)] == list(range(1, 11))
    assert [item.id for item in reviews(registry, pending_only=True)] == [1, 2, 3, 5, 6, 7, 8, 9, 10]


@pytest.mark.parametrize(("number", "reviewer"), [(1, ""), (1, "A\x00na"), (2, "Ana"), (1, "A" * 5000)])
def test_a_verdict_names_a_pair_and_a_person(registry, number, reviewer):
    queue(registry, [Pair(1, "a" * 64, "u" * 32, 0.93)])
    with pytest.raises(BadInput):
        judge(registry, number, Judgement.SAME, reviewer)
    assert verdicts(registry, datetime.now(timezone.utc)) == {}
