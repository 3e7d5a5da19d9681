"""A checkpoint is known under every version of the dataset that it was trained on, and tells of the present one."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tiny import YAML
from training_runs import copy_run, opened

from filters.optout.entries import Draft, Kind
from pipelines.commands.main import invoke
from pipelines.jobs.apply import apply
from pipelines.jobs.retract import Keys
from pipelines.registry.store import open_registry
from pipelines.run.manifest import read_manifest
from pipelines.run.trainings import trainings
from training.checkpoints import checkpoints, read_facts
from training.config import parse_config
from training.gate import removals
from training.run import train


def retract(folder, artist):
    """Take an artist's samples out of the dataset; return the content hash of the version after that."""
    with open_registry(str(folder / "registry.sqlite")) as registry:
        registry.append([Draft(Kind.CREATOR, artist)])
    return str(apply(opened(folder), None, Keys(Ed25519PrivateKey.generate()))["after"])


@pytest.fixture(scope="module")
def between(dataset, tmp_path_factory):
    """A training whose dataset has lost an artist between its stages: run, the training's folder, both versions."""
    folder = copy_run(dataset, tmp_path_factory.mktemp("between") / "own")
    out, first, config = folder / "model", read_manifest(opened(folder))["content_hash"], parse_config(YAML, "c", [])

    def stop(line):
        if line.startswith("latents are multiplied"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, str(folder / "run"), out, None, stop)
    second = retract(folder, "Artist 1")
    train(config, str(folder / "run"), out, None, lambda line: None)
    return folder, out, [first, second]


def test_after_a_retraction_between_the_stages_the_record_names_the_version_of_the_last_one(between, capsys):
    folder, out, versions = between
    facts = read_facts(checkpoints(out)[-1][1])
    assert facts["datasets"] == versions
    recorded = trainings(opened(folder).store, set(versions))
    (record,) = [one for one in recorded if one.checkpoint == facts["checkpoint"]]
    assert (record.earlier, record.dataset) == ((versions[0],), versions[1])
    assert invoke(["lineage", str(out), "--run", str(folder / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["missing"] == []


def test_each_version_alone_finds_the_checkpoint(between):
    folder, out, versions = between
    identity = read_facts(checkpoints(out)[-1][1])["checkpoint"]
    for version in versions:
        assert identity in {one.checkpoint for one in trainings(opened(folder).store, {version})}
    assert trainings(opened(folder).store, {"0" * 64}) == []


def test_a_record_that_left_a_version_out_is_made_whole_by_the_same_command(between):
    folder, out, versions = between
    identity = read_facts(checkpoints(out)[-1][1])["checkpoint"]
    path = folder / "run" / "trainings" / f"{identity}.json"
    whole = json.loads(path.read_text())
    older = {name: value for name, value in whole.items() if name != "earlier"}
    path.write_text(json.dumps({**older, "dataset": versions[0]}))  # as releases before wrote it
    assert identity in {one.checkpoint for one in trainings(opened(folder).store, {versions[0]})}
    train(parse_config(YAML, "c", []), str(folder / "run"), out, None, lambda line: None)
    assert json.loads(path.read_text()) == whole


def test_a_retraction_during_a_training_is_on_its_card_and_recorded_once_however_often_it_resumes(dataset, tmp_path):
    folder, out = copy_run(dataset, tmp_path / "own"), tmp_path / "model"
    config = parse_config(YAML, "c", ["autoencoder.kind=pixels", "checkpoints.every=1"])
    after = []

    def retract_then_stop(line):
        if line.startswith("denoiser 1/"):
            after.append(retract(folder, "Artist 1"))
        if line.startswith("denoiser 3/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, str(folder / "run"), out, None, retract_then_stop)
    train(config, str(folder / "run"), out, None, lambda line: None)
    (record,) = removals(out)
    assert (record["at_step"], record["entries"], len(record["removed"])) == (1, [1], 12)
    path = checkpoints(out)[-1][1]
    told = read_facts(path)["data"]
    assert (told["manifest"], told["kept"], told["opt_outs_honoured"]) == (after[0], 48, {"REGISTRY_OPT_OUT": 12})
    assert after[0] in (path / "README.md").read_text()
