"""Policy answers are reused while they are fresh, whole and known to be an answer."""

from datetime import datetime, timedelta, timezone

import pytest

from filters.optout.base import Document, Fetched
from pipelines.fetch.evidence import EvidenceStore, Policy
from pipelines.run.storage import Store

URL = "http://a.test/robots.txt"
DAY = timedelta(hours=24)


def policy(state: Fetched = Fetched.FOUND, body: bytes = b"User-agent: *\n", age: timedelta = timedelta(0)) -> Policy:
    return Policy("robots", Document(URL, body, state, datetime.now(timezone.utc) - age, 200))


@pytest.fixture
def store(tmp_path) -> EvidenceStore:
    return EvidenceStore(Store(str(tmp_path)))


@pytest.mark.parametrize("kept", [policy(), policy(body=b""), policy(Fetched.ABSENT, b"")])
def test_an_answer_is_found_again(store, kept):
    store.keep(kept)
    assert store.recall("robots", URL, DAY) == kept


@pytest.mark.parametrize(
    "kept", [policy(age=timedelta(hours=25)), policy(age=timedelta(hours=-1)), policy(Fetched.UNREACHABLE, b"")]
)
def test_what_is_old_of_the_future_or_no_answer_is_not(store, kept):
    store.keep(kept)
    assert store.recall("robots", URL, DAY) is None


def test_a_body_is_kept_once_and_by_its_hash(store, tmp_path):
    for number in range(3):
        store.keep(
            Policy(
                "robots", Document(f"http://{number}.test/robots.txt", b"same", fetched_at=datetime.now(timezone.utc))
            )
        )
    bodies = [path for path in (tmp_path / "policies").iterdir() if path.is_file()]
    assert [path.read_bytes() for path in bodies] == [b"same"]


def test_a_body_that_was_changed_is_no_evidence(store):
    kept = policy()
    store.keep(kept)
    store.store.write(f"policies/{kept.document.sha256}", b"User-agent: x\n")
    assert store.body(kept.document.sha256) is None
    assert store.recall("robots", URL, DAY) is None


def test_a_damaged_note_is_no_answer(store, tmp_path):
    store.keep(policy())
    for path in (tmp_path / "policies" / "latest").rglob("*.json"):
        for text in (b"", b"{", b"[]", b'{"state": "maybe"}', b'{"state": "absent"}', b"\xff"):
            path.write_bytes(text)
            assert store.recall("robots", URL, DAY) is None
