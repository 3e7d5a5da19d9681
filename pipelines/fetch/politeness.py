"""Whose turn it is: few requests at once to a host, a pause between them, and no host in another's way.

A row that waits for its host holds no connection, so a slow host costs the others nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from filters.reasons import Reason
from pipelines.fetch.failures import Failure
from pipelines.run.recipe_fetch import Fetch


@dataclass
class _Host:
    places: asyncio.Semaphore
    gate: asyncio.Lock = field(default_factory=asyncio.Lock)
    delay: float = 0.0
    #: Loop time before which no request may start.
    free_at: float = 0.0
    dead_tries: int = 0
    last_detail: str = ""


class Hosts:
    """Turns for all hosts of one loop."""

    def __init__(self, settings: Fetch) -> None:
        self._settings = settings
        self._hosts: dict[str, _Host] = {}
        self._slots = asyncio.Semaphore(settings.connections)
        #: Requests that run or could run but for the limit on connections.
        self.busy = 0

    @asynccontextmanager
    async def turn(self, host: str) -> AsyncIterator[None]:
        """Hold a place at `host` and a connection for the block. Raises `Failure` for a host given up."""
        state = self._state(host)
        async with state.places:
            self._refuse_dead(host, state)
            async with state.gate:
                await self._until_free(state)
                self._refuse_dead(host, state)
                self.busy += 1
                try:
                    await self._slots.acquire()
                except BaseException:
                    self.busy -= 1
                    raise
                state.free_at = asyncio.get_running_loop().time() + state.delay
            try:
                yield
            finally:
                self._slots.release()
                self.busy -= 1

    def slow_down(self, host: str, delay: float) -> None:
        """Obey a Crawl-delay in seconds, up to the recipe's bound: one request at a time, that far apart."""
        state = self._state(host)
        if delay > 0 and delay > state.delay:
            state.delay = min(delay, max(self._settings.max_crawl_delay_s, self._settings.delay_s))
            state.places = asyncio.Semaphore(1)

    def pause(self, host: str, seconds: float) -> None:
        """Start no request to `host` for some seconds; it asked for a rest."""
        state = self._state(host)
        state.free_at = max(state.free_at, asyncio.get_running_loop().time() + seconds)

    def note(self, host: str, failure: Failure | None) -> None:
        """Count tries that a host left without an answer in time; any answer starts the count anew."""
        state = self._state(host)
        if failure is None or (failure.reached and failure.reason is not Reason.FETCH_TIMEOUT):
            state.dead_tries = 0
        elif failure.reason in (Reason.NETWORK_ERROR, Reason.FETCH_TIMEOUT):
            state.dead_tries += 1
            state.last_detail = failure.detail

    def _state(self, host: str) -> _Host:
        state = self._hosts.get(host)
        if state is None:
            state = _Host(asyncio.Semaphore(self._settings.per_host), delay=self._settings.delay_s)
            self._hosts[host] = state
        return state

    def _refuse_dead(self, host: str, state: _Host) -> None:
        if state.dead_tries >= self._settings.give_up_after:
            detail = f"{host} gave no answer {state.dead_tries} times in a row ({state.last_detail}); not asked again"
            raise Failure(Reason.NETWORK_ERROR, detail, reached=False, final=True)

    @staticmethod
    async def _until_free(state: _Host) -> None:
        loop = asyncio.get_running_loop()
        while (wait := state.free_at - loop.time()) > 0:
            await asyncio.sleep(wait)
