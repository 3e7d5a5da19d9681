"""Facts: everything that a document may state of a dataset, each with the place that it comes from.

A fact without a value says where the value would come from, so that a document can ask for it. Nothing here is
guessed: what the run counted comes from the run, what only the provider can know comes from the recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from audit.compliance import Problem
from audit.documents.provider import Provider

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Fact(Generic[T]):
    """One value and where it comes from; None where nothing states it. `why` says why, where that is known."""

    value: T | None
    source: str
    why: str = ""

    def then(self, make: Callable[[T], U | None]) -> Fact[U]:
        """Return what `make` makes of the value, from the same source; still unknown where it is unknown."""
        return Fact(None if self.value is None else make(self.value), self.source, self.why)


@dataclass(frozen=True)
class Dataset:
    """Which dataset: name, content hash (64 hex digits), when its manifest was written (UTC, ISO 8601), by what.

    `signed` tells whether the manifest has a signature, `commit` names the code (None outside a checkout). `version`
    is 1.RETRACTIONS.WAIVERS with the begin of the content hash as build.
    """

    name: str
    content_hash: str
    parent: str | None
    created_at: str
    assay: str
    commit: str | None
    packages: Mapping[str, str]
    signed: bool
    version: str


@dataclass(frozen=True)
class Counts:
    """Samples read, kept, and dropped by primary reason; the last with the reason's meaning."""

    samples: int
    kept: int
    dropped: Mapping[str, int]
    meanings: Mapping[str, str]


@dataclass(frozen=True)
class Material:
    """What the kept samples are. Each table counts them by value, the most frequent first; "" is no value.

    `picture_bytes` and `caption_bytes` (UTF-8) are sums; `words` is None where no scorer counted words; `languages`
    is None where none was detected. `smallest` and `largest` are width and height in pixels by area.
    """

    picture_bytes: int
    caption_bytes: int
    words: int | None
    formats: Mapping[str, int]
    licences: Mapping[str, int]
    languages: Mapping[str, int] | None
    creators: int
    without_creator: int
    smallest: tuple[int, int] | None
    largest: tuple[int, int] | None


@dataclass(frozen=True)
class Domain:
    """One internet domain: kept samples from it, and the bytes of their pictures and captions."""

    name: str
    samples: int
    nbytes: int


@dataclass(frozen=True)
class Domains:
    """Domains of the kept samples, the largest first, and how many samples name none."""

    found: tuple[Domain, ...]
    without: int


@dataclass(frozen=True)
class Source:
    """What was read: kind of the input, its shards with rows and digests, models and fields are in the recipe."""

    kind: str
    shards: tuple[tuple[str, int, str], ...]


@dataclass(frozen=True)
class Crawl:
    """The downloads of this run: user agent, who is named in it, first and last answer (ISO 8601), rows by status."""

    agent: str
    contact: str
    first: str | None
    last: str | None
    rows: int
    statuses: Mapping[str, int]


@dataclass(frozen=True)
class Channel:
    """One channel of rights statements: samples with a statement of each kind, kept or not."""

    name: str
    deny: int
    unreadable: int
    allow: int
    unknown: int


@dataclass(frozen=True)
class Retraction:
    """One later application of opt-outs: when, for how many requests, how many samples left and came in."""

    at: str
    requests: int
    left: int
    came: int


@dataclass(frozen=True)
class Rights:
    """How rights statements were read and what they gave.

    `obeyed` are the robots.txt tokens that count, `policy` the recipe's settings in words, `registry` the state of
    the opt-out registry (entries, hash, consulted at), None where none was asked; `matches` counts its matches by
    kind and outcome.
    """

    policy: tuple[str, ...]
    obeyed: tuple[str, ...]
    obeyed_date: str
    channels: tuple[Channel, ...]
    registry: tuple[int, str, str] | None
    matches: Mapping[str, int]
    retractions: tuple[Retraction, ...]
    harmful_lists: int


@dataclass(frozen=True)
class Processing:
    """What was done to the samples: models by scorer, rules in words, duplicates, balance, licence list."""

    models: Mapping[str, str]
    rules: tuple[str, ...]
    duplicates: str
    balance: str


@dataclass(frozen=True)
class Shard:
    """One file of the dataset: its name in the run, samples, SHA-256 and bytes; the same of its table of scores."""

    name: str
    rows: int
    sha256: str
    nbytes: int
    table: str
    table_sha256: str
    table_nbytes: int


@dataclass(frozen=True)
class Gate:
    """One gate: pass, fail or not measurable; and who has let it pass all the same, why and when."""

    name: str
    state: str
    words: str
    waived_by: str = ""
    waived_why: str = ""
    waived_at: str = ""

    @property
    def blocks(self) -> bool:
        """Tell whether the gate did not pass and nobody waived it; what cannot be measured does not pass."""
        return self.state != "pass" and not self.waived_by


@dataclass(frozen=True)
class Audit:
    """What the bias audit says: sentences of what it found, and of what nobody measures and why.

    `measured` and `unmeasured` count its figures, `sure` those that are sure and large enough to matter, of which
    `found` may hold only the first; `coverage` says how many samples the groups rest on.
    """

    found: tuple[str, ...]
    not_measured: tuple[str, ...]
    measured: int
    unmeasured: int
    sure: int
    coverage: tuple[str, ...] = ()


def _unknown(source: str, why: str = "") -> Fact[T]:
    return Fact(None, source, why)


@dataclass(frozen=True)
class Facts:
    """All facts of one dataset. Each default names the place that the value comes from."""

    dataset: Fact[Dataset] = field(default_factory=lambda: _unknown("manifest"))
    counts: Fact[Counts] = field(default_factory=lambda: _unknown("ledger"))
    material: Fact[Material] = field(default_factory=lambda: _unknown("samples, scores and ledger"))
    domains: Fact[Domains] = field(default_factory=lambda: _unknown("samples and ledger"))
    source: Fact[Source] = field(default_factory=lambda: _unknown("manifest: inputs"))
    crawl: Fact[Crawl] = field(default_factory=lambda: _unknown("downloads"))
    rights: Fact[Rights] = field(default_factory=lambda: _unknown("signals, matches, registry, retractions"))
    processing: Fact[Processing] = field(default_factory=lambda: _unknown("manifest: rules, models, recipe"))
    shards: Fact[tuple[Shard, ...]] = field(default_factory=lambda: _unknown("manifest: shards"))
    audit: Fact[Audit] = field(default_factory=lambda: _unknown("audit", "the dataset was not audited"))
    gates: Fact[tuple[Gate, ...]] = field(default_factory=lambda: _unknown("manifest: gates"))
    problems: tuple[Problem, ...] = ()
    provider: Provider = field(default_factory=Provider)
    provider_place: str = "recipe"

    def said(self, key: str) -> Fact[str]:
        """Return what the provider states under `key`, as text."""
        value = getattr(self.provider, key)
        source = f"{self.provider_place} (provider.{key})"
        if value is None:
            return Fact(None, source)
        if isinstance(value, bool):
            value = "Yes." if value else "No."
        elif isinstance(value, tuple):
            value = "; ".join(str(item) for item in value) or "None."
        return Fact(str(value), source)
