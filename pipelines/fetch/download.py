"""One row of a list: ask its hosts' policies, then for the picture, and tell what came of it.

Nothing is requested that a policy document forbids, redirects included; and nothing of a body is read where
the header forbids it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import IO

from yarl import URL

from filters.headers import sniff
from filters.optout.base import Document, Evidence, Fetched, Headers, Signal, Verdict
from filters.optout.hash_lists import HarmfulHashes
from filters.reasons import Reason
from pipelines.fetch.client import Answer, Bounds, Client
from pipelines.fetch.evidence import EvidenceStore, Policy, policy_of
from pipelines.fetch.failures import BY_REGISTRY, STATUS, Failure
from pipelines.fetch.judge import Judge
from pipelines.fetch.policy_cache import Policies, PolicyCache
from pipelines.fetch.politeness import Hosts
from pipelines.fetch.retries import wait_before
from pipelines.run.recipe_fetch import Fetch

_ACCEPT = "image/avif,image/webp,image/png,image/jpeg,image/gif,image/tiff,image/bmp,*/*;q=0.1"
_ACCEPT_PAGE = "text/html,application/xhtml+xml,*/*;q=0.1"
_PAGE_BYTES = 1 << 20

#: Pages whose signals stay in memory.
_PAGES = 10_000


@dataclass
class _Trail:
    """What is gathered on the way to a picture."""

    url: str = ""
    status: int | None = None
    headers: Headers = ()
    fetched_at: datetime | None = None
    signals: list[Signal] = field(default_factory=list)
    policies: list[dict[str, object]] = field(default_factory=list)

    def add(self, signals: Sequence[Signal]) -> None:
        self.signals.extend(signal for signal in signals if signal not in self.signals)

    def rely_on(self, policies: Sequence[Policy]) -> None:
        # facts only: the bodies of many hosts would not fit in memory
        self.policies.extend(policy.facts for policy in policies if policy.facts not in self.policies)


@dataclass(frozen=True)
class _Page:
    """A page as it was fetched, without its body; `signals` are those that do not depend on a picture."""

    facts: dict[str, object]
    signals: tuple[Signal, ...] = ()
    headers: Headers = ()
    fetched_at: datetime | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of one row. `body` is the picture's bytes, to be closed by the receiver; None without one."""

    reason: Reason | None
    detail: str | None
    final_url: str | None
    http_status: int | None
    attempts: int
    headers: Headers
    fetched_at: datetime | None
    signals: tuple[Signal, ...]
    policies: tuple[dict[str, object], ...]
    body: IO[bytes] | None = None
    nbytes: int = 0
    sha256: str | None = None

    @property
    def status(self) -> str:
        """Return the class of the outcome."""
        return STATUS[self.reason]


