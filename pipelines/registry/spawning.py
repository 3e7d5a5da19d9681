"""Spawning's Do-Not-Train registry as an optional source: URLs are asked about, answers are cached with their date.

The protocol is that of the opts API v2 as the `datadiligence` package speaks it: POST of at most 10,000 URLs, one a
line, as text/plain with `Authorization: API KEY`; the answer is `{"urls": [{"url": …, "optOut": true|false}]}`.
The registry is about addresses, not pictures. What it does not answer is unknown, never allowed.
"""

from __future__ import annotations

import json
import os
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from filters import environment
from filters.errors import BadInput, first_line
from filters.optout.entries import Draft, Kind, read_stamp, stamp

#: Where the public service answers.
ENDPOINT = "https://opts-api.spawningaiapi.com/api/v2/query/urls/"

#: Most URLs of one call, by the service's rule; fewer where their text is long.
MAX_URLS = 10_000
_MAX_BODY = 8 << 20
_MAX_ANSWER = 64 << 20
_TIMEOUT = 60.0


@dataclass(frozen=True)
class Answer:
    """What the registry said about one URL, and when: `opt_out` is None where it said nothing."""

    url: str
    opt_out: bool | None
    at: datetime


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another host."""

    def redirect_request(self, *details: Any, **more: Any) -> None:
        """Follow none."""


class SpawningClient:
    """Asks about URLs, from the cache file where its answer is younger than `max_age`.

    The cache is a SQLite file of answers with their time; delete it to ask anew.
    """

    def __init__(
        self, key: str, cache: Path, endpoint: str = ENDPOINT, max_age: timedelta = timedelta(days=7)
    ) -> None:
        """Open or make the cache. Raises `BadInput` for an endpoint that would show the key to the network."""
        parts = urlsplit(endpoint)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1")):
            raise BadInput(f"{endpoint}: the key is sent over https only")
        if not key or not key.isascii() or not key.isprintable():
            raise BadInput(f"no key for the Spawning API; put it into {environment.SPAWNING_KEY}")
        self._key = key
        self._endpoint = endpoint
        self._max_age = max_age
        self._path = cache
        self._opener = urllib.request.build_opener(_NoRedirect)
        try:
            self._cache = sqlite3.connect(cache, timeout=60)
            with self._cache:
                self._cache.execute(
                    "CREATE TABLE IF NOT EXISTS answers "
                    "(url TEXT PRIMARY KEY, opt_out INTEGER NOT NULL, at TEXT NOT NULL) WITHOUT ROWID"
                )
        except sqlite3.Error as error:
            raise BadInput(f"{cache}: no usable cache ({first_line(error)})") from None

    def close(self) -> None:
        """Close the cache."""
        self._cache.close()

    def ask(self, urls: Iterable[str], now: datetime | None = None) -> Iterator[Answer]:
        """Yield one answer a URL, in order. Raises `BadInput` where the service cannot be asked.

        Answers that came before a failure are in the cache: asking again goes on there.
        """
        at = now or datetime.now(timezone.utc)
        source = iter(urls)
        while some := list(islice(source, MAX_URLS)):
            known = self._known(some, at)
            for part in _calls([url for url in dict.fromkeys(some) if url not in known]):
                known |= self._remember({url: Answer(url, said, at) for url, said in self._post(part).items()})
            for url in some:
                yield known.get(url, Answer(url, None, at))

    def drafts(self, urls: Iterable[str], now: datetime | None = None) -> Iterator[Draft]:
        """Yield a registry entry for each URL that is opted out."""
        for answer in self.ask(urls, now):
            if answer.opt_out:
                note = f"answered {stamp(answer.at)} by {self._endpoint}"
                yield Draft(Kind.URL, answer.url, (), "Spawning Do-Not-Train", "Spawning opts API v2", note)

    def _known(self, urls: list[str], at: datetime) -> dict[str, Answer]:
        oldest = stamp(at - self._max_age)
        known = {}
        try:
            for start in range(0, len(urls), 500):
                part = urls[start : start + 500]
                marks = ", ".join("?" for _ in part)
                sql = f"SELECT url, opt_out, at FROM answers WHERE at > ? AND url IN ({marks})"
                for url, said, when in self._cache.execute(sql, [oldest, *part]):
                    known[url] = Answer(url, bool(said), read_stamp(when))
        except sqlite3.Error as error:
            raise BadInput(f"{self._path}: no usable cache ({first_line(error)})") from None
        return known

    def _remember(self, answers: dict[str, Answer]) -> dict[str, Answer]:
        rows = [(a.url, int(a.opt_out), stamp(a.at)) for a in answers.values() if a.opt_out is not None]
        try:
            with self._cache:
                self._cache.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", rows)
        except sqlite3.Error as error:
            raise BadInput(f"{self._path}: no usable cache ({first_line(error)})") from None
        return answers

    def _post(self, urls: list[str]) -> dict[str, bool]:
        request = urllib.request.Request(
            self._endpoint,
            "\n".join(urls).encode(),
            {"Authorization": f"API {self._key}", "Content-Type": "text/plain", "Accept": "application/json"},
            method="POST",
        )
        try:
            with self._opener.open(request, timeout=_TIMEOUT) as response:
                body = response.read(_MAX_ANSWER + 1)
        except urllib.error.HTTPError as error:
            error.close()
            raise BadInput(f"{self._endpoint}: answered {error.code}; {_advice(error.code)}") from None
        except (urllib.error.URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise BadInput(
                f"{self._endpoint}: no answer ({str(reason)[:200]}); what came before is in the cache"
            ) from None
        if len(body) > _MAX_ANSWER:
            raise BadInput(f"{self._endpoint}: the answer is larger than {_MAX_ANSWER >> 20} MiB")
        return self._parsed(body, set(urls))

    def _parsed(self, body: bytes, asked: set[str]) -> dict[str, bool]:
        """Return what the answer says about the URLs that were asked; an opt-out wins over its contrary."""
        try:
            rows = json.loads(body)["urls"]
            pairs = [(row["url"], row["optOut"]) for row in rows]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise BadInput(f"{self._endpoint}: the answer is not of the documented form") from None
        found: dict[str, bool] = {}
        for url, said in pairs:
            if isinstance(url, str) and isinstance(said, bool) and url in asked:
                found[url] = said or found.get(url, False)
        return found


def opted_out(file: Path, cache: Path, endpoint: str | None = None) -> list[Draft]:
    """Return entries for the URLs of a text file (one a line) that are opted out; the key is in `SPAWNING_OPTS_KEY`.

    Raises `BadInput` for a file that cannot be read, and as `SpawningClient` does.
    """
    client = SpawningClient(os.environ.get(environment.SPAWNING_KEY, ""), cache, endpoint or ENDPOINT)
    try:
        with file.open(encoding="utf-8-sig") as stream:
            return list(client.drafts(line.strip() for line in stream if line.strip()))
    except UnicodeDecodeError:
        raise BadInput(f"{file}: is not UTF-8 text") from None
    except OSError as error:
        raise BadInput(f"{file}: cannot be read ({error.strerror})") from None
    finally:
        client.close()


def _calls(urls: list[str]) -> Iterator[list[str]]:
    """Cut URLs into calls. One with a line break in it would be two to the service: it is not asked about."""
    part: list[str] = []
    size = 0
    for url in urls:
        if not url or url.splitlines() != [url] or len(url) > _MAX_BODY:
            continue
        if len(part) >= MAX_URLS or size + 4 * len(url) > _MAX_BODY:
            yield part
            part, size = [], 0
        part.append(url)
        size += 4 * len(url)
    if part:
        yield part


def _advice(code: int) -> str:
    if code in (401, 403):
        return f"check the key in {environment.SPAWNING_KEY}"
    return "try again later; what came before is in the cache" if code == 429 or code >= 500 else "nothing was read"
