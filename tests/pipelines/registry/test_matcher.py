"""A matcher is pinned to its snapshot and finds what the registry names, by key, by pixels and by likeness."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from filters.errors import BadInput
from filters.optout.entries import Draft, Kind, embedding_value
from filters.optout.grants import raw_key, sign_grant
from filters.optout.matching import COLUMNS
from pipelines.registry import Snapshot, create_registry
from pipelines.registry.matcher import Bounds, Matcher, incomparable
from pipelines.registry.reviews import Judgement, judge, queue, reviews
from pipelines.run.schema import MATCHES

NOW = datetime(2026, 11, 21, tzinfo=timezone.utc)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ENCODER = "mini@sha256:1"


def brief(table):
    return [(row["uid"], row["entry"], row["method"], row["outcome"]) for row in table.to_pylist()]


def unit(*numbers):
    vector = np.array(numbers, dtype=np.float32)
    return vector / np.linalg.norm(vector)


def at_cosine(cosine):
    """A vector with this cosine to (1, 0, 0)."""
    return np.array([cosine, np.sqrt(1 - cosine**2), 0], dtype=np.float32)


def test_rows_have_the_schema_of_matches_and_stand_in_the_order_of_the_samples(registry, samples_of):
    registry.append([Draft(Kind.DOMAIN, "x.org"), Draft(Kind.CREATOR, "Jane Doe"), Draft(Kind.SHA256, "a" * 64)])
    samples = samples_of(
        url=["https://ok.org/1", "https://x.org/1", "https://ok.org/2"],
        caption=["by Jane Doe", "a cat", "a dog"],
        sha256=["0" * 64, "a" * 64, "1" * 64],
        uid=["c", "a", "b"],
    )
    found = Matcher(registry, registry.snapshot()).match(samples)
    assert found.schema.equals(MATCHES)
    assert brief(found) == [("c", 2, "caption", "deny"), ("a", 1, "domain", "deny"), ("a", 3, "sha256", "deny")]
    assert found.to_pylist()[0]["detail"] == "caption: jane doe"


def test_a_matcher_sees_no_entry_behind_its_snapshot(registry, samples_of):
    early = registry.append([Draft(Kind.DOMAIN, "x.org")]).snapshot
    late = registry.append([Draft(Kind.DOMAIN, "y.org"), Draft(Kind.DOMAIN, "x.org")]).snapshot
    samples = samples_of(url=["https://x.org/1", "https://y.org/1"])
    assert [row[1] for row in brief(Matcher(registry, late).match(samples))] == [1, 3, 2]
    # The index now covers more than the early snapshot.
    assert [row[1] for row in brief(Matcher(registry, early).match(samples))] == [1]


def test_a_rule_stands_for_what_arrives_later(registry, samples_of):
    registry.append([Draft(Kind.CREATOR, "Jane Doe")])
    matcher = Matcher(registry, registry.snapshot())
    assert matcher.match(samples_of(creator=["John Roe"])).num_rows == 0
    assert matcher.match(samples_of(creator=["Doe, Jane"])).num_rows == 1


def test_a_snapshot_of_another_registry_is_refused(registry, tmp_path):
    registry.append([Draft(Kind.DOMAIN, "x.org")])
    with create_registry(str(tmp_path / "other")) as other:
        other.append([Draft(Kind.DOMAIN, "x.org")])
        with pytest.raises(BadInput, match="pinned snapshot"):
            Matcher(registry, other.snapshot())


def test_slices_do_not_change_the_result(registry, samples_of, monkeypatch):
    registry.append([Draft(Kind.URL, f"https://x.org/{number}") for number in range(0, 100, 7)])
    samples = samples_of(url=[f"https://x.org/{number}" for number in range(100)])
    matcher = Matcher(registry, registry.snapshot())
    whole = matcher.match(samples)
    monkeypatch.setattr("pipelines.registry.matcher._SLICE", 9)
    assert matcher.match(samples).equals(whole)
    assert whole.num_rows == 15


def grant(**more):
    settings = {"licensor": "A", "licensee": "B", "issued_at": NOW, **more}
    return Draft(Kind.GRANT, sign_grant([(Kind.DOMAIN, "x.org")], KEY, **settings))


def test_grants_count_by_trusted_keys_until_they_end(registry, samples_of):
    registry.append([Draft(Kind.DOMAIN, "x.org"), grant(expires_at=NOW + timedelta(days=10))])
    samples = samples_of(url=["https://x.org/1"])
    head = registry.snapshot()

    def outcomes(at, trusted):
        matcher = Matcher(registry, Snapshot(head.seq, head.hash, at), trusted)
        return [row[3] for row in brief(matcher.match(samples))]

    trusted = [raw_key(KEY.public_key())]
    assert outcomes(NOW, trusted) == ["deny", "grant"]
    assert outcomes(NOW, []) == ["deny"]
    assert outcomes(NOW + timedelta(days=10), trusted) == ["deny"]


def test_pictures_are_found_within_31_bits_where_their_quality_is_high_enough(registry, samples_of):
    code = bytes(range(32))
    registry.append([Draft(Kind.DOMAIN, "x.org"), Draft(Kind.PDQ, code.hex())])
    near = bytes([code[0] ^ 0xFF, code[1] ^ 0xFF, code[2] ^ 0xFF, code[3] ^ 0x7F]) + code[4:]
    far = bytes(byte ^ 0xFF for byte in code[:4]) + code[4:]
    codes = [code, near, far, code, None]
    pdq = pa.table(
        {"pdq": pa.array(codes, pa.binary(32)), "pdq_quality": pa.array([90, 50, 90, 49, None], pa.int16())}
    )
    matcher = Matcher(registry, registry.snapshot())
    assert matcher.needs_pictures
    found = matcher.match(samples_of(url=[None] * 5), pdq).to_pylist()
    assert [(row["uid"][-1], row["entry"], row["outcome"], row["distance"]) for row in found] == [
        ("0", 2, "deny", 0),
        ("1", 2, "deny", 31),
    ]
    strict = Matcher(registry, registry.snapshot(), bounds=Bounds(pdq_distance=5))
    assert strict.match(samples_of(url=[None] * 5), pdq).num_rows == 1
    assert matcher.match(samples_of(url=[None] * 5)).num_rows == 0


@pytest.fixture
def works(registry):
    registry.append(
        [
            Draft(Kind.EMBEDDING, embedding_value(ENCODER, unit(1, 0, 0))),
            Draft(Kind.EMBEDDING, embedding_value("another", unit(1, 0, 0, 0))),
        ]
    )
    return registry


def test_between_the_two_bounds_a_person_must_judge(works, samples_of):
    matcher = Matcher(works, works.snapshot(), encoder=ENCODER)
    assert matcher.needs_embeddings
    assert incomparable(works, works.snapshot(), ENCODER) == {2: "another"}
    vectors = np.stack([at_cosine(c) for c in (0.99, 0.951, 0.949, 0.901, 0.89)] + [np.zeros(3, np.float32)])
    samples = samples_of(sha256=[f"{at:064x}" for at in range(6)])
    found = matcher.match(samples, embeddings=vectors.astype(np.float16))
    assert [row[3] for row in brief(found)] == ["deny", "deny", "review", "review"]
    pairs = matcher.pairs_to_review(found, samples)
    assert [(pair.entry, int(pair.picture, 16), int(pair.uid, 16)) for pair in pairs] == [(1, 2, 2), (1, 3, 3)]


def test_a_persons_verdict_settles_the_pair_from_the_next_snapshot_on(works, samples_of):
    samples = samples_of(sha256=["a" * 64, "b" * 64])
    vectors = np.stack([at_cosine(0.93)] * 2)

    def outcomes(snapshot):
        matcher = Matcher(works, snapshot, encoder=ENCODER)
        found = matcher.match(samples, embeddings=vectors)
        return [row[3] for row in brief(found)], matcher.pairs_to_review(found, samples)

    before = works.snapshot()
    found, pairs = outcomes(before)
    assert found == ["review", "review"]
    assert queue(works, pairs) == 2
    assert queue(works, pairs) == 0
    first, second = reviews(works)
    later = before.at + timedelta(seconds=1)
    judge(works, first.id, Judgement.SAME, "Ana", at=later)
    judge(works, second.id, Judgement.DIFFERENT, "Ana", at=later)
    assert outcomes(before)[0] == ["review", "review"]
    assert outcomes(Snapshot(before.seq, before.hash, later)) == (["deny"], [])


def test_vectors_of_another_length_are_refused(works, samples_of):
    matcher = Matcher(works, works.snapshot(), encoder=ENCODER)
    with pytest.raises(BadInput, match="another encoder"):
        matcher.match(samples_of(sha256=["a" * 64]), embeddings=np.ones((1, 4)))
    without = Matcher(works, works.snapshot(), encoder="third")
    assert incomparable(works, works.snapshot(), "third") == {1: ENCODER, 2: "another"}
    assert without.match(samples_of(sha256=["a" * 64]), embeddings=np.ones((1, 4))).num_rows == 0


def test_empty_columns_and_tables_match_nothing(registry, samples_of):
    registry.append([Draft(Kind.DOMAIN, "x.org"), Draft(Kind.CREATOR, "Jane Doe")])
    matcher = Matcher(registry, registry.snapshot())
    assert matcher.match(samples_of(url=[None, "", "no url", "https://["])).num_rows == 0
    assert matcher.match(samples_of(url=[])).num_rows == 0
    assert set(COLUMNS) <= set(samples_of(url=[]).column_names)
