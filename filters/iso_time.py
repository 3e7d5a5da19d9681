"""Reads times of ISO 8601 alike under every version of Python: before 3.11 `fromisoformat` knows few forms."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone

_TIME = re.compile(
    r"(\d{4})(-?)(\d\d)\2(\d\d)"  # day
    r"(?:[Tt ](\d\d)(?:(:?)(\d\d)(?:\6(\d\d)(?:[.,](\d{1,9}))?)?)?"  # time, nine digits of a second at most
    r"(?:([Zz])|([+-])(\d\d)(?::?(\d\d))?)?)?",  # zone
    re.ASCII,
)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def read_time(text: str) -> datetime:
    """Return a time of ISO 8601, basic or extended, cut to microseconds; without a zone it is naive.

    Raises `ValueError`. Days by week or by number in the year are not read.
    """
    found = _TIME.fullmatch(text)
    if not found:
        raise ValueError(f"{text[:50]!r} is no time of ISO 8601")
    year, _, month, day, hour, _, minute, second, fraction, utc, sign, hours, minutes = found.groups()
    zone = timezone.utc if utc else None
    if sign:
        ahead = timedelta(hours=int(hours), minutes=int(minutes or 0))
        zone = timezone(ahead if sign == "+" else -ahead)
    clock = (int(hour or 0), int(minute or 0), int(second or 0), int((fraction or "0")[:6].ljust(6, "0")))
    return datetime(int(year), int(month), int(day), *clock, tzinfo=zone)


def read_day(text: str) -> date:
    """Return a day written YYYY-MM-DD. Raises `ValueError`."""
    if not _DAY.fullmatch(text):
        raise ValueError(f"{text[:50]!r} is no day written YYYY-MM-DD")
    return date.fromisoformat(text)
