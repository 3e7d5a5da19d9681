"""What the registry names of a URL list before it is asked for: its rows, and where redirects lead."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import pyarrow as pa

from filters.optout.judging import Policy, rights_masks
from filters.reasons import BY_CODE, Reason
from filters.rules import mask, primary_codes
from pipelines.fetch.failures import BY_REGISTRY
from pipelines.fetch.table import listed_samples
from pipelines.jobs.match import key_matcher
from pipelines.jobs.rights import policy_of
from pipelines.registry.matcher import Matcher
from pipelines.run.directory import Run
from pipelines.run.recipe import FieldNames
from pipelines.run.schema import SIGNALS


@dataclass(frozen=True)
class Named:
    """The pinned registry, asked by address, maker and caption."""

    matcher: Matcher
    policy: Policy
    fields: FieldNames
    #: A registry's connection serves one thread at a time.
    _turn: Lock = field(default_factory=Lock, repr=False, compare=False)

    @classmethod
    def of(cls, run: Run) -> Named | None:
        """Return the run's; None where no registry is pinned."""
        matcher = key_matcher(run)
        return cls(matcher, policy_of(run.recipe.rights), run.recipe.input.fields) if matcher else None

    def rows(self, listed: list[dict[str, Any]]) -> list[Reason | None]:
        """Return why each row of a list must not be asked for; None where nothing speaks against it."""
        table = listed_samples(listed, self.fields)
        with self._turn:
            matches = self.matcher.match(table)
        if not matches.num_rows:
            return [None] * len(listed)
        masks = rights_masks(table.column("uid").combine_chunks(), SIGNALS.empty_table(), matches, self.policy)
        codes = primary_codes(masks & mask(*BY_REGISTRY)).cast(pa.string()).to_pylist()
        return [BY_CODE[code] if code else None for code in codes]

    async def address(self, url: str) -> Reason | None:
        """Return why an address must not be asked for."""
        row = {"url": url, "page_url": None, "columns": None}
        return (await asyncio.get_running_loop().run_in_executor(None, self.rows, [row]))[0]
