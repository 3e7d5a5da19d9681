"""Match: which samples the opt-out registry names. Its state is pinned by its hash before the first part."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.errors import BadInput
from filters.optout.grants import raw_key
from filters.terminal import tell
from pipelines.engine import Engine, run_parts
from pipelines.jobs.rights import match_facts, scored_files, without_embedding
from pipelines.registry.matcher import Bounds, Matcher, incomparable
from pipelines.registry.reviews import Pair, queue
from pipelines.registry.samples import samples_to_match
from pipelines.registry.store import Registry, Snapshot, open_registry
from pipelines.run.directory import REGISTRY, Run
from pipelines.run.parts import PartWriter, fingerprint, finished, part_name
from pipelines.run.recipe_rights import Rights
from pipelines.run.schema import MATCHES
from pipelines.run.signing import load_public

VERSION = "3"

#: Most encoders that are named.
_NAMED = 5


def pin(run: Run, snapshot: Snapshot) -> None:
    """Write the registry's state that the run's matches belong to."""
    run.store.write(REGISTRY, json.dumps(snapshot_body(snapshot), indent=1, sort_keys=True).encode())


def snapshot_body(snapshot: Snapshot) -> dict[str, Any]:
    """Return a snapshot as JSON: number and hash of the last entry, and when the registry was looked at."""
    return {"seq": snapshot.seq, "hash": snapshot.hash, "at": snapshot.at.isoformat(timespec="seconds")}


def pinned(run: Run) -> Snapshot | None:
    """Return the pinned state of the registry, None where none was consulted. Raises `BadInput`."""
    if not run.store.exists(REGISTRY):
        return None
    try:
        body = json.loads(run.store.read(REGISTRY))
        return Snapshot(int(body["seq"]), str(body["hash"]), datetime.fromisoformat(body["at"]))
    except (ValueError, KeyError, TypeError):
        raise BadInput(f"{run.store.url}/{REGISTRY}: not the state of a registry") from None


def make_matcher(registry: Registry, snapshot: Snapshot, rights: Rights, encoder: str | None) -> Matcher:
    """Return the matcher that the recipe's `rights` section asks for. Raises `BadInput`."""
    return _made(registry, snapshot, rights, encoder, trusted_keys(rights))


def trusted_keys(rights: Rights) -> tuple[bytes, ...]:
    """Return the raw public keys whose grants count, as their files hold them now, sorted. Raises `BadInput`."""
    return tuple(sorted(raw_key(load_public(Path(path))) for path in rights.grant_keys))


def _made(
    registry: Registry, snapshot: Snapshot, rights: Rights, encoder: str | None, trusted: tuple[bytes, ...]
) -> Matcher:
    alike = rights.look_alike
    bounds = Bounds(alike.pdq_distance, alike.cosine, alike.review_cosine)
    return Matcher(registry, snapshot, trusted, bounds, encoder)


def encoder_of(run: Run) -> str | None:
    """Return the model id of the run's image-text encoder, None where it has none."""
    parts = run.parts("scores")
    found: dict[str, str] = run.marker("scores", parts[0]).facts["models"] if parts else {}
    return found.get("similarity")


def tell_incomparable(registry: Registry, snapshot: Snapshot, encoder: str | None) -> dict[int, str]:
    """Return the registered works that no sample is compared with, as `incomparable`; say so on standard error."""
    found = incomparable(registry, snapshot, encoder)
    if found:
        theirs, own = ", ".join(sorted(set(found.values()))[:_NAMED]), encoder or "no encoder"
        words = f"{len(found)} registered work(s) are compared with no sample: their embeddings are by {theirs}"
        tell(f"{registry.database.shown}: {words}, the samples' by {own}", stream=sys.stderr)
    return found


def matches_of(run: Run, matcher: Matcher, index: int, rows: list[int] | None = None) -> pa.Table:
    """Return the match rows of one part's samples, or of some of its rows. Raises `BadInput` without PDQ hashes."""
    samples = samples_to_match(run, index)
    take = pa.array(range(samples.num_rows) if rows is None else rows, pa.int64())
    pdq = embeddings = None
    if matcher.needs_pictures:
        pdq = run.table("scores", index, ["pdq", "pdq_quality"])
        if pdq.num_columns < 2:
            raise BadInput(f"{run.store.url}: the registry holds pictures; add 'pdq' to scorers and run assay score")
        pdq = pdq.take(take)
    if matcher.needs_embeddings and run.store.exists(part_name("embeddings", index)):  # else no row has one
        column = run.table("embeddings", index, ["image"]).column("image").combine_chunks()
        size = column.type.list_size
        embeddings = column.flatten().to_numpy().reshape(-1, size).astype(np.float32)[take.to_numpy()]
    return matcher.match(samples.take(take), pdq, embeddings)


def _with_purged(run: Run, matcher: Matcher, index: int, found: pa.Table) -> pa.Table:
    """Return the part's matches with the earlier ones by looks of samples whose looks a retraction has purged since.

    Those cannot be found again, and say why the sample left.
    """
    if not run.store.exists(part_name("matches", index)):
        return found
    old = run.table("matches", index)
    scores = run.table("scores", index, ["uid", "skipped", "pdq"])
    spared = pc.is_valid(scores.column("skipped")).combine_chunks().to_numpy(zero_copy_only=False)
    kept = [found]
    for kind, needed in (("pdq", matcher.needs_pictures), ("embedding", matcher.needs_embeddings)):
        if not needed or not old.num_rows:
            continue
        blind = spared & (_no_hash(scores) if kind == "pdq" else without_embedding(run, index, len(spared)))
        uids = scores.column("uid").filter(pa.array(blind))
        mine = pc.equal(old.column("method").cast(pa.string()), kind)
        kept.append(old.filter(pc.and_(mine, pc.is_in(old.column("uid"), value_set=uids.combine_chunks()))))
    return pa.concat_tables([table.replace_schema_metadata(found.schema.metadata) for table in kept])


