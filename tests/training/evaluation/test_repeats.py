"""The memorisation audit on real pictures: planted repetitions are flagged, held-out pictures are not; resuming."""

import dataclasses

import numpy as np
import pytest

from filters.encoders.uri import load_encoder
from pipelines.run.directory import open_run
from pipelines.run.storage import Store
from training.evaluation.encoder_labels import Reading, skill_of
from training.evaluation.features import EncoderFeatures
from training.evaluation.outputs import OutputAudit
from training.evaluation.prompt_sets import lists
from training.evaluation.repeats import Made, audit_repeats
from training.evaluation.sheets import Eye, joined, load_sheet
from training.evaluation.studio import Asked, Studio, asked_for
from training.evaluation.subjects import PictureReader, subjects_of
from training.sampling.model import Running, load_model
from training.sampling.sample import Sampler, Settings


@pytest.fixture(scope="module")
def world(checkpoint, dataset, tmp_path_factory):
    """What the checkpoint has seen, a studio for it, and the sheets of seen and unseen pictures."""
    model = load_model(checkpoint, Running(device="cpu"))
    subjects = subjects_of(model, open_run(str(dataset / "run")), 0)
    encoder = load_encoder("builtin:mini", threads=1)
    store = Store(str(tmp_path_factory.mktemp("studio")))
    sampler = Sampler(model, Settings("ddim", 2, 1.0, model.side, model.side))
    with PictureReader(subjects, 16) as reader:
        studio = Studio(sampler, reader, Eye(EncoderFeatures(encoder), encoder), store, "key", 4, lambda text: None)
        seen, unseen = studio.real("seen", subjects.seen), studio.real("unseen", subjects.unseen)
        yield subjects, studio, seen, unseen


def audited(world, sheet):
    subjects, _, seen, unseen = world
    made = Made([Asked("a prompt", at) for at in range(len(sheet))], sheet, len(sheet) // 2)
    return audit_repeats(made, seen, unseen, subjects.shards.uids(seen.rows), subjects.basis)


def test_training_pictures_given_back_are_flagged_and_named(world):
    subjects, _, seen, unseen = world
    planted = seen.take(np.array([3, 11, 30]))
    found = audited(world, joined([planted, unseen]))
    by_uid = {pair.embedding_uid: pair for pair in found.pairs if pair.by}
    for uid in subjects.shards.uids(planted.rows):
        assert "embedding" in by_uid[uid].by
        assert by_uid[uid].ratio == 0
    hashed = [pair for pair in by_uid.values() if pair.bits == 0]
    assert len(hashed) >= int(planted.usable.sum())


def test_held_out_pictures_are_flagged_no_more_than_by_chance(world):
    found = audited(world, world[3])
    assert found.flagged.value <= 0.25  # 18 pictures at a rate of 4 %: more than four has a chance below 0.001
    assert found.p > 0.001
    assert found.baseline_flagged.value <= found.rate + 1e-9


def test_a_killed_run_goes_on_without_sampling_again(world):
    _, studio, _, _ = world
    asked = asked_for(["a cat", "a dog"], 5, 7)
    assert [one.seed for one in asked] == [7, 8, 9, 10, 11]
    once = studio.generated("some", asked)
    silent = dataclasses.replace(studio, sampler=None, reader=None)  # neither is there to be asked
    again = silent.generated("some", asked)
    assert (again.features == once.features).all()
    assert (again.codes == once.codes).all()
    with pytest.raises(AttributeError):
        silent.generated("others", asked_for(["a cat"], 5, 99))


def test_a_damaged_file_of_a_killed_run_is_made_anew(world):
    _, studio, seen, _ = world
    assert load_sheet(seen.dump()).rows.tolist() == seen.rows.tolist()
    assert load_sheet(seen.dump()[:-40]) is None
    assert load_sheet(b"") is None
    path = next(iter(studio.store.list("work")))
    studio.store.write(path if "/" in path else f"work/{path}", b"broken")
    assert len(studio.real("seen", world[0].seen)) == len(seen)


def test_every_seen_sample_is_in_the_log_and_no_unseen_one(world):
    subjects = world[0]
    assert (subjects.times[subjects.seen] > 0).all()
    assert (subjects.times[subjects.unseen] == 0).all()


def test_outputs_are_generated_only_for_an_encoder_that_may_be_trusted(world, monkeypatch):
    subjects, studio, _, _ = world
    attribute, prompts = lists().attributes[0], dataclasses.replace(lists().sets[0], prompts=("a nurse", "a cook"))
    good, bad = np.array([[48, 2], [2, 48]]), np.array([[30, 20], [20, 30]])
    readings = [Reading(("feminine", "masculine"), one, skill_of(one), np.zeros(2)) for one in (good, bad)]
    audit = OutputAudit(studio, subjects, 0, 3)
    refused = audit.run(prompts, attribute, readings[0])
    assert not refused.measured
    assert "builtin:mini" in refused.why
    monkeypatch.setattr("training.evaluation.outputs.LEARNT", frozenset())  # as if it were another encoder
    assert not audit.run(prompts, attribute, readings[1]).measured
    found = audit.run(prompts, attribute, readings[0])
    assert found.measured
    assert [row.pictures for row in found.prompts] == [3, 3]
    assert found.whole.shares["feminine"].n == 6
