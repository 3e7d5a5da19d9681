"""A gate that is waived while a training runs makes a new version of the same dataset; nothing loses its track."""

from itertools import islice

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from training_runs import make_run, opened, shards_of, small

from filters.optout.entries import Draft, Kind
from pipelines.commands.main import invoke
from pipelines.jobs.apply import apply
from pipelines.jobs.retract import Keys
from pipelines.registry.store import open_registry
from pipelines.run.manifest import read_manifest
from training.checkpoints import write_checkpoint
from training.data.attribution import attribute
from training.data.exposure import Exposure
from training.data.lineage import trace
from training.data.loader import Batches
from training.gate import clear, record_checkpoint

GROUPS = {"groups": {"artists": {"kind": "creator"}}}
#: 12 of 60 samples are of Artist 1, and 12 of 48 once another artist has left.
GATES = {"fair": {"share": {"group": "artists", "value": "Artist 1", "max": 0.21}}}


def content(folder):
    """The content hash of the present version."""
    return str(read_manifest(opened(folder))["content_hash"])


@pytest.fixture(scope="module")
def waived(tmp_path_factory):
    """A training that meets a retraction, begins an epoch of what is left, and then meets a waiver.

    The run's folder, its versions, the exposure after all that, a uid of the last batch, and what the gate said.
    """
    folder = make_run(tmp_path_factory.mktemp("waived"), audit=GROUPS, gates=GATES)
    out = folder / "training"
    out.mkdir()
    versions, exposure = [content(folder)], Exposure()
    gate = clear(opened(folder), out)
    with Batches(shards_of(folder), small(), folder=out) as batches:
        for batch in islice(batches, 3):
            exposure.add(batch, batches.view)
        with open_registry(str(folder / "registry.sqlite")) as registry:
            registry.append([Draft(Kind.CREATOR, "Artist 0")])
        apply(opened(folder), None, Keys(Ed25519PrivateKey.generate()))
        versions.append(content(folder))
        gate.recheck(batches, 3)
        for batch in islice(batches, 12):
            exposure.add(batch, batches.view)
        assert batches.view.content == versions[1], "an epoch of the second version has begun"
        checkpoint, facts = write_checkpoint(out, 15, lambda place: exposure.save(place, out), {})
        record_checkpoint(opened(folder), facts["checkpoint"], checkpoint, exposure)
        assert invoke(["check", str(folder / "run")]) == 3
        assert invoke(["waive", str(folder / "run"), "fair", "--by", "A. Person", "--why", "a test"]) == 0
        versions.append(content(folder))
        removal = gate.recheck(batches, 15)
    assert len(set(versions)) == 3
    return folder, versions, exposure, batch.uids[0], facts["checkpoint"], removal


def test_the_training_goes_on_with_the_version_of_the_waiver(waived):
    _, versions, _, _, _, removal = waived
    assert (removal.uids, removal.dataset) == ((), versions[2])


def test_lineage_keeps_the_version_before_the_waiver_and_the_checkpoint(waived):
    folder, versions, exposure, uid, checkpoint, _ = waived
    found = trace(opened(folder), uid)
    assert found["versions"] == versions
    assert [(one["checkpoint"], one["exposures"]) for one in found["checkpoints"]] == [(checkpoint, exposure.of(uid))]
    gone = next(iter(set(exposure.counts()) - set(shards_of(folder).uids(range(48)))))
    found = trace(opened(folder), gone)
    assert found["versions"] == versions[:1]
    assert [record["entries"] for record in found["retractions"]] == [[1]]


def test_attribution_knows_the_version_before_the_waiver(waived):
    folder, _, exposure, _, _, _ = waived
    assert len(attribute(opened(folder), exposure, "10.00", "works")) == 5


def test_the_rights_page_lists_the_checkpoint_of_the_version_before_the_waiver(waived):
    from dashboards.later import later_facts

    folder, versions, _, _, checkpoint, _ = waived
    later = later_facts(opened(folder))
    assert later.problem == ""
    assert [(one.checkpoint, one.dataset, one.left) for one in later.exposures] == [(checkpoint, versions[1], 0)]