def _no_hash(scores: pa.Table) -> np.ndarray:
    found: np.ndarray = pc.is_null(scores.column("pdq")).combine_chunks().to_numpy(zero_copy_only=False)
    return found


@dataclass(frozen=True)
class Match:
    """Matches one part's samples with the pinned state of the registry."""

    run_dir: Run
    snapshot: Snapshot
    encoder: str | None
    trusted: tuple[bytes, ...] = ()

    def load(self) -> None:
        """Open the registry and its index; kept for the process."""
        self._loaded()

    def _loaded(self) -> Matcher:
        return _matcher(self.run_dir.recipe.rights.model_dump_json(), self.snapshot, self.encoder, self.trusted)

    def run(self, index: int) -> None:
        """Write `matches` part `index`."""
        name, wanted = part_name("matches", index, ""), self.wanted(index)
        if finished(self.run_dir.store, name, wanted):
            return
        matcher = self._loaded()
        found = _with_purged(self.run_dir, matcher, index, matches_of(self.run_dir, matcher, index))
        writer = PartWriter(self.run_dir.store, name, wanted)
        writer.add_table(part_name("matches", index), found.unify_dictionaries())
        writer.commit(found.num_rows, match_facts(self.run_dir, index, matcher.needs_embeddings))

    def wanted(self, index: int) -> str:
        """Return the fingerprint of part `index`: samples, scores, the registry's state, the keys and the bounds."""
        run = self.run_dir
        rights = run.recipe.rights.model_dump(include={"registry", "look_alike"})
        content = run.marker("samples", index).facts["content"]
        state = [self.snapshot.seq, self.snapshot.hash, self.encoder, [key.hex() for key in self.trusted]]
        return fingerprint("match", VERSION, content, scored_files(run, index), state, rights)


@lru_cache(maxsize=2)
def _matcher(rights_json: str, snapshot: Snapshot, encoder: str | None, trusted: tuple[bytes, ...]) -> Matcher:
    rights = Rights.model_validate_json(rights_json)
    return _made(open_registry(str(rights.registry)), snapshot, rights, encoder, trusted)


def pin_registry(run: Run) -> Snapshot | None:
    """Pin the registry's present state unless one is pinned already; None without a registry in the recipe.

    Raises `BadInput` where the registry is missing, or is not the one that was pinned.
    """
    url = run.recipe.rights.registry
    if url is None:
        return None
    with open_registry(url) as registry:
        snapshot = pinned(run)
        if snapshot is None:
            snapshot = registry.snapshot()
            pin(run, snapshot)
        elif not registry.holds(snapshot):
            raise BadInput(f"{url}: not the registry that {run.store.url} was matched with, or cut off since")
    return snapshot


def key_matches(run: Run, samples: pa.Table) -> pa.Table:
    """Return the match rows that addresses, names and hashes give (no looks), before any model has seen a picture.

    `samples` has the columns of `filters.optout.matching.COLUMNS`. Empty where no registry is pinned.
    """
    matcher = key_matcher(run)
    return MATCHES.empty_table() if matcher is None else matcher.match(samples)


def key_matcher(run: Run) -> Matcher | None:
    """Return what matches samples by their keys alone with the pinned registry; None where none is pinned."""
    snapshot, rights = pinned(run), run.recipe.rights
    if snapshot is None or rights.registry is None:
        return None
    return _matcher(rights.model_dump_json(), snapshot, None, trusted_keys(rights))


def match(run: Run, engine: Engine) -> None:
    """Write all `matches` parts, and queue what a person must judge. Nothing without a registry in the recipe.

    Raises `BadInput` where the registry is missing, or is not the one that was pinned.
    """
    snapshot = pin_registry(run)
    if snapshot is None:
        return
    work = Match(run, snapshot, encoder_of(run), trusted_keys(run.recipe.rights))
    parts = run.parts("scores")
    pending = [i for i in parts if not finished(run.store, part_name("matches", i, ""), work.wanted(i))]
    run_parts(engine, "match", work, pending)
    with open_registry(str(run.recipe.rights.registry)) as registry:
        tell_incomparable(registry, snapshot, work.encoder)
        # of all parts: when those that were done before were matched, the registry may have been busy
        for index in parts:
            queue_pairs(registry, run, index, run.table("matches", index))


def queue_pairs(registry: Registry, run: Run, index: int, matches: pa.Table) -> None:
    """Hand the pairs between the two bounds, of one part's `matches`, to the registry's review queue."""
    unsure = matches.filter(pc.equal(matches.column("outcome").cast(pa.string()), "review"))
    if unsure.num_rows:
        samples = run.table("samples", index, ["uid", "sha256"])
        pictures = dict(zip(*(samples.column(name).to_pylist() for name in ("uid", "sha256")), strict=True))
        queue(
            registry,
            [Pair(row["entry"], pictures[row["uid"]], row["uid"], row["distance"]) for row in unsure.to_pylist()],
        )
