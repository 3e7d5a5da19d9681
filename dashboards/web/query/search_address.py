"""Search by an address: of a picture, of a page, or of all that lies below one. Nothing is fetched.

Addresses are compared by the keys that opt-outs are compared by, so that what an entry would hit is found here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dashboards.web.catalogue import Opened
from dashboards.web.indexing import Part
from dashboards.web.query.search_keys import Found, found_of
from filters.errors import AssayError, BadInput
from filters.optout.entries import Kind
from filters.optout.urls import Address, domain_entry, prefix_keys, read_address
from pipelines.retraction.index import find_positions

#: How a sample answers, and the words for it. Rows keep the place in this list.
_WAYS = (("address", "the same address"), ("page", "on this page"), ("below", "below this address"))

#: What may stand in an address for letters of its host: escapes, other scripts, characters that browsers pass over.
_ODD_HOST = r"[^!-~]|^([^/\\?#%]*:)?[/\\]*[^/\\?#]*%"

#: What may stand in an address whose path has another spelling in its key: all that needs escapes, dot segments.
_ODD_PATH = r"[^A-Za-z0-9/?:@!$&'()*+,;=~._\[\]|^-]|/\."

#: SQL for: this address could answer. Quicker than to read each of a million of them.
_COULD = "(regexp_matches({0}, $2) AND (contains({0}, $3) OR regexp_matches({0}, $4)))"

#: Row of its part, url, page_url.
_Row = tuple[int, str | None, str | None]


@dataclass(frozen=True)
class AddressFound:
    """What is known of an address: samples from it or below it, and how many its domain has, all and kept.

    `host` is the one host that all of those come from, the domain itself or below it; empty where there are more.
    """

    address: Address
    found: Found
    host: str
    domain_samples: int
    domain_kept: int


def by_address(opened: Opened, text: str) -> AddressFound | None:
    """Return samples whose picture or page has this address, or lies below it; None where the text names no host."""
    address = read_address(text)
    if address is None:
        return None
    ((samples, kept, hosts, host),) = opened.reader.rows(
        "SELECT coalesce(sum(n), 0), coalesce(sum(kept), 0), count(*), min(value) FROM domains "
        "WHERE value = ? OR ends_with(value, ?)",
        [address.host, f".{address.host}"],
    )
    rows, ways = _below(opened, address)
    return AddressFound(
        address,
        found_of(opened, rows, lambda place: _WAYS[ways[place]]),
        str(host) if hosts == 1 else "",
        int(samples),
        int(kept),
    )


def _below(opened: Opened, asked: Address) -> tuple[np.ndarray, np.ndarray]:
    """Return positions int64 (n,) of the samples that answer, and how each does uint8 (n,): its place in `_WAYS`."""
    rows, ways = [np.empty(0, np.int64)], [np.empty(0, np.uint8)]
    prefix = asked.key.rstrip("/")
    if prefix != asked.host:  # of a whole site its domain tells
        for part, candidates in _candidates(opened, asked, prefix):
            found = [(row, _way(asked, prefix, url, page)) for row, url, page in candidates]
            rows.append(np.array([part.start + row for row, way in found if way is not None], np.int64))
            ways.append(np.array([way for _, way in found if way is not None], np.uint8))
    return np.concatenate(rows), np.concatenate(ways)


def _candidates(opened: Opened, asked: Address, prefix: str) -> Iterator[tuple[Part, list[_Row]]]:
    """Yield (row of its part, url, page_url) of all that could answer, part by part: memory is that of a part.

    An address that could not stands as None. The run's own index says which rows it is; where it has none, all are
    looked at in which host and path may stand.
    """
    positions, could = _positions(opened, asked, prefix), _could_answer(asked, prefix)
    for part in opened.parts:
        test, values = "true", could
        if positions is not None:
            low, high = np.searchsorted(positions, [part.start, part.start + part.rows])
            if low == high:
                continue
            places = (positions[low:high] - part.start).tolist()
            test, values = "file_row_number IN (SELECT unnest($5::BIGINT[]))", [*could, places]
        path = opened.file("samples", part)
        if path is not None:
            yield (
                part,
                opened.reader.rows(
                    "SELECT * FROM (SELECT file_row_number, "
                    f"CASE WHEN {_COULD.format('url')} THEN url END AS url, "
                    f"CASE WHEN {_COULD.format('page_url')} THEN page_url END AS page_url "
                    f"FROM read_parquet($1, file_row_number=true) WHERE {test}) "
                    "WHERE url IS NOT NULL OR page_url IS NOT NULL ORDER BY 1",
                    [path, *values],
                ),
            )


def _positions(opened: Opened, asked: Address, prefix: str) -> np.ndarray | None:
    """Return positions int64 (n,) that the run's index has for the address; None where it has no index to read."""
    if not opened.run.parts("index"):
        return None  # made when a run is finished
    try:
        return find_positions(opened.run, (f"{Kind.URL.value}:{asked.key}", f"{Kind.URL_PREFIX.value}:{prefix}"))
    except (AssayError, OSError):
        return None


def _could_answer(asked: Address, prefix: str) -> list[object]:
    """Return the values of `_COULD`: it lets all through that answer, and those that may be spelt in another way."""
    host = asked.host
    # an IP address has too many spellings
    is_address = host.startswith("[") or host.rpartition(".")[2].isdigit()
    path = prefix.partition("://")[2] or prefix
    return ["" if is_address else f"(?i){re.escape(host)}|{_ODD_HOST}", path.partition("/")[2], _ODD_PATH]


def _way(asked: Address, prefix: str, url: str | None, page: str | None) -> int | None:
    """Return the place in `_WAYS` of how a sample answers; None where it does not."""
    for text, same in ((url, 0), (page, 1)):
        found = read_address(text) if text else None
        if found is None or not found.key.startswith(prefix):
            continue
        if found.key == asked.key:
            return same
        if prefix in prefix_keys(found.key):
            return 2
    return None


def domain_of(host: str) -> str | None:
    """Return the domain that a registry's entry could name; None for a public suffix."""
    try:
        return domain_entry(host)
    except BadInput:
        return None
