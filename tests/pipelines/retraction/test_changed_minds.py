"""What changes without a new entry: a grant ends, its key is trusted no more, a verdict is corrected."""

import io
import json
import time
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from making import picture, reserved, sample, write_recipe, write_tar
from PIL import Image

from filters.encoders.uri import load_encoder
from filters.optout.entries import Draft, Kind, embedding_value
from filters.optout.grants import sign_grant
from pipelines.commands.main import invoke
from pipelines.jobs.apply import apply
from pipelines.jobs.check import check
from pipelines.jobs.match import pin, pinned
from pipelines.jobs.retract import Keys
from pipelines.registry.reviews import Judgement, judge, reviews
from pipelines.registry.store import Snapshot, create_registry, open_registry
from pipelines.retraction.receipts import verify_receipt
from pipelines.run.directory import create_run, open_run
from pipelines.run.manifest import verify
from pipelines.run.recipe import load_recipe
from pipelines.run.signing import generate, load_private

KEYS = Keys(Ed25519PrivateKey.generate())
NOW = datetime.now(timezone.utc)


def reasons(run) -> dict[str, list[str]]:
    keys = [key for table in run.tables("samples", ["key"]) for key in table.column("key").to_pylist()]
    rows = [row for table in run.tables("ledger") for row in table.to_pylist()]
    return {key: row["reasons"] for key, row in zip(keys, rows, strict=True) if row["reasons"]}


def codes(run, **settings: object) -> list[str]:
    return [problem.code for problem in check(run, **settings).problems]


@pytest.fixture
def granted(tmp_path):
    """Seven samples, matched two days ago: artist 1 opted out, and granted training until a day ago; artist 2 too,

    whose picture 2 denies training in its own file. Caption 3 names artist 1.
    """
    public = generate(tmp_path / "grants.pem")
    samples = [sample(i, "a thing in the style of artist 1" if i == 3 else None) for i in range(7)]
    samples[2]["s00002.png"] = reserved(samples[2]["s00002.png"])
    write_tar(tmp_path / "in" / "0.tar", *samples[:4])
    write_tar(tmp_path / "in" / "1.tar", *samples[4:])
    dates = {"issued_at": NOW - timedelta(days=3), "expires_at": NOW - timedelta(days=1)}
    names = [(Kind.CREATOR, "artist 1"), (Kind.CREATOR, "artist 2")]
    value = sign_grant(names, load_private(tmp_path / "grants.pem"), licensor="they", licensee="us", **dates)
    with create_registry(str(tmp_path / "registry.sqlite")) as registry:
        last = registry.append([Draft(Kind.CREATOR, "artist 1"), Draft(Kind.GRANT, value)]).snapshot
    rights = {"registry": str(tmp_path / "registry.sqlite"), "grant_keys": [str(public)]}
    recipe = write_recipe(tmp_path, tmp_path / "in", rights=rights)
    run = create_run(str(tmp_path / "run"), load_recipe(recipe))
    pin(run, Snapshot(last.seq, last.hash, NOW - timedelta(days=2)))
    assert invoke(["run", str(recipe), "--out", str(tmp_path / "run"), "--runner", "plain"]) == 0
    assert reasons(run) == {}
    return run


ENDED = {
    "s00001": ["REGISTRY_OPT_OUT"],
    "s00002": ["OPTED_OUT"],
    "s00003": ["CREATOR_NAMED"],
    "s00004": ["REGISTRY_OPT_OUT"],
}


def test_a_grant_that_has_ended_is_refused_and_what_it_kept_is_taken_out(granted):
    assert codes(granted, now=NOW - timedelta(days=2)) == []
    assert codes(granted) == ["UNAPPLIED_CHANGE"]
    record = apply(granted, None, KEYS)
    new = open_run(granted.store.url)
    assert reasons(new) == ENDED
    assert len(record["left"]) == 4
    uids = set(record["left"])
    rows = [row for table in new.tables("matches") for row in table.to_pylist() if row["uid"] in uids]
    assert [row["outcome"] for row in rows] == ["deny"] * 3
    assert (check(new).problems, verify(new)) == ([], [])
    assert record["receipts"] == ["receipts/entry-00000001.json"]
    receipt = new.store.read(record["receipts"][0])
    assert verify_receipt(receipt, "it", KEYS.receipts.public_key()) == ("trusted", [])
    assert len(json.loads(receipt)["receipt"]["matched"]) == 3
    again = apply(new, None, KEYS)
    assert (again["left"], again["before"]) == ([], again["after"])


