"""Each origin's robots.txt, tdmrep.json, ai.txt and licences: asked for once, kept as RFC 9309 allows.

What an answer means (RFC 9309 §2.3.1): 2xx is the document, 4xx says there is none, anything else is no
answer, and then nothing may be fetched. On the careful side of that text: 429 is a host that wants to be
left alone and not one without a policy, and neither is a chain of more than five redirects.
"""

from __future__ import annotations

import asyncio
import random
import time
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import partial

from yarl import URL

from filters.optout.base import Document, Fetched
from filters.optout.host_policy import HostPolicy
from filters.reasons import Reason
from pipelines.fetch.client import Answer, Bounds, Client, remaining
from pipelines.fetch.evidence import EvidenceStore, Policy
from pipelines.fetch.failures import Failure
from pipelines.fetch.judge import Judge
from pipelines.fetch.politeness import Hosts
from pipelines.fetch.retries import wait_before
from pipelines.run.recipe_fetch import Fetch

#: Place of each document in its origin, and bytes that are read of it.
PLACES = {
    "robots": ("/robots.txt", 2 << 20),
    "tdmrep": ("/.well-known/tdmrep.json", 1 << 20),
    "ai_txt": ("/ai.txt", 1 << 20),
}
_LICENCE_BYTES = 1 << 20

#: Licence documents that stay in memory.
_LICENCES = 50

#: RFC 9309 §2.3.1.2: at least five.
_REDIRECTS = 5

#: Bytes of documents whose compiled policies stay in memory, and what one origin counts at least.
_IN_MEMORY = 32 << 20
_ORIGIN = 10_000

#: Bytes of documents from which on they are compiled beside the loop.
_LONG = 50_000


@dataclass(frozen=True)
class Policies:
    """What one origin says: its documents, and all of them compiled."""

    documents: tuple[Policy, ...]
    compiled: HostPolicy
    #: Why robots.txt could not be had, where the host could not even be reached; None for a live host.
    dead: Failure | None = None


