"""The registry's matches as a stage: what a person must judge is queued in the end, what was not compared is told."""

import json

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from making import sample, write_recipe, write_tar

from filters.optout.entries import Draft, Kind, embedding_value
from pipelines.commands.main import invoke
from pipelines.engine import PLAIN, Engine
from pipelines.jobs.apply import apply
from pipelines.jobs.match import Match, encoder_of, match, pin_registry
from pipelines.jobs.retract import Keys
from pipelines.registry.reviews import reviews
from pipelines.registry.store import create_registry, open_registry
from pipelines.retraction.words import receipt_words
from pipelines.run.directory import open_run

KEYS = Keys(Ed25519PrivateKey.generate())
OTHER = Draft(Kind.EMBEDDING, embedding_value("some other encoder", np.eye(1, 8, dtype=np.float32)[0]))


def made(folder, *scorers, **sections):
    """A finished run of 6 samples, whose registry is empty."""
    write_tar(folder / "in" / "0.tar", *(sample(i) for i in range(6)))
    create_registry(str(folder / "registry.sqlite")).close()
    rights = {"registry": str(folder / "registry.sqlite"), **sections}
    scorers = ["size", "hashes", "caption", *scorers]
    recipe = write_recipe(folder, folder / "in", rights=rights, scorers=scorers, duplicates=None)
    assert invoke(["run", str(recipe), "--out", str(folder / "run"), "--runner", "plain"]) == 0
    return open_run(str(folder / "run"))


def add(run, draft):
    with open_registry(run.recipe.rights.registry) as registry:
        registry.append([draft])


def queued(run):
    with open_registry(run.recipe.rights.registry) as registry:
        return [pair.uid for pair in reviews(registry)]


def test_pairs_of_parts_that_were_matched_before_the_queue_could_be_written_are_queued_later(tmp_path):
    alike = {"look_alike": {"cosine": 1.0, "review_cosine": 0.99}}
    run = made(tmp_path, "similarity", **alike)
    column = run.table("embeddings", 0, ["image"]).column("image").combine_chunks()
    vectors = column.flatten().to_numpy().reshape(6, -1).astype(np.float32)
    unit = vectors[3] / np.linalg.norm(vectors[3])
    other = np.random.default_rng(0).normal(size=unit.shape).astype(np.float32)
    other -= unit * (other @ unit)
    near = unit * 0.995 + other / np.linalg.norm(other) * np.sqrt(1 - 0.995**2)
    add(run, Draft(Kind.EMBEDDING, embedding_value(str(encoder_of(run)), near.astype(np.float32))))
    for name in ("registry.json", "matches/part-00000.done.json"):
        run.store.delete(name)
    # as a job does that ends where the registry is busy: the parts are done, and nothing is queued
    Match(run, pin_registry(run), encoder_of(run)).run(0)
    assert run.rows("matches") >= 1
    assert queued(run) == []
    match(run, Engine(PLAIN))
    uids = run.table("samples", 0, ["uid"]).column("uid").to_pylist()
    assert uids[3] in queued(run)
    before = queued(run)
    with open_registry(run.recipe.rights.registry) as registry, registry.database.writing():
        match(run, Engine(PLAIN))  # all are queued: no writer is waited for
    assert queued(run) == before


@pytest.mark.parametrize("scorers", [[], ["similarity"]], ids=["no-encoder", "another-encoder"])
def test_a_work_by_another_encoder_is_told_and_the_dataset_is_not_cleared(tmp_path, capsys, scorers):
    run = made(tmp_path, *scorers)
    assert invoke(["check", run.store.url]) == 0
    add(run, OTHER)
    capsys.readouterr()
    record = apply(run, None, KEYS)
    said = "1 registered work(s) are compared with no sample: their embeddings are by some other encoder"
    assert said in capsys.readouterr().err
    receipt = json.loads(run.store.read(record["receipts"][0]))
    own = encoder_of(run) or "none"
    assert (
        receipt["receipt"]["request"]["not_compared"] == f"made by encoder some other encoder, the dataset's is {own}"
    )
    assert "Not compared with any sample: made by encoder some other encoder" in receipt_words(receipt)
    assert invoke(["check", run.store.url]) == 3
    assert "NOT_COMPARED" in capsys.readouterr().err
    # whoever knows better says so in the recipe
    words = ["--set", "rights.incomparable=accept"]
    assert invoke(["replay", run.store.url, "--out", str(tmp_path / "new"), *words]) == 0
    assert invoke(["balance", str(tmp_path / "new"), "--runner", "plain"]) == 0
    assert invoke(["check", str(tmp_path / "new")]) == 0
    capsys.readouterr()
    assert invoke(["run", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "later"), "--runner", "plain"]) == 0
    assert said in capsys.readouterr().err
    assert invoke(["check", str(tmp_path / "later")]) == 3
