"""Another try only where it can help, and not before the host wants it."""

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.reasons import Reason
from pipelines.fetch.failures import Failure
from pipelines.fetch.retries import may_pass, retry_after, wait_before
from pipelines.run.recipe_fetch import Fetch

SETTINGS = Fetch(contact="me@example.org", retries=2, backoff_s=1, max_retry_after_s=60)
NOW = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)


def http(status: int, **headers: str) -> Failure:
    return Failure(Reason.HTTP_ERROR, "x", status, tuple((k.replace("_", "-"), v) for k, v in headers.items()))


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 408])
def test_what_may_pass_is_tried_again(status):
    assert may_pass(http(status))


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 410, 451, 501])
def test_what_stays_is_not(status):
    assert not may_pass(http(status))


@pytest.mark.parametrize(
    "reason", [r for r in Reason if r not in (Reason.HTTP_ERROR, Reason.NETWORK_ERROR, Reason.FETCH_TIMEOUT)]
)
def test_opt_outs_refusals_and_wrong_content_are_never_tried_again(reason):
    assert not may_pass(Failure(reason, "x"))


def test_waits_double_and_end():
    failure = Failure(Reason.NETWORK_ERROR, "reset")
    waits = [wait_before(attempt, failure, SETTINGS, 0.9999) for attempt in (1, 2, 3)]
    assert waits[0] == pytest.approx(1, abs=0.01)
    assert waits[1] == pytest.approx(2, abs=0.01)
    assert waits[2] is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("Sat, 21 Nov 2026 12:00:30 GMT", 30.0),
        ("Sat, 21 Nov 2020 12:00:30 GMT", 0.0),
        ("-1", None),
        ("soon", None),
        ("9" * 40, None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value, seconds):
    assert retry_after(http(503, Retry_After=value), NOW) == seconds


def test_a_retry_after_is_waited_for_up_to_the_bound():
    assert wait_before(1, http(503, Retry_After="30"), SETTINGS, 0) == 30
    assert wait_before(1, http(503, Retry_After="61"), SETTINGS, 0) is None


@given(st.text(max_size=80))
def test_any_retry_after_is_read(value):
    found = retry_after(Failure(Reason.HTTP_ERROR, "x", 503, (("Retry-After", value),)), NOW)
    assert found is None or found >= 0
