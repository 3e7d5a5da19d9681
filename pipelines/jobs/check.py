"""Check: may this dataset be trained on? The evidence, the registry and the files are asked, not the ledger alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from audit.compliance import PROBLEMS, Problem, Tally, denied, evidence_lost, too_old, unlicensed
from filters.errors import GateRefused
from pipelines.jobs.match import encoder_of, pinned
from pipelines.jobs.rematch import tightened
from pipelines.jobs.rights import rights_part
from pipelines.registry.matcher import incomparable
from pipelines.registry.store import Registry, Snapshot, open_registry
from pipelines.retraction.versions import chain_problems
from pipelines.run.directory import Run
from pipelines.run.gates import standing
from pipelines.run.manifest import read_manifest, verify
from pipelines.run.parts import part_name, read_table
from pipelines.run.signing import check_signature

#: Most unapplied entries that are named one by one.
_NAMED = 5


@dataclass(frozen=True)
class Verdict:
    """What the check found; `ok` where it found nothing; `waived`: gates let pass by somebody (gate, by, why, at)."""

    problems: list[Problem]
    waived: list[dict[str, str]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Tell whether the dataset may be trained on."""
        return not self.problems


def check(
    run: Run, registry: str | None = None, now: datetime | None = None, signer: Ed25519PublicKey | None = None
) -> Verdict:
    """Check a finished dataset. `registry` overrides the recipe's. Raises `BadInput` for a run without manifest.

    `signer`: the key that must have signed the manifest. Without it nothing tells a manifest that somebody wrote anew,
    with files to match, from the true one.
    """
    body = read_manifest(run)
    problems = [*verify(run), *check_signature(run, signer)[1], *chain_problems(run)]
    tally, intact = Tally(), not problems
    shipped = _shipped(run)
    state, url, at = pinned(run), registry or run.recipe.rights.registry, now or datetime.now(timezone.utc)
    problems += _registry_problems(run, state, url, at)
    if intact and state is not None and url is not None:
        tally.add("UNAPPLIED_CHANGE", _changed(run, url, replace(state, at=at), shipped))
    for index in run.parts("samples"):
        _check_part(run, index, shipped, tally)
    tally.add("SHARD_DISAGREES", sorted(shipped))
    content = body["content"]
    tally.add("GATE_FAILED", [f"{gate['name']} ({gate.get('words', 'failed')})" for gate in standing(content)])
    waived = [{"gate": gate["name"], **gate["waiver"]} for gate in content.get("gates") or [] if gate.get("waiver")]
    return Verdict([*problems, *tally.problems()], waived)


def require_clear(run: Run, registry: str | None = None, signer: Ed25519PublicKey | None = None) -> None:
    """Refuse a dataset that the check finds something wrong with. Raises `GateRefused`."""
    verdict = check(run, registry, signer=signer)
    if not verdict.ok:
        raise GateRefused(f"{run.store.url}: {described(verdict.problems)}")


def described(problems: list[Problem], limit: int = 10) -> str:
    """Return the problems in one line."""
    listed = "; ".join(f"{problem.code} {problem.detail}" for problem in problems[:limit])
    more = f"; and {len(problems) - limit} more" if len(problems) > limit else ""
    return f"{len(problems)} problem(s): {listed}{more}"


def _check_part(run: Run, index: int, shipped: set[str], tally: Tally) -> None:
    """Test one part's kept samples; takes from `shipped` the uids that the ledger keeps."""
    samples = run.table("samples", index, ["uid", "licence"])
    uids = samples.column("uid").combine_chunks()
    decision = run.table("ledger", index, ["decision"]).column("decision").cast(pa.string())
    kept = pc.equal(decision, "kept").combine_chunks().to_numpy(zero_copy_only=False)
    kept_uids = uids.filter(pa.array(kept))
    found = set(kept_uids.to_pylist())
    tally.add("SHARD_DISAGREES", sorted(found - shipped))
    shipped -= found
    if not run.store.exists(part_name("signals", index)):
        tally.add("EVIDENCE_MISSING", sorted(found))
        return
    tally.add("DENIED_BUT_KEPT", denied(uids, kept, np.where(kept, rights_part(run, index, uids), np.uint64(0))))
    if run.recipe.licences:
        allow, missing = run.recipe.licences.allow, run.recipe.licences.missing == "keep"
        licences = samples.column("licence").combine_chunks()
        tally.add("LICENCE_NOT_ALLOWED", unlicensed(uids, kept, licences, allow, missing))
    signals = run.table("signals", index, ["uid", "evidence_sha256"])
    tally.add(
        "EVIDENCE_LOST", [sha for sha in evidence_lost(signals, kept_uids, _stored(run, index)) if not _host(run, sha)]
    )


