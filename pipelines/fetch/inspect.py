"""What every channel says about one address or one file, for a person who asks."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filters.errors import BadInput
from filters.optout.base import Evidence, Signal, Verdict, strongest
from filters.optout.image_rights import ImageRights
from filters.optout.resolution import Resolution, resolve
from pipelines.fetch.addresses import Network
from pipelines.fetch.client import Client
from pipelines.fetch.download import Downloader
from pipelines.fetch.evidence import EvidenceStore
from pipelines.fetch.judge import Judge
from pipelines.fetch.policy_cache import PolicyCache
from pipelines.fetch.politeness import Hosts
from pipelines.run.recipe_fetch import Fetch
from pipelines.run.recipe_rights import Rights
from pipelines.run.storage import Store

#: Most bytes of a picture that is looked into.
MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class Inspection:
    """The signals of one target and what they come to; `problem` says why something could not be asked."""

    target: str
    signals: tuple[Signal, ...]
    problem: str | None = None

    @property
    def resolution(self) -> Resolution:
        """Return the decision where silence is permission and what cannot be read is not (the recipe's defaults)."""
        return resolve(self.signals)

    @property
    def verdict(self) -> Verdict:
        """Return what the signals themselves say; beside evidence that cannot be read, none of them allows."""
        said = strongest(signal.verdict for signal in self.signals)
        unsure = said is Verdict.ALLOW and any(signal.unreadable for signal in self.signals)
        return Verdict.UNKNOWN if unsure else said

    def body(self) -> dict[str, Any]:
        """Return the JSON form."""
        signals = [
            {
                "channel": signal.channel,
                "verdict": signal.verdict.value,
                "raw": signal.raw,
                "spec": signal.spec,
                "source": signal.source,
                "detail": signal.detail,
                "unreadable": signal.unreadable,
                "evidence_sha256": signal.evidence_sha256,
            }
            for signal in self.signals
        ]
        reason = self.resolution.reason
        return {
            "target": self.target,
            "verdict": self.verdict.value,
            "reason": reason.value if reason else None,
            "problem": self.problem,
            "signals": signals,
        }


def inspect_file(path: Path) -> Inspection:
    """Read the statements that a picture's file makes. Raises `BadInput` for a file that cannot be read."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadInput(f"{path}: larger than {MAX_BYTES >> 20} MiB")
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from None
    signals, _ = ImageRights().read(Evidence(image=data))
    return Inspection(str(path), tuple(signals))


def inspect_urls(
    urls: Sequence[str], contact: str, rights: Rights | None = None, network: Network | None = None
) -> list[Inspection]:
    """Ask the hosts' policies, then for each picture that they permit, and read what its answer and file say.

    `contact` is sent to every host; `network` is for tests. A picture that a policy reserves is not requested.
    """
    try:
        settings = Fetch(contact=contact, delay_s=0.5, retries=1)
    except ValueError:
        raise BadInput(f"--contact {contact!r}: give a mail or web address at which hosts can complain") from None
    with tempfile.TemporaryDirectory(prefix="assay-inspect-") as folder:
        return asyncio.run(_inspected(urls, settings, rights or Rights(), network or Network(), folder))


async def _inspected(
    urls: Sequence[str], settings: Fetch, rights: Rights, network: Network, folder: str
) -> list[Inspection]:
    hosts, judge, evidence = Hosts(settings), Judge.of(rights), EvidenceStore(Store(folder))
    async with Client(settings, network, folder) as client:
        cache = PolicyCache(client, hosts, judge, evidence, settings)
        downloader = Downloader(client, hosts, cache, judge, evidence, settings, MAX_BYTES)
        return list(await asyncio.gather(*(_one(url, downloader) for url in urls)))


async def _one(url: str, downloader: Downloader) -> Inspection:
    outcome = await downloader.fetch(url, None)
    signals = list(outcome.signals)
    if outcome.body is not None:
        with outcome.body as body:
            body.seek(0)
            found, _ = ImageRights().read(Evidence(url=outcome.final_url, image=body.read()))
        signals += found
    problem = None if outcome.reason is None else f"{outcome.reason.value}: {outcome.detail}"
    return Inspection(url, tuple(signals), problem)