class Downloader:
    """Fetches rows within one loop."""

    def __init__(
        self,
        client: Client,
        hosts: Hosts,
        cache: PolicyCache,
        judge: Judge,
        evidence: EvidenceStore,
        settings: Fetch,
        max_bytes: int,
        harmful: HarmfulHashes | None = None,
        named: Callable[[str], Awaitable[Reason | None]] | None = None,
    ) -> None:
        """`named` gives the reason by which a registry names an address that a redirect leads to."""
        self._client, self._hosts, self._cache = client, hosts, cache
        self._judge, self._evidence, self._settings = judge, evidence, settings
        self._max_bytes = max_bytes
        self._harmful = harmful
        self._named = named
        self._pages: OrderedDict[str, asyncio.Task[_Page]] = OrderedDict()

    async def fetch(self, address: str | None, page: str | None) -> Outcome:
        """Return what came of a row, after all its tries."""
        attempt = 0
        while True:
            attempt += 1
            trail = _Trail()
            try:
                answer = await self._once(address, page, trail)
            except Failure as failure:
                wait = wait_before(attempt, failure, self._settings, random.random())
                if wait is None:
                    return _failed(failure, trail, attempt)
                if failure.http_status in (429, 503):
                    self._hosts.pause(URL(trail.url).host or "", wait)
                await asyncio.sleep(wait)
            else:
                return replace(_outcome(trail, attempt), body=answer.body, nbytes=answer.nbytes, sha256=answer.sha256)

    async def _once(self, address: str | None, page: str | None, trail: _Trail) -> Answer:
        if not address:
            raise Failure(Reason.URL_REFUSED, "no address in the row")
        url = self._client.checked(address)
        trail.url = str(url)
        if page and self._settings.pages:
            # the picture's own host first: where it says no, the page need not be asked
            await self._permit(url, trail)
            await self._read_page(page, str(url), trail)
        bounds = Bounds(self._max_bytes, self._settings.deadline_s, look=_look)
        answer = await self._follow(url, bounds, trail, _ACCEPT)
        if answer.status != 200:
            raise Failure(Reason.HTTP_ERROR, f"HTTP status {answer.status}", answer.status, answer.headers)
        try:
            await self._refuse_harmful(answer)
            signals = await self._licensed(Evidence(url=trail.url, headers=answer.headers), trail)
            self._refuse(signals, answer.status)
        except Failure:
            answer.body.close()
            raise
        return answer

    async def _refuse_harmful(self, answer: Answer) -> None:
        """Raise `Failure` for a picture on a list of known harmful ones, before anything is done with it."""
        if self._harmful is None:
            return
        answer.body.seek(0)
        data = answer.body.read()
        if await asyncio.get_running_loop().run_in_executor(None, self._harmful.matches, data):
            raise Failure(Reason.KNOWN_HARMFUL, "on a list of known harmful pictures", final=True)

    async def _licensed(self, evidence: Evidence, trail: _Trail) -> list[Signal]:
        """Fetch the licences that an answer names and return what they say."""
        places = self._judge.licence_urls(evidence)
        if not places:
            return []
        found = await self._cache.licences(places)
        trail.rely_on(found)
        signals = self._judge.licensed(replace(evidence, rsl=tuple(policy.document for policy in found)))
        trail.add(signals)
        return signals

    async def _follow(self, url: URL, bounds: Bounds, trail: _Trail, accept: str) -> Answer:
        """Return the answer at the end of the redirects, each permitted by its host before it is asked."""
        left = bounds.seconds
        for _ in range(self._settings.redirects + 1):
            await self._permit(url, trail)
            trail.url, trail.status, trail.headers = str(url), None, ()
            host = url.host or ""
            async with self._hosts.turn(host):
                if left <= 0:
                    raise Failure(Reason.FETCH_TIMEOUT, "the redirects took all the time")
                start = time.monotonic()
                hop = replace(bounds, seconds=left, heads=lambda status, fields: self._heads(status, fields, trail))
                try:
                    answer = await self._client.get(url, hop, accept)
                except Failure as failure:
                    self._hosts.note(host, failure)
                    raise
                self._hosts.note(host, None)
                left -= time.monotonic() - start
            place = answer.redirect()
            if place is None:
                return answer
            try:
                url = self._client.checked(str(place))
            except Failure as failure:
                raise Failure(
                    failure.reason, f"redirects to {str(place)[:200]}: {failure.detail}", answer.status, answer.headers
                ) from None
            await self._refuse_named(url, answer.status)
        raise Failure(Reason.HTTP_ERROR, f"more than {self._settings.redirects} redirects", answer.status, final=True)

    async def _refuse_named(self, url: URL, status: int) -> None:
        """Raise `Failure` for a redirect to what the registry names; a list's own addresses were looked up before."""
        reason = await self._named(str(url)) if self._named else None
        if reason is not None:
            detail = f"redirects to {str(url)[:200]}: named by the opt-out registry; that was not asked for"
            raise Failure(reason, detail, status, final=True)

    def _heads(self, status: int, headers: Headers, trail: _Trail) -> None:
        """Read an answer's header before its body. Raises `Failure` where it forbids the picture."""
        trail.status, trail.headers, trail.fetched_at = status, headers, datetime.now(timezone.utc)
        found = self._judge.answer(Evidence(url=trail.url, headers=headers, fetched_at=trail.fetched_at))
        trail.add(found)
        self._refuse(found, status)

    async def _permit(self, url: URL, trail: _Trail) -> None:
        """Ask the policies of the URL's host. Raises `Failure` where they forbid it."""
        robots = await self._cache.of(url, whole=False)
        self._judged(url, robots, trail)
        whole = await self._cache.of(url, whole=True)
        self._judged(url, whole, trail)

    def _judged(self, url: URL, policies: Policies, trail: _Trail) -> None:
        decision = policies.compiled.decide(str(url))
        trail.rely_on(policies.documents)
        if policies.dead is not None:
            # the host itself is out of reach, which says nothing about rights
            dead = policies.dead
            raise Failure(dead.reason, f"robots.txt: {dead.detail}", reached=False, final=True)
        trail.add(decision.signals)
        self._refuse(decision.signals, None)
        if not decision.allowed_to_fetch:
            raise Failure(Reason.OPTED_OUT, "the host's policies forbid the request", final=True)

    def _refuse(self, signals: Sequence[Signal], status: int | None) -> None:
        found = self._judge.refusal(signals)
        if found is not None and found.reason is not None:
            guilty = found.deciding[0]
            raise Failure(found.reason, f"{guilty.channel}: {guilty.detail}", status, final=True)

    async def _read_page(self, page: str, picture: str, trail: _Trail) -> None:
        """Read the reservations of the page that shows the picture. Raises `Failure` where it makes one."""
        task = self._pages.get(page)
        if task is None:
            task = asyncio.ensure_future(self._page(page))
            self._pages[page] = task
            while len(self._pages) > _PAGES:
                self._pages.popitem(last=False)
        found = await asyncio.shield(task)
        trail.policies.append(found.facts)
        signals = list(found.signals)
        if found.facts["state"] == Fetched.FOUND.value:
            # what a page says may depend on the picture's own origin
            policy = await asyncio.get_running_loop().run_in_executor(None, policy_of, found.facts, self._evidence)
            document = policy.document if policy else None
            evidence = Evidence(url=picture, page=document, page_headers=found.headers, fetched_at=found.fetched_at)
            signals += [*self._judge.answer(evidence), *await self._licensed(evidence, trail)]
        trail.add(signals)
        self._refuse(signals, None)

    async def _page(self, page: str) -> _Page:
        own = _Trail()
        try:
            url = self._client.checked(page)
            bounds = Bounds(_PAGE_BYTES, self._settings.deadline_s, cut=True)
            answer = await self._follow(url, bounds, own, _ACCEPT_PAGE)
            if answer.status == 429 or not (200 <= answer.status < 300 or 400 <= answer.status < 500):
                raise Failure(Reason.HTTP_ERROR, f"HTTP status {answer.status}", answer.status)
        except Failure as failure:
            if failure.reason in BY_REGISTRY:
                raise Failure(failure.reason, f"the page {failure.detail}", final=True) from None
            facts = self._missing(page, failure).facts
            if failure.reason is Reason.OPTED_OUT and failure.http_status is not None:
                # the page's own header reserves it: that is a statement, not a gap
                return _Page(facts, tuple(own.signals))
            return _Page(facts, (_unreadable(page, failure.detail),))
        if answer.status >= 400:
            return _Page(Policy("page", Document(page, b"", Fetched.ABSENT, own.fetched_at, answer.status)).facts)
        answer.body.seek(0)
        # the page speaks for the origin that it came from, which a redirect may have changed
        policy = Policy("page", Document(own.url, answer.body.read(), Fetched.FOUND, own.fetched_at, answer.status))
        await asyncio.get_running_loop().run_in_executor(None, self._evidence.keep, policy)
        return _Page(policy.facts, (), answer.headers, own.fetched_at)

    @staticmethod
    def _missing(page: str, failure: Failure) -> Policy:
        now = datetime.now(timezone.utc)
        return Policy("page", Document(page, b"", Fetched.UNREACHABLE, now, failure.http_status), failure.detail)


def _unreadable(page: str, detail: str) -> Signal:
    why = f"the page that shows the picture could not be read: {detail}"
    return Signal("page", Verdict.UNKNOWN, "", "Assay page check", page, why, None, datetime.now(timezone.utc), True)


def _look(first: bytes) -> None:
    if not first:
        raise Failure(Reason.EMPTY_IMAGE, "zero bytes")
    if sniff(first) is None:
        raise Failure(Reason.NOT_A_PICTURE, f"the bytes begin with {first[:16]!r}")


def _outcome(trail: _Trail, attempts: int) -> Outcome:
    return Outcome(
        reason=None,
        detail=None,
        final_url=trail.url or None,
        http_status=trail.status,
        attempts=attempts,
        headers=trail.headers,
        fetched_at=trail.fetched_at,
        signals=tuple(trail.signals),
        policies=tuple(trail.policies),
    )


def _failed(failure: Failure, trail: _Trail, attempts: int) -> Outcome:
    if failure.reason is Reason.KNOWN_HARMFUL:
        trail = _Trail()  # nothing of it is kept
    status = trail.status if failure.http_status is None else failure.http_status
    return replace(_outcome(trail, attempts), reason=failure.reason, detail=failure.detail, http_status=status)