def test_an_ended_grant_counts_with_a_newer_entry_too(granted):
    with open_registry(str(granted.recipe.rights.registry)) as registry:
        registry.append([Draft(Kind.CREATOR, "artist 2")])
    assert codes(granted) == ["UNAPPLIED_ENTRY", "UNAPPLIED_CHANGE"]
    apply(granted, None, KEYS)
    new = open_run(granted.store.url)
    wanted = {**ENDED, "s00002": ["OPTED_OUT", "REGISTRY_OPT_OUT"], "s00005": ["REGISTRY_OPT_OUT"]}
    assert {key: sorted(found) for key, found in reasons(new).items()} == wanted
    assert check(new).ok


def test_an_entry_that_had_a_receipt_keeps_it_inside_the_new_one(granted):
    granted.store.write("receipts/entry-00000001.json", b'{"receipt": {"format": 1}, "signature": {"signature": ""}}')
    record = apply(granted, None, KEYS)
    receipt = json.loads(granted.store.read(record["receipts"][0]))["receipt"]
    assert receipt["earlier"] == {"receipt": {"format": 1}, "signature": {"signature": ""}}


def test_a_key_that_is_trusted_no_more_is_told_from_the_one_that_was(tmp_path):
    """The key's file is the same by name: another key lies in it."""
    public = generate(tmp_path / "grants.pem")
    write_tar(tmp_path / "in" / "0.tar", *(sample(i) for i in range(6)))
    papers = {"licensor": "they", "licensee": "us", "issued_at": NOW - timedelta(days=1)}
    value = sign_grant([(Kind.CREATOR, "artist 1")], load_private(tmp_path / "grants.pem"), **papers)
    with create_registry(str(tmp_path / "registry.sqlite")) as registry:
        registry.append([Draft(Kind.CREATOR, "artist 1"), Draft(Kind.GRANT, value)])
    rights = {"registry": str(tmp_path / "registry.sqlite"), "grant_keys": [str(public)]}
    recipe = write_recipe(tmp_path, tmp_path / "in", rights=rights)
    command = ["run", str(recipe), "--out", str(tmp_path / "run"), "--runner", "plain"]
    assert invoke(command) == 0
    run = open_run(str(tmp_path / "run"))
    assert (reasons(run), codes(run)) == ({}, [])
    for file in (public, tmp_path / "grants.pem"):
        file.unlink()
    generate(tmp_path / "grants.pem")
    assert codes(run) == ["UNAPPLIED_CHANGE"]
    assert invoke(["check", run.store.url]) == 3
    assert invoke(command) == 0
    assert reasons(run) == {"s00001": ["REGISTRY_OPT_OUT"], "s00004": ["REGISTRY_OPT_OUT"]}
    assert codes(run) == []


def test_a_verdict_that_was_corrected_is_applied(tmp_path):
    encoder = load_encoder("builtin:mini", threads=1)
    vector = np.asarray(encoder.encode_images([Image.open(io.BytesIO(picture(3))).convert("RGB")])[0], np.float32)
    vector /= np.linalg.norm(vector)
    other = np.random.default_rng(0).normal(size=vector.shape).astype(np.float32)
    other -= vector * (other @ vector)
    near = vector * 0.97 + other / np.linalg.norm(other) * np.sqrt(1 - 0.97**2)
    write_tar(tmp_path / "in" / "0.tar", *(sample(i) for i in range(6)))
    url = str(tmp_path / "registry.sqlite")
    with create_registry(url) as registry:
        registry.append([Draft(Kind.EMBEDDING, embedding_value(encoder.model_id(), near.astype(np.float32)))])
    sections = {
        "rights": {"registry": url, "look_alike": {"cosine": 0.99, "review_cosine": 0.96}},
        "scorers": ["size", "hashes", "caption", "similarity"],
        "duplicates": None,
    }
    recipe = write_recipe(tmp_path, tmp_path / "in", **sections)
    assert invoke(["run", str(recipe), "--out", str(tmp_path / "first"), "--runner", "plain"]) == 0
    assert reasons(open_run(str(tmp_path / "first"))) == {"s00003": ["LOOK_ALIKE_REVIEW"]}
    with open_registry(url) as registry:
        (pair,) = reviews(registry)
        judge(registry, pair.id, Judgement.DIFFERENT, "somebody", at=NOW - timedelta(minutes=1))
    time.sleep(1.1)  # a pinned state is known by its second, and this process keeps the matcher of the last
    assert invoke(["run", str(recipe), "--out", str(tmp_path / "run"), "--runner", "plain"]) == 0
    run = open_run(str(tmp_path / "run"))
    assert (reasons(run), codes(run)) == ({}, [])
    with open_registry(url) as registry:
        judge(registry, pair.id, Judgement.SAME, "somebody")
    assert codes(run) == ["UNAPPLIED_CHANGE"]
    before = pinned(run)
    assert len(apply(run, None, KEYS)["left"]) == 1
    new = open_run(run.store.url)
    assert reasons(new) == {"s00003": ["LOOK_ALIKE"]}
    assert (codes(new), pinned(new).seq) == ([], before.seq)