def _stored(run: Run, index: int) -> set[str]:
    """Return the hashes of the part's evidence bodies."""
    name = part_name("policies", index)
    return (
        set(run.table("policies", index, ["sha256"]).column("sha256").to_pylist()) if run.store.exists(name) else set()
    )


def _host(run: Run, sha256: str) -> bool:
    """Tell whether a host's policy document of that hash is stored."""
    return run.store.exists(f"policies/{sha256}")


def _shipped(run: Run) -> set[str]:
    """Return the uids that the output shards' sidecars list."""
    found: set[str] = set()
    for name in run.store.list("shards"):
        if name.endswith(".parquet"):
            found.update(read_table(run.store, name, ["uid"]).column("uid").to_pylist())
    return found


def _changed(run: Run, url: str, state: Snapshot, shipped: set[str]) -> list[str]:
    """Return the shipped samples that the applied entries, grants and verdicts deny at the time of `state`."""
    with open_registry(url) as registry:
        found = tightened(run, registry, state) if registry.holds(state) else []
    return [sample.words for sample in found if sample.uid in shipped]


def _registry_problems(run: Run, state: Snapshot | None, url: str | None, now: datetime) -> list[Problem]:
    """Compare the pinned state of the registry with the registry as it is."""
    if state is None:
        return [Problem("NO_REGISTRY", f"{PROBLEMS['NO_REGISTRY']} Set rights.registry, or assay optout apply.")]
    problems = []
    if old := too_old(state.at, now, run.recipe.rights.registry_max_age_days):
        problems.append(Problem("REGISTRY_OLD", f"{PROBLEMS['REGISTRY_OLD']} It was {old}: assay optout apply."))
    if url is None:
        return [*problems, Problem("NO_REGISTRY", f"{PROBLEMS['NO_REGISTRY']} Name one with --registry.")]
    with open_registry(url) as registry:
        return [*problems, *_against(registry, state, url), *_incomparable(run, registry, state)]


def _incomparable(run: Run, registry: Registry, state: Snapshot) -> list[Problem]:
    """Return a problem where the pinned state holds works that no sample was compared with, unless accepted."""
    if run.recipe.rights.incomparable == "accept" or not registry.holds(state):
        return []
    encoder = encoder_of(run)
    found = incomparable(registry, state, encoder)
    if not found:
        return []
    named = ", ".join(f"{number} (by {found[number]})" for number in list(found)[:_NAMED])
    detail = (
        f"{len(found)} found: {named}; the dataset's own encoder is {encoder or 'none'}: score it with theirs, or "
        "assay replay --set rights.incomparable=accept."
    )
    return [Problem("NOT_COMPARED", f"{PROBLEMS['NOT_COMPARED']} {detail}")]


def _against(registry: Registry, state: Snapshot, url: str) -> list[Problem]:
    """Return what the registry's chain and its entries since the pinned state have against the dataset."""
    if not registry.holds(state):
        return [Problem("REGISTRY_OTHER", f"{PROBLEMS['REGISTRY_OTHER']} {url} has not entry {state.seq}.")]
    broken = registry.verify(state)
    if broken:
        return [Problem("REGISTRY_BROKEN", f"{PROBLEMS['REGISTRY_BROKEN']} {broken[0].detail}")]
    now = registry.snapshot()
    if now.seq == state.seq:
        return []
    new = registry.entries(state.seq, min(now.seq, state.seq + _NAMED))
    named = ", ".join(f"{entry.seq} ({entry.kind.value} {entry.value[:80]})" for entry in new)
    detail = f"{now.seq - state.seq} new: {named}: assay optout apply."
    return [Problem("UNAPPLIED_ENTRY", f"{PROBLEMS['UNAPPLIED_ENTRY']} {detail}")]
