"""The report tells what the signals said, what the registry named, and what was taken out afterwards."""

import json
from datetime import datetime, timezone

import pyarrow as pa
from run_making import make_run, sample_rows

from dashboards.report import render_report
from dashboards.rights import rights_facts
from pipelines.jobs.match import pin
from pipelines.registry.store import Snapshot
from pipelines.run.parts import PartWriter, part_name
from pipelines.run.schema import MATCHES, SIGNALS


def signal(uid: str, channel: str, verdict: str, unreadable: bool = False) -> dict[str, object]:
    texts = dict.fromkeys(("source", "raw", "spec", "detail"), "x")
    return {"uid": uid, "channel": channel, "verdict": verdict, "unreadable": unreadable, **texts}


def replaced(run, artefact: str, rows: list[dict[str, object]], schema: pa.Schema) -> None:
    marker = run.marker("samples", 0)
    writer = PartWriter(run.store, part_name("samples", 0, ""), marker.fingerprint)
    for name in marker.files:
        writer.keep(marker, name)
    writer.add_table(part_name(artefact, 0), pa.Table.from_pylist(rows, schema=schema))
    writer.commit(marker.rows, marker.facts)


def test_signals_matches_and_retractions_are_counted(tmp_path):
    run = make_run(tmp_path / "run", sample_rows(30))
    before = rights_facts(run)
    assert (before.channels, before.matched, before.retractions) == ([], [], [])
    assert before.registry == "No opt-out registry was consulted."
    rows = [signal("a", "robots.txt", "deny"), signal("a", "robots.txt", "unknown", True), signal("b", "x", "allow")]
    replaced(run, "signals", rows, SIGNALS)
    match = {"uid": "a", "entry": 1, "kind": "creator", "method": "creator", "outcome": "deny", "detail": "x"}
    replaced(run, "matches", [match], MATCHES)
    pin(run, Snapshot(7, "ab" * 32, datetime(2026, 11, 21, tzinfo=timezone.utc)))
    record = {"at": "2026-11-21", "entries": [1], "left": ["a"], "came": [], "before": "x", "after": "cd" * 32}
    run.store.write("retractions/00001.json", json.dumps(record).encode())
    found = rights_facts(run)
    assert [(r.channel, r.deny, r.unreadable, r.allow, r.unknown) for r in found.channels] == [
        ("robots.txt", 1, 1, 0, 0),
        ("x", 0, 0, 1, 0),
    ]
    assert found.matched == [("creator, deny", 1)]
    assert "7 entries" in found.registry
    assert [(r.requests, r.left, r.came) for r in found.retractions] == [(1, 1, 0)]
    page = render_report(run).decode()
    assert 'id="rights"' in page
    assert "robots.txt" in page
    assert "cd" * 32 in page
