"""Which registry entries fit which samples: pure functions over a samples table and the entries found for it.

Rules stand: an entry for a domain or a creator fits whatever comes from there, now and later. Keys are looked
up by whoever holds the registry; here they are made, and what was found becomes rows of the matches artefact.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa

from filters.optout.entries import Entry, Kind
from filters.optout.grants import Grant, overrides
from filters.optout.names import creator_keys, name_key, names_in
from filters.optout.urls import Address, canonical_host, domain_keys, prefix_keys, read_address

#: Columns of a samples table that are read. A table without one of them is refused: it would match nothing.
COLUMNS = ("uid", "url", "page_url", "domain", "creator", "caption", "sha256")

#: Where redirects from `url` ended; read where the table has it.
FINAL_URL = "final_url"

#: Sources that say enough about the picture itself for a grant: the page that shows it, one of several creators
#: or a name in a caption do not.
_GRANTING = frozenset({"url", FINAL_URL, "creator", "sha256"})

#: Hosts whose keys are kept between samples; hosts repeat.
_MAX_HOSTS = 65_536


class Key(NamedTuple):
    """One key (`kind:key`) under which the sample in `row` is looked up, and the column that gave it."""

    row: int
    key: str
    source: str


class Hit(NamedTuple):
    """One entry that fits the sample in `row`.

    `distance` is in bits (PDQ) or a cosine (embedding), None for keys; `unsure` marks a likeness that a person
    must judge.
    """

    row: int
    entry: Entry
    method: str
    key: str
    source: str
    distance: float | None = None
    unsure: bool = False


@dataclass
class KeyFinder:
    """Makes the keys of samples; `wanted` names the kinds of key that the registry holds, others are not made."""

    wanted: Collection[str]
    _hosts: dict[str, list[str]] = field(default_factory=dict, repr=False)

    def find(self, samples: pa.Table) -> list[Key]:
        """Return the keys of all samples. Raises ValueError where a column of `COLUMNS` is missing."""
        if missing := [name for name in COLUMNS if name not in samples.column_names]:
            raise ValueError(f"the samples have no column {', '.join(missing)}")
        keys: list[Key] = []
        if {"url", "url_prefix", "domain"} & set(self.wanted):
            for source in ("url", *({FINAL_URL} & set(samples.column_names)), "page_url"):
                for row, text in enumerate(samples.column(source).to_pylist()):
                    address = read_address(text) if text else None
                    if address:
                        self._add_address(keys, row, address, source)
        if "domain" in self.wanted:
            for row, text in enumerate(samples.column("domain").to_pylist()):
                host = canonical_host(text) if text else None
                if host:
                    keys.extend(Key(row, key, "domain") for key in self._domains(host))
        if "sha256" in self.wanted:
            for row, text in enumerate(samples.column("sha256").to_pylist()):
                if text:
                    keys.append(Key(row, f"sha256:{text.lower()}", "sha256"))
        if "creator" in self.wanted:
            self._add_names(keys, samples)
        return keys

    def _add_address(self, keys: list[Key], row: int, address: Address, source: str) -> None:
        if "url" in self.wanted:
            keys.append(Key(row, f"url:{address.key}", source))
        if "url_prefix" in self.wanted:
            keys.extend(Key(row, f"url_prefix:{key}", source) for key in prefix_keys(address.key))
        if "domain" in self.wanted:
            keys.extend(Key(row, key, source) for key in self._domains(address.host))

    def _domains(self, host: str) -> list[str]:
        found = self._hosts.get(host)
        if found is None:
            if len(self._hosts) >= _MAX_HOSTS:
                self._hosts.clear()
            found = self._hosts[host] = [f"domain:{key}" for key in domain_keys(host)]
        return found

    @staticmethod
    def _add_names(keys: list[Key], samples: pa.Table) -> None:
        for row, text in enumerate(samples.column("creator").to_pylist()):
            if text:
                whole = name_key(text)
                keys.extend(
                    Key(row, f"creator:{name}", "creator" if name == whole else "creator part")
                    for name in creator_keys(text)
                )
        for row, text in enumerate(samples.column("caption").to_pylist()):
            if text:
                keys.extend(Key(row, f"creator:{name}", "caption") for name in names_in(text))


def hits_of(keys: Sequence[Key], entries: Mapping[str, Sequence[Entry]]) -> list[Hit]:
    """Return the hits of keys on entries (by key). An entry hits a sample once by each method."""
    seen: set[tuple[int, int, str]] = set()
    hits = []
    for key in keys:
        for entry in entries.get(key.key, ()):
            method = "caption" if key.source == "caption" else key.key.partition(":")[0]
            granted = entry.kind is Kind.GRANT
            # The column matters to a grant, so that each of its hits stays.
            mark = (key.row, entry.seq, f"{key.source}:{key.key}" if granted else method)
            if mark not in seen:
                seen.add(mark)
                hits.append(Hit(key.row, entry, method, key.key, key.source))
    return hits


def resolve(hits: Sequence[Hit], uids: Sequence[str], grants: Mapping[int, Grant], schema: pa.Schema) -> pa.Table:
    """Return the rows of the matches artefact, sorted by row and entry.

    `grants` holds the *verified* grants by number of their entry; an entry of kind grant that is not among them
    counts for nothing. A sample gets its `grant` rows only where they override every denial by the registry:
    else the denials stand, and with them all that other channels say.
    """
    by_row: dict[int, list[Hit]] = defaultdict(list)
    for hit in hits:
        if hit.entry.kind is not Kind.GRANT or hit.entry.seq in grants:
            by_row[hit.row].append(hit)
    rows = [row for at in sorted(by_row) for row in _of_sample(uids[at], by_row[at])]
    return pa.Table.from_pylist(rows, schema=schema)


def _of_sample(uid: str, hits: list[Hit]) -> list[dict[str, object]]:
    granted = [hit for hit in hits if hit.entry.kind is Kind.GRANT]
    denied = [hit for hit in hits if hit.entry.kind is not Kind.GRANT]
    giving = [hit for hit in granted if hit.source in _GRANTING]
    named = {hit.key for hit in granted}
    # "in the style of NAME", and NAME granted it: that says nothing about the picture's other rights.
    denied = [hit for hit in denied if not (hit.method == "caption" and hit.key in named)]
    stands = [hit for hit in denied if not any(overrides(grant.key, hit.entry.kind, hit.key) for grant in giving)]
    rows = [_row(uid, hit, "review" if hit.unsure else "deny") for hit in denied]
    if not stands:
        seen: dict[int, Hit] = {}
        for hit in giving:
            seen.setdefault(hit.entry.seq, hit)
        rows += [_row(uid, hit, "grant") for hit in seen.values()]
    return sorted(rows, key=lambda row: (row["entry"], row["method"]))


def _row(uid: str, hit: Hit, outcome: str) -> dict[str, object]:
    named = hit.key.partition(":")[2]
    if hit.method in ("pdq", "embedding"):
        unit = "bits" if hit.method == "pdq" else "cosine"
        detail = f"the picture looks like the registered one: {unit} {hit.distance:.4g}"
    else:
        detail = f"{hit.source}: {named}"
    return {
        "uid": uid,
        "entry": hit.entry.seq,
        "kind": hit.entry.kind.value,
        "method": hit.method,
        "outcome": outcome,
        "distance": hit.distance,
        "detail": detail[:500],
    }
