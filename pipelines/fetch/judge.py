"""What the fetcher asks of the opt-out reader: may this address be requested, and what do these answers say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from yarl import URL

from filters.optout.agents import obeyed
from filters.optout.aipref import ContentUsageChannel
from filters.optout.base import Channel, Document, Evidence, Signal
from filters.optout.content_signal import ContentSignalChannel
from filters.optout.host_policy import HostChannels, HostPolicy
from filters.optout.meta_robots import MetaRobotsChannel
from filters.optout.resolution import Resolution, ResolutionPolicy, resolve
from filters.optout.rsl import RslChannel
from filters.optout.rsl_links import MAX_LINKS, rsl_urls
from filters.optout.tdmrep import TdmRepChannel
from filters.optout.x_robots import DirectivePolicy, XRobotsChannel
from filters.reasons import Reason
from pipelines.run.recipe_rights import Rights


@dataclass(frozen=True)
class Judge:
    """The opt-out reader with a recipe's rights section."""

    hosts: HostChannels
    channels: tuple[Channel, ...]
    licences: RslChannel

    @classmethod
    def of(cls, rights: Rights) -> Judge:
        """Return the judge of a recipe."""
        agents = obeyed(tuple(rights.agents))
        directives = DirectivePolicy(agents, rights.noindex)
        policy = ResolutionPolicy(default=rights.default, unreadable=rights.unreadable)
        channels = (
            XRobotsChannel(directives),
            TdmRepChannel(),
            ContentUsageChannel(agents),
            ContentSignalChannel(agents),
            MetaRobotsChannel(directives),
        )
        return cls(HostChannels(agents, policy), channels, RslChannel(agents))

    def policy(
        self,
        origin: URL,
        robots: Document,
        tdmrep: Document | None = None,
        ai_txt: Document | None = None,
        rsl: Sequence[Document] = (),
    ) -> HostPolicy:
        """Compile one origin's documents; None is a document that was not asked for."""
        return self.hosts.compile(robots, tdmrep, ai_txt, tuple(rsl), str(origin))

    def answer(self, evidence: Evidence) -> list[Signal]:
        """Read an answer's header fields, or a page's fields and HTML; licences that they name are left aside."""
        return [signal for channel in self.channels for signal in channel.read(evidence)]

    def licence_urls(self, evidence: Evidence) -> tuple[str, ...]:
        """Return the licence documents that an answer names, as many as are read of it."""
        return rsl_urls(evidence, self.licences.agents)[:MAX_LINKS]

    def licensed(self, evidence: Evidence) -> list[Signal]:
        """Read the licences of `evidence.rsl`; one that is named and not there counts as unreadable."""
        return self.licences.read(evidence)

    def refusal(self, signals: Sequence[Signal]) -> Resolution | None:
        """Return the resolution if it forbids a download. A missing permission does not: the file may hold one."""
        found = resolve(signals, self.hosts.policy)
        return found if found.reason in (Reason.OPTED_OUT, Reason.OPT_OUT_UNREADABLE) else None
