"""Matches samples against one snapshot of a registry, in bounded memory.

In memory are: registered pictures (256 bytes a PDQ entry, 4 bytes a dimension of an embedding), grants, verdicts,
one slice of samples, and up to a hundred thousand entries that are newer than the index file. Everything else is
mapped from the index or read from the database when a key fits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from filters.errors import BadInput
from filters.optout.entries import Entry, Kind, read_embedding
from filters.optout.grants import parse_grant, verified
from filters.optout.look_alike import MIN_QUALITY, PDQ_DISTANCE, EmbeddingIndex, PdqIndex
from filters.optout.matching import Hit, Key, KeyFinder, hits_of, resolve
from pipelines.registry.index import key_hashes, open_index
from pipelines.registry.reviews import Judgement, Pair, verdicts
from pipelines.registry.store import Registry, Snapshot
from pipelines.run.schema import MATCHES

#: Samples matched at once.
_SLICE = 8192


@dataclass(frozen=True)
class Bounds:
    """Bounds of likeness: differing bits up to which, cosines from which. See `pipelines.run.recipe_rights`."""

    pdq_distance: int = PDQ_DISTANCE
    cosine: float = 0.95
    review_cosine: float = 0.90


def incomparable(registry: Registry, snapshot: Snapshot, encoder: str | None) -> dict[int, str]:
    """Return the snapshot's works that are known by embeddings of another encoder than `encoder` (None: of any).

    By entry's number, the model id that made it. Samples are compared with none of them.
    """
    made_by = ((entry.seq, read_embedding(entry.value)[0]) for entry in registry.special(Kind.EMBEDDING, snapshot.seq))
    return {number: model for number, model in made_by if model != encoder}


class Matcher:
    """Matches tables of samples against a snapshot.

    `trusted` holds the raw public keys (32 bytes, `filters.optout.grants.raw_key`) whose grants count. Embeddings
    are compared with entries of the same `encoder` (model id) only; see `incomparable` for the others.
    Grants expire by the snapshot's time, and verdicts given after it do not count.
    """

    def __init__(
        self,
        registry: Registry,
        snapshot: Snapshot,
        trusted: Collection[bytes] = (),
        bounds: Bounds | None = None,
        encoder: str | None = None,
        folder: Path | None = None,
    ) -> None:
        """Open the index, build it where needed. Raises `BadInput` where the registry does not hold the snapshot."""
        if not registry.holds(snapshot):
            raise BadInput(f"{registry.database.shown}: entry {snapshot.seq} is not the one of the pinned snapshot")
        self.snapshot = snapshot
        self.bounds = bounds or Bounds()
        self._registry = registry
        self._indexes = open_index(registry, snapshot, folder)
        self._finder = KeyFinder(frozenset(kind for index in self._indexes for kind in index.kinds))
        self._grants = {}
        for entry in registry.special(Kind.GRANT, snapshot.seq):
            grant = parse_grant(entry.value)
            if verified(grant, trusted, snapshot.at):
                self._grants[entry.seq] = grant
        self._load_pictures()
        self._load_embeddings(encoder)
        self._verdicts = verdicts(registry, snapshot.at)

    def _load_pictures(self) -> None:
        self._pictures: list[int] = []
        codes = []
        for entry in self._registry.special(Kind.PDQ, self.snapshot.seq):
            self._pictures.append(entry.seq)
            codes.append(b"".join(bytes.fromhex(key[4:]) for key in entry.keys))
        self._pdq = PdqIndex.of(codes)

    def _load_embeddings(self, encoder: str | None) -> None:
        self._works: list[int] = []
        vectors = []
        for entry in self._registry.special(Kind.EMBEDDING, self.snapshot.seq):
            made_by, vector = read_embedding(entry.value)
            if made_by == encoder:
                self._works.append(entry.seq)
                vectors.append(vector)
        if len({len(vector) for vector in vectors}) > 1:
            raise BadInput(f"{self._registry.database.shown}: embeddings of {encoder} differ in length")
        self._embedding = EmbeddingIndex(np.stack(vectors) if vectors else np.empty((0, 1), np.float32))

    @property
    def needs_pictures(self) -> bool:
        """Tell whether the registry holds PDQ hashes: then the samples' own are needed."""
        return bool(self._pictures)

    @property
    def needs_embeddings(self) -> bool:
        """Tell whether the registry holds embeddings by the encoder."""
        return bool(self._works)

    def match(self, samples: pa.Table, pdq: pa.Table | None = None, embeddings: np.ndarray | None = None) -> pa.Table:
        """Return the rows of the matches artefact for a samples table, in its order.

        `pdq` holds the columns `pdq` and `pdq_quality` of the same rows, `embeddings` (n, d) their picture vectors
        (zeros where there is none). Without them nothing is said about likeness.
        """
        tables = [MATCHES.empty_table()]
        for start in range(0, samples.num_rows, _SLICE):
            some = samples.slice(start, _SLICE)
            hits = self._by_key(some)
            if pdq is not None:
                hits += self._by_pdq(pdq.slice(start, _SLICE))
            if embeddings is not None:
                hits += self._by_embedding(embeddings[start : start + _SLICE], some)
            if hits:
                tables.append(resolve(hits, some.column("uid").to_pylist(), self._grants, MATCHES))
        return pa.concat_tables(tables).unify_dictionaries()

    def pairs_to_review(self, matches: pa.Table, samples: pa.Table) -> list[Pair]:
        """Return the pairs among `matches` that a person must judge, for `reviews.queue`."""
        pictures = dict(zip(samples.column("uid").to_pylist(), samples.column("sha256").to_pylist(), strict=True))
        return [
            Pair(row["entry"], pictures[row["uid"]], row["uid"], row["distance"])
            for row in matches.to_pylist()
            if row["outcome"] == "review" and pictures.get(row["uid"])
        ]

    def _by_key(self, samples: pa.Table) -> list[Hit]:
        keys = self._finder.find(samples)
        if not keys:
            return []
        return hits_of(keys, self._entries(keys))

    def _entries(self, keys: list[Key]) -> dict[str, list[Entry]]:
        """Return the snapshot's entries that have one of the keys, by key; equal hashes are told apart here."""
        names = [key.key for key in keys]
        hashes = key_hashes(names)
        candidates: set[tuple[int, str]] = set()
        for index in self._indexes:
            positions, numbers = index.search(hashes)
            pinned = numbers <= self.snapshot.seq
            for at, number in zip(positions[pinned].tolist(), numbers[pinned].tolist(), strict=True):
                candidates.add((number, names[at]))
        found = {entry.seq: entry for entry in self._registry.some(number for number, _ in candidates)}
        by_key: dict[str, list[Entry]] = defaultdict(list)
        for number, name in sorted(candidates):
            if number not in found:
                raise BadInput(f"{self._registry.database.shown}: entry {number} is gone; run assay optout verify")
            if name in found[number].keys:
                by_key[name].append(found[number])
        return by_key

    def _by_pdq(self, table: pa.Table) -> list[Hit]:
        codes = table.column("pdq").combine_chunks()
        quality = table.column("pdq_quality").combine_chunks().fill_null(-1).to_numpy(zero_copy_only=False)
        usable = (quality >= MIN_QUALITY) & codes.is_valid().to_numpy(zero_copy_only=False)
        packed = b"".join(code if code is not None else bytes(32) for code in codes.to_pylist())
        found = self._pdq.search(np.frombuffer(packed, np.uint8).reshape(-1, 32), usable, self.bounds.pdq_distance)
        entries = self._some(self._pictures, found.registered)
        return [
            Hit(int(row), entries[at], "pdq", entries[at].keys[0], "pdq", float(distance))
            for row, at, distance in zip(found.samples, found.registered, found.distance, strict=True)
        ]

    def _some(self, numbers: list[int], positions: np.ndarray) -> dict[int, Entry]:
        """Return the entries at these positions of a list of numbers, by position."""
        wanted = {numbers[at]: at for at in set(positions.tolist())}
        return {wanted[entry.seq]: entry for entry in self._registry.some(wanted)}

    def _by_embedding(self, vectors: np.ndarray, samples: pa.Table) -> list[Hit]:
        if not self._works:
            return []
        if vectors.shape[1] != self._embedding.vectors.shape[1]:
            raise BadInput("the samples' embeddings and the registered ones differ in length: another encoder")
        usable = np.ones(len(vectors), dtype=bool)
        found = self._embedding.search(vectors, usable, min(self.bounds.review_cosine, self.bounds.cosine))
        pictures = samples.column("sha256").to_pylist()
        entries = self._some(self._works, found.registered)
        hits = []
        for row, at, cosine in zip(found.samples.tolist(), found.registered.tolist(), found.distance, strict=True):
            entry = entries[at]
            said = self._verdicts.get((entry.seq, pictures[row] or ""))
            unsure = cosine < np.float32(self.bounds.cosine) and said is None
            if cosine >= np.float32(self.bounds.cosine) or said is not Judgement.DIFFERENT:
                hits.append(Hit(row, entry, "embedding", entry.keys[0], "embedding", float(cosine), unsure))
        return hits
