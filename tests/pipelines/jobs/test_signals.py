"""The signals of a part: the recipe's settings that they depend on, and the evidence that is kept for them."""

import hashlib

import pytest
from making import picture

from filters.errors import BadInput
from filters.optout.base import Signal, Verdict
from pipelines.jobs.signals import SignalWriter, signal_row, signals_digest, trusted_anchors
from pipelines.run.recipe_rights import Rights
from pipelines.sources.base import Record

ROW = {"uid": "u", "url": None, "caption": "x", "creator": None, "licence": "CC0", "metadata": None}


def test_trusted_certificates_are_read_and_anything_else_is_refused_by_name(tmp_path):
    (tmp_path / "a.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    (tmp_path / "b.pem").write_text("nothing of the kind")
    assert "AAAA" in trusted_anchors(Rights(c2pa_anchors=[str(tmp_path / "a.pem")]))
    for name in ("b.pem", "c.pem"):
        with pytest.raises(BadInput, match=name):
            trusted_anchors(Rights(c2pa_anchors=[str(tmp_path / name)]))


def test_a_part_depends_on_what_its_signals_were_read_with(tmp_path):
    (tmp_path / "a.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    settings = [Rights(), Rights(noindex=True), Rights(agents=["x"]), Rights(c2pa_anchors=[str(tmp_path / "a.pem")])]
    versions = [str(SignalWriter(found).versions()) for found in settings]
    assert len(set(versions)) == len(settings)
    assert str(SignalWriter(Rights(default="fail_closed")).versions()) == versions[0]


def test_signals_of_the_source_come_with_those_of_the_file_and_every_evidence_is_kept():
    captured = Signal("x-robots-tag", Verdict.DENY, "noai\ud800", "spec", "https://h.example.org", "why")
    writer = SignalWriter(Rights())
    writer.add(Record("k", picture(1), "x", None, facts={"signals": [captured]}), ROW)
    rows, packets = writer._rows, writer._packets
    assert [(row["channel"], row["verdict"]) for row in rows] == [("x-robots-tag", "deny"), ("cc:licence", "allow")]
    assert rows[0]["raw"] == "noai\\ud800"
    assert packets == {hashlib.sha256(b"CC0").hexdigest(): b"CC0"}
    assert rows[1]["evidence_sha256"] in packets


def test_the_digest_of_signals_does_not_depend_on_the_time():
    from datetime import datetime, timezone

    early, late = (datetime(2026, 1, day, tzinfo=timezone.utc) for day in (1, 2))
    one, other, third = (
        [signal_row("u", Signal("c", verdict, "raw", "spec", "source", "detail", fetched_at=at))]
        for verdict, at in ((Verdict.DENY, early), (Verdict.DENY, late), (Verdict.ALLOW, early))
    )
    assert signals_digest(one) == signals_digest(other) != signals_digest(third)