class PolicyCache:
    """The policies of all origins of one loop. One request a document, however many rows wait for it."""

    def __init__(self, client: Client, hosts: Hosts, judge: Judge, evidence: EvidenceStore, settings: Fetch) -> None:
        self._client, self._hosts, self._judge = client, hosts, judge
        self._evidence, self._settings = evidence, settings
        self._most = timedelta(hours=settings.policy_hours)
        self._running: dict[tuple[str, bool], asyncio.Task[Policies]] = {}
        #: By origin: until when they may be used (monotonic), their size, and they.
        self._kept: OrderedDict[tuple[str, bool], tuple[float, int, Policies]] = OrderedDict()
        self._bytes = 0
        self._licences: OrderedDict[str, asyncio.Task[Policy]] = OrderedDict()

    async def of(self, url: URL, whole: bool) -> Policies:
        """Return the policies of the URL's origin: robots.txt alone, or all documents (`whole`)."""
        key = (str(url.origin()), whole)
        kept = self._kept.get(key)
        if kept is not None and time.monotonic() < kept[0]:
            self._kept.move_to_end(key)
            return kept[2]
        task = self._running.get(key)
        if task is None:
            task = asyncio.ensure_future(self._all(url.origin()) if whole else self._robots(url.origin()))
            self._running[key] = task
            task.add_done_callback(lambda done: self._keep(key, done))
        return await asyncio.shield(task)

    def _keep(self, key: tuple[str, bool], task: asyncio.Task[Policies]) -> None:
        self._running.pop(key, None)
        if task.cancelled() or task.exception() is not None:
            return
        found = task.result()
        size = _ORIGIN + sum(len(policy.document.body) for policy in found.documents)
        old = self._kept.pop(key, None)
        self._kept[key] = (time.monotonic() + self._fresh_for(found), size, found)
        self._bytes += size - (old[1] if old else 0)
        while self._bytes > _IN_MEMORY and len(self._kept) > 1:
            _, (_, dropped, _) = self._kept.popitem(last=False)
            self._bytes -= dropped

    def _fresh_for(self, found: Policies) -> float:
        """Return the seconds for which policies may still be used: by the oldest document, one minute at least."""
        now = datetime.now(timezone.utc)
        times = [policy.document.fetched_at or now for policy in found.documents]
        return max((min(times) + self._most - now).total_seconds(), 60.0)

    async def _robots(self, origin: URL) -> Policies:
        robots, dead = await self._document("robots", origin)
        compiled = await self._compiled(origin, robots.document)
        self._hosts.slow_down(origin.host or "", compiled.crawl_delay or 0.0)
        return Policies((robots,), compiled, dead)

    async def _all(self, origin: URL) -> Policies:
        first = await self.of(origin, whole=False)
        robots = first.documents[0]
        (tdmrep, _), (ai_txt, _) = await asyncio.gather(
            self._document("tdmrep", origin), self._document("ai_txt", origin)
        )
        rsl = await self.licences(first.compiled.rsl_urls)
        documents = (robots, tdmrep, ai_txt, *rsl)
        if not rsl and tdmrep.document.state is ai_txt.document.state is Fetched.ABSENT:
            # nothing was added to robots.txt, and compiling a long one takes its time
            return Policies(documents, first.compiled)
        licences = [policy.document for policy in rsl]
        compiled = await self._compiled(origin, robots.document, tdmrep.document, ai_txt.document, licences)
        return Policies(documents, compiled)

    async def _compiled(
        self,
        origin: URL,
        robots: Document,
        tdmrep: Document | None = None,
        ai_txt: Document | None = None,
        rsl: Sequence[Document] = (),
    ) -> HostPolicy:
        compiled = partial(self._judge.policy, origin, robots, tdmrep, ai_txt, rsl)
        if sum(len(document.body) for document in (robots, tdmrep, ai_txt, *rsl) if document) < _LONG:
            return compiled()
        # seconds for a hostile one: in a thread, so that the loop goes on
        return await asyncio.get_running_loop().run_in_executor(None, compiled)

    async def licences(self, places: Sequence[str]) -> list[Policy]:
        """Return the licence documents at some addresses, each asked for once however many hosts name it."""
        return [await self._licence(place) for place in places]

    async def _document(self, kind: str, origin: URL) -> tuple[Policy, Failure | None]:
        place, limit = PLACES[kind]
        return await self.fetch(kind, origin.with_path(place), limit)

    async def _licence(self, place: str) -> Policy:
        task = self._licences.get(place)
        if task is None:
            task = self._licences[place] = asyncio.ensure_future(self._fetch_licence(place))
            if len(self._licences) > _LICENCES:
                self._licences.popitem(last=False)
        return await asyncio.shield(task)

    async def _fetch_licence(self, place: str) -> Policy:
        try:
            url = self._client.checked(place)
        except Failure as failure:
            return Policy("rsl", Document(place, state=Fetched.UNREACHABLE), failure.detail)
        found, _ = await self.fetch("rsl", url, _LICENCE_BYTES)
        # known by the address that names it
        return replace(found, document=replace(found.document, url=place))

    async def fetch(self, kind: str, url: URL, limit: int) -> tuple[Policy, Failure | None]:
        """Return a document, from disk while it is fresh; and the failure where the host cannot be reached."""
        loop = asyncio.get_running_loop()
        kept = await loop.run_in_executor(None, self._evidence.recall, kind, str(url), self._most)
        if kept is not None:
            return kept, None
        dead = None
        try:
            document = _read(str(url), await self._ask(url, limit, _REDIRECTS), limit)
            policy = Policy(kind, document)
        except Failure as failure:
            now = datetime.now(timezone.utc)
            policy = Policy(
                kind, Document(str(url), b"", Fetched.UNREACHABLE, now, failure.http_status), failure.detail
            )
            dead = failure if not failure.reached else None
        await self._save(policy)
        return policy, dead

    async def _save(self, policy: Policy) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self._evidence.keep, policy)

    async def _ask(self, url: URL, limit: int, redirects: int) -> Answer:
        """Return the final answer for a document. Raises `Failure` where there is none that says anything."""
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._follow(url, limit, redirects)
            except Failure as failure:
                wait = wait_before(attempt, failure, self._settings, random.random())
                if wait is None:
                    raise
                await asyncio.sleep(wait)

    async def _follow(self, url: URL, limit: int, redirects: int) -> Answer:
        left = self._settings.policy_deadline_s
        for hop in range(redirects + 1):
            host = url.host or ""
            async with self._hosts.turn(host):
                start = time.monotonic()
                try:
                    answer = await self._client.get(url, Bounds(limit, remaining(start + left), cut=True))
                except Failure as failure:
                    self._hosts.note(host, failure)
                    # whatever a redirect leads to, the origin itself has answered
                    failure.reached = failure.reached or hop > 0
                    raise
                self._hosts.note(host, None)
                left -= time.monotonic() - start
            place = answer.redirect()
            if place is None:
                return _sayable(answer)
            url = self._client.checked(str(place))
        raise Failure(Reason.HTTP_ERROR, f"more than {redirects} redirects")


def _sayable(answer: Answer) -> Answer:
    """Return an answer that says something about the document. Raises `Failure` for one that does not."""
    if 200 <= answer.status < 300 or (400 <= answer.status < 500 and answer.status != 429):
        return answer
    raise Failure(Reason.HTTP_ERROR, f"HTTP status {answer.status}", answer.status, answer.headers)


def _read(url: str, answer: Answer, limit: int) -> Document:
    now = datetime.now(timezone.utc)
    if answer.status >= 400:
        return Document(url, b"", Fetched.ABSENT, now, answer.status)
    answer.body.seek(0)
    body = _decoded(answer.body.read(), answer, limit)
    return Document(url, body, Fetched.FOUND, now, answer.status)


def _decoded(body: bytes, answer: Answer, limit: int) -> bytes:
    """Undo a compression that was not asked for, up to the limit. Raises `Failure` where it cannot be read."""
    coding = (answer.header("content-encoding") or "identity").strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise Failure(Reason.HTTP_ERROR, f"content encoding {coding[:40]!r} was not asked for", answer.status)
    reader = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        text = reader.decompress(body, limit)
    except zlib.error as error:
        raise Failure(Reason.NETWORK_ERROR, f"content encoding {coding}: {error}", answer.status) from None
    if not reader.eof and len(text) < limit and not answer.cut:
        raise Failure(Reason.NETWORK_ERROR, f"content encoding {coding}: cut off", answer.status)
    return text
