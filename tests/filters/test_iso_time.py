"""Times of ISO 8601 are read alike by every version of Python."""

from datetime import date, datetime, timedelta, timezone

import pytest

from filters.iso_time import read_day, read_time

UTC = timezone.utc


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2020-01-31", datetime(2020, 1, 31)),
        ("20200131", datetime(2020, 1, 31)),
        ("2020-01-31T12:30:05Z", datetime(2020, 1, 31, 12, 30, 5, tzinfo=UTC)),
        ("20200131t123005z", datetime(2020, 1, 31, 12, 30, 5, tzinfo=UTC)),
        ("2020-01-31 12:30", datetime(2020, 1, 31, 12, 30)),
        ("2020-01-31T12:30:05.5Z", datetime(2020, 1, 31, 12, 30, 5, 500_000, tzinfo=UTC)),
        ("2020-01-31T12:30:05,123456789+0000", datetime(2020, 1, 31, 12, 30, 5, 123_456, tzinfo=UTC)),
        ("2020-01-31T12+02", datetime(2020, 1, 31, 12, tzinfo=timezone(timedelta(hours=2)))),
        ("2020-01-31T12:30-03:30", datetime(2020, 1, 31, 12, 30, tzinfo=timezone(-timedelta(hours=3, minutes=30)))),
    ],
)
def test_basic_and_extended_times_are_read(text, time):
    found = read_time(text)
    assert (found, found.tzinfo is None) == (time, time.tzinfo is None)


@pytest.mark.parametrize(
    "text",
    [
        *("", "2020", "2020-0131", "2020-W05-5", "2020-13-01", "2020-02-30", "2020-01-31T25:00", "2020-01-31T12:3005"),
        *("2020-01-31T12:30:05.Z", "2020-01-31T12:30+99:00", "2020-01-31\n", "٢٠٢٠-01-31", "0000-01-01"),
        "2020-01-31Z",
    ],
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011
        read_time(text)


def test_days_are_written_in_one_way():
    assert read_day("2020-02-29") == date(2020, 2, 29)
    for text in ("20200229", "2020-W05-6", "2021-02-29", "2020-02-29T00:00"):
        with pytest.raises(ValueError):  # noqa: PT011
            read_day(text)
