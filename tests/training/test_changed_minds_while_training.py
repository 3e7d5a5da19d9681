"""A grant whose key is trusted no more takes its samples out of a training that is under way."""

import shutil
from itertools import islice

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from training_runs import ARTISTS, SAMPLES, make_run, opened, shards_of, small

from filters.optout.entries import Draft, Kind
from filters.optout.grants import sign_grant
from pipelines.jobs.apply import apply
from pipelines.jobs.retract import Keys
from pipelines.registry.store import open_registry
from pipelines.run.signing import generate, load_private
from training.data.loader import Batches
from training.gate import clear


def test_what_a_grant_kept_leaves_when_its_key_is_trusted_no_more(tmp_path):
    public, other = generate(tmp_path / "grants.pem"), generate(tmp_path / "other.pem")
    rights = {"registry": str(tmp_path / "registry.sqlite"), "grant_keys": [str(public)]}
    folder = make_run(tmp_path, rights=rights)
    covers = [(Kind.CREATOR, "artist 1")]
    grant = sign_grant(covers, load_private(tmp_path / "grants.pem"), licensor="Artist 1", licensee="us")
    with open_registry(rights["registry"]) as registry:
        registry.append([Draft(Kind.CREATOR, "artist 1"), Draft(Kind.GRANT, grant)])
    assert apply(opened(folder), None, Keys(Ed25519PrivateKey.generate()))["left"] == []
    out = tmp_path / "training"
    out.mkdir()
    gate = clear(opened(folder), out)
    with Batches(shards_of(folder), small(), folder=out) as batches:
        list(islice(batches, 2))
        assert gate.recheck(batches, 2) is None
        shutil.copy(other, public)
        removal = gate.recheck(batches, 3)
        assert len(removal.uids) == SAMPLES // ARTISTS
        assert gate.recheck(batches, 4) is None
        seen = {uid for batch in islice(batches, 12) for uid in batch.uids}
    assert seen
    assert not seen & set(removal.uids)
