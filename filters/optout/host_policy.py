"""All that is known of a host before a picture is requested, compiled once and asked for each URL."""

from __future__ import annotations

from dataclasses import dataclass, field

from filters.optout.agents import obeyed
from filters.optout.ai_txt import AiTxtChannel
from filters.optout.aipref import ContentUsageChannel
from filters.optout.base import Document, Fetched, Signal
from filters.optout.content_signal import ContentSignalChannel
from filters.optout.patterns import path_of
from filters.optout.readers import NOTHING, Key, Reader
from filters.optout.resolution import Resolution, ResolutionPolicy, resolve
from filters.optout.robots import crawl_delay, parse_robots
from filters.optout.robots_channel import AccessReader, RobotsChannel
from filters.optout.rsl import RslChannel
from filters.optout.rsl_links import MAX_LINKS, robots_links
from filters.optout.tdmrep import TdmRepChannel
from filters.reasons import Reason

#: Decisions that one host remembers; a hostile rule set has more combinations than are worth keeping.
_MAX_REMEMBERED = 4096


@dataclass(frozen=True)
class Decision:
    """May the picture be requested, by which signals, and what they come to.

    `allowed_to_fetch` is false where robots.txt bars us from the path, where its host gave no answer for it, and
    where a refusal is known beforehand. It is true where only a permission is missing: the answer may hold one.
    """

    allowed_to_fetch: bool
    signals: tuple[Signal, ...]
    resolution: Resolution


@dataclass(frozen=True)
class HostChannels:
    """How hosts are read: agents to obey (the own token first), and what the recipe makes of signals."""

    agents: tuple[str, ...] = field(default_factory=obeyed)
    policy: ResolutionPolicy = field(default_factory=ResolutionPolicy)

    def compile(
        self,
        robots: Document | None = None,
        tdmrep: Document | None = None,
        ai_txt: Document | None = None,
        rsl: tuple[Document, ...] = (),
        host: str = "",
    ) -> HostPolicy:
        """Return the policy of one host (`host`: its origin, for RSL) from its documents; None: not asked for."""
        return HostPolicy(self, robots, tdmrep, ai_txt, rsl, host)


class HostPolicy:
    """Answers for the URLs of one host. `crawl_delay` is in seconds; `rsl_urls` are licences still to be fetched."""

    def __init__(
        self,
        channels: HostChannels,
        robots: Document | None,
        tdmrep: Document | None,
        ai_txt: Document | None,
        rsl: tuple[Document, ...],
        host: str,
    ) -> None:
        """Compile the documents; use `HostChannels.compile`."""
        self._policy = channels.policy
        self._barred = robots is not None and robots.state is Fetched.UNREACHABLE
        readers = self._readers(channels, robots, tdmrep, ai_txt)
        readers += RslChannel(channels.agents).of_host(robots, rsl, host)
        self._active: list[Reader] = [reader for reader in readers if reader is not NOTHING]
        self._remembered: dict[tuple[Key, ...], Decision] = {}
        self.rsl_urls: tuple[str, ...] = robots_links(robots, channels.agents)[:MAX_LINKS]
        found = robots is not None and robots.state is Fetched.FOUND
        self.crawl_delay: float | None = (
            crawl_delay(parse_robots(robots.body), channels.agents[0]) if robots is not None and found else None
        )

    @staticmethod
    def _readers(
        channels: HostChannels, robots: Document | None, tdmrep: Document | None, ai_txt: Document | None
    ) -> list[Reader]:
        agents = channels.agents
        readers: list[Reader] = []
        if robots is not None:
            readers.append(RobotsChannel(agents).compile(robots))
            readers.append(ContentUsageChannel(agents).compile(robots))
            readers.append(ContentSignalChannel(agents).compile(robots))
        if tdmrep is not None:
            readers.append(TdmRepChannel().compile(tdmrep))
        if ai_txt is not None:
            readers.append(AiTxtChannel(agents).compile(ai_txt))
        return readers

    def decide(self, url: str) -> Decision:
        """Return the decision for a URL of this host."""
        path = path_of(url)
        keys = tuple([reader.key(path) for reader in self._active])
        decision = self._remembered.get(keys)
        if decision is None:
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            decision = self._remembered[keys] = self._decided(keys)
        return decision

    def _decided(self, keys: tuple[Key, ...]) -> Decision:
        answered = list(zip(self._active, keys, strict=True))
        signals = tuple(signal for reader, key in answered for signal in reader.signals(key))
        barred = self._barred or any(
            isinstance(reader, AccessReader) and not reader.may_crawl(key) for reader, key in answered
        )
        resolution = resolve(signals, self._policy)
        refused = resolution.reason in (Reason.OPTED_OUT, Reason.OPT_OUT_UNREADABLE)
        return Decision(not barred and not refused, signals, resolution)
