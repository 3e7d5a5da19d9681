"""When another try makes sense, and how long to wait before it."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from filters.reasons import Reason
from pipelines.fetch.failures import Failure
from pipelines.run.recipe_fetch import Fetch

#: Statuses that may pass: request timeout, too early, too many requests, server errors (RFC 9110 §15, RFC 6585 §4).
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 507, 509, 520, 521, 522, 523, 524, 527, 529, 530})


def may_pass(failure: Failure) -> bool:
    """Tell whether the same request may succeed later: never for refusals, 404, opt-outs or wrong content."""
    if failure.final:
        return False
    if failure.reason is Reason.HTTP_ERROR:
        return failure.http_status in PASSING
    return failure.reason in (Reason.NETWORK_ERROR, Reason.FETCH_TIMEOUT)


def wait_before(attempt: int, failure: Failure, settings: Fetch, draw: float) -> float | None:
    """Return the seconds to wait after try number `attempt` (from 1), None where it was the last.

    Exponential backoff; `draw` in [0, 1) spreads it over half to all of its length, so that rows that failed
    together do not come back together. A Retry-After that is longer counts instead; one beyond the recipe's
    bound ends the tries.
    """
    if attempt > settings.retries or not may_pass(failure):
        return None
    backoff: float = settings.backoff_s * 2 ** (attempt - 1) * (0.5 + 0.5 * draw)
    asked = retry_after(failure, datetime.now(timezone.utc))
    if asked is None:
        return backoff
    return None if asked > settings.max_retry_after_s else max(backoff, asked)


def retry_after(failure: Failure, now: datetime) -> float | None:
    """Return the seconds of the answer's Retry-After (RFC 9110 §10.2.3), None where it has none to understand."""
    text = next((value for name, value in failure.headers if name.lower() == "retry-after"), "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        when = parsedate_to_datetime(text[:64])
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=timezone.utc)
    return max(0.0, (when - now).total_seconds())
