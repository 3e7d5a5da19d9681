"""The Rights page: figures equal the run's own files, evidence has its deciding line, hostile text is inert."""

import json
from datetime import datetime, timedelta, timezone
from hashlib import sha256

import pyarrow as pa
import pytest
from run_making import make_run, sample_rows
from web_clients import client_for

from filters.optout.base import Document, Evidence, Fetched
from filters.optout.robots_channel import RobotsChannel
from pipelines.jobs.match import pin
from pipelines.registry.store import create_registry
from pipelines.retraction.index import build_index
from pipelines.run.directory import open_run
from pipelines.run.parts import PartWriter, part_name
from pipelines.run.schema import SIGNALS

EVIL = b"</li><script>alert(1)</script> \xe2\x80\xaeevil \x07 {{ 7*7 }}"
BODY = b"# " + EVIL + b"\nUser-agent: GPTBot\nDisallow: /art/\n\nUser-agent: *\nDisallow: /private/\nAllow: /\n"
DIGEST = sha256(BODY).hexdigest()
RECIPE = "name: rights\ninput: {kind: webdataset, path: nowhere}\n"


def robots_signals():
    """What the real channel reads from BODY for one picture."""
    url = "https://art.example/robots.txt"
    document = Document(url, BODY, Fetched.FOUND, datetime.now(timezone.utc), 200)
    return RobotsChannel().read(Evidence(url="https://art.example/art/1.png", robots=document))


def signal_rows(uids):
    rows = []
    for at, uid in enumerate(uids):
        for signal in robots_signals() if at % 2 == 0 else []:
            row = {name: getattr(signal, name, None) for name in SIGNALS.names}
            rows.append({**row, "uid": uid, "verdict": signal.verdict.value})
        row = {"uid": uid, "channel": "cc:licence", "source": "record", "raw": EVIL.decode(), "spec": "x"}
        rows.append({**row, "verdict": "unknown", "detail": EVIL.decode(), "unreadable": at == 1})
    return rows


@pytest.fixture(scope="module")
def rows():
    return sample_rows(120, seed=9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, rows):
    """A folder with a run that has signals, evidence and a registry with newer entries, and one with nothing."""
    root = tmp_path_factory.mktemp("rights")
    registry = root / "optouts.sqlite"
    with create_registry(str(registry)) as opened:
        before = opened.snapshot()
    run = make_run(root / "run", rows, recipe=RECIPE, part_rows=70)
    text = run.store.read("recipe.yaml").decode()
    run.store.write("recipe.yaml", text.replace("registry: null", f"registry: {registry}").encode())
    write_signals(run, rows)
    run.store.write(f"policies/{DIGEST}", BODY)
    facts = {"kind": "robots", "url": "https://art.example/<b>robots.txt", "state": "found", "http_status": 200}
    latest = {**facts, "fetched_at": "2026-01-02T00:00:00+00:00", "sha256": DIGEST}
    run.store.write("policies/latest/00/0.json", json.dumps(latest).encode())
    pin(run, before)
    build_index(run)
    add_entry(registry, rows[0]["creator"])
    make_run(root / "plain", sample_rows(30, seed=2))
    return root


def write_signals(run, rows):
    for part in run.parts("samples"):
        (run.store.fs).rm(run.store.path(part_name("signals", part)))
        uids = run.table("samples", part, ["uid"]).column("uid").to_pylist()
        table = pa.Table.from_pylist(signal_rows(uids), schema=SIGNALS)
        PartWriter(run.store, part_name("signals", part, ""), "made").add_table(part_name("signals", part), table)


def add_entry(registry, creator):
    from filters.optout.entries import Draft, Kind
    from pipelines.registry.store import open_registry

    with open_registry(str(registry)) as opened:
        entries = [(Kind.CREATOR, creator), (Kind.DOMAIN, "nobody.example")]
        opened.append([Draft(kind, value, requester="me") for kind, value in entries])


@pytest.fixture(scope="module")
def client(folder, tmp_path_factory):
    with client_for(folder, tmp_path_factory.mktemp("cache")) as client:
        yield client


def test_counts_by_channel_and_verdict_are_those_of_the_signals_and_add_up(client, folder):
    run = open_run(str(folder / "run"))
    wanted = {}
    for part in run.parts("samples"):
        for row in run.table("signals", part).to_pylist():
            word = "unreadable" if row["unreadable"] else row["verdict"]
            key = row["channel"], word
            wanted[key] = wanted.get(key, 0) + 1
    body = client.get("/api/runs/run/rights").json()
    found = {(row["channel"], word): n for row in body["channels"] for word, n in row["counts"].items()}
    assert found == wanted
    assert body["adds_up"]
    assert body["signals"] == sum(wanted.values())
    assert {"deny", "unknown", "unreadable"} <= {word for _, word in wanted}


def test_each_figure_leads_to_exactly_its_signals(client):
    body = client.get("/api/runs/run/rights").json()
    for row in body["channels"]:
        for word, count in row["counts"].items():
            query = {"channel": row["channel"], "verdict": word}
            found, after = [], ""
            while True:
                page = client.get("/api/runs/run/rights/signals", params={**query, "after": after}).json()
                found += page["signals"]
                after = page["after"]
                if not after:
                    break
            assert len(found) == count == page["total"]
            assert {(one["channel"], one["verdict"]) for one in found} == {(row["channel"], word)}


def test_the_line_that_decided_is_marked_and_no_other(client):
    body = client.get(f"/api/runs/run/rights/evidence/{DIGEST}").json()
    assert [line["text"] for line in body["lines"] if line["denies"]] == ["Disallow: /art/"]
    wanted = {signal.raw for signal in robots_signals()}
    assert {line["text"] for line in body["lines"] if line["marks"]} == wanted
    assert body["whole"]
    assert body["size"] == len(BODY)
    page = client.get(f"/runs/run/rights/evidence/{DIGEST}").text
    assert page.count('data-testid="deciding"') == 1


@pytest.mark.parametrize("path", ["rights", "rights/signals", f"rights/evidence/{DIGEST}"])
def test_hostile_bodies_signals_and_addresses_are_escaped(client, path):
    answer = client.get(f"/runs/run/{path}")
    assert answer.status_code == 200
    for evil in ("<script>alert", "\u202e", "\x07", "<b>robots"):
        assert evil not in answer.text


def test_a_body_that_was_changed_or_is_huge_or_is_no_text_is_told_and_bounded(client, folder):
    huge = b"Disallow: /x\n" * 400_000
    odd = bytes(range(256)) * 50
    for data, lines in ((huge, 4000), (odd, 0)):
        digest = sha256(data).hexdigest()
        (folder / "run" / "policies" / digest).write_bytes(data)
        body = client.get(f"/api/runs/run/rights/evidence/{digest}").json()
        assert body["size"] == len(data)
        assert len(body["lines"]) == lines
        assert body["whole"]
        assert len(client.get(f"/runs/run/rights/evidence/{digest}").content) < 2 << 20
    false = "0" * 64
    (folder / "run" / "policies" / false).write_bytes(b"something else")
    assert client.get(f"/api/runs/run/rights/evidence/{false}").json()["whole"] is False


def test_evidence_and_receipts_that_are_not_there_give_404_and_bad_names_422(client):
    assert client.get(f"/runs/run/rights/evidence/{'1' * 64}").status_code == 404
    assert client.get("/runs/run/rights/receipts/7").status_code == 404
    for path in ("rights/evidence/..%2f..%2frecipe.yaml", "rights/evidence/ABC", "rights/receipts/x"):
        assert client.get(f"/runs/run/{path}").status_code in (404, 422)
    assert client.get("/runs/run/rights/signals?verdict=none").status_code == 400
    assert client.get("/runs/run/rights/signals?after=1_x").status_code == 400


def test_pending_entries_are_those_of_check_and_name_the_samples_that_they_would_hit(client, folder, rows):
    from pipelines.jobs.check import check

    run = open_run(str(folder / "run"))
    told = [problem.detail for problem in check(run).problems if problem.code == "UNAPPLIED_ENTRY"]
    body = client.get("/api/runs/run/rights").json()["registry"]
    assert body["newer"] == 2
    assert "2 new" in told[0]
    by_kind = {entry["kind"]: entry for entry in body["pending"]}
    mine = [row for row in rows if row["creator"] == rows[0]["creator"]]
    assert by_kind["creator"]["may_hit"] == len(mine) > 0
    assert by_kind["domain"]["may_hit"] == 0
    kept = client.get("/api/runs/run/samples", params={"creator": rows[0]["creator"], "decision": "kept"}).json()
    assert by_kind["creator"]["kept"] == kept["total"]


def test_the_registry_is_old_by_the_recipes_own_bound(folder, client):
    from dashboards.web.query.rights_registry import registry_facts

    opened = client.app.state.catalogue.open("run", patience=60)
    now = datetime.now(timezone.utc)
    assert registry_facts(opened, folder, now).state == "fresh"
    allowed = opened.run.recipe.rights.registry_max_age_days
    assert registry_facts(opened, folder, now + timedelta(days=allowed + 1)).state == "old"


def test_a_registry_outside_the_served_folder_is_not_opened(folder, tmp_path, client):
    from dashboards.web.query.rights_registry import registry_facts

    opened = client.app.state.catalogue.open("run", patience=60)
    found = registry_facts(opened, tmp_path, datetime.now(timezone.utc))
    assert found.newer is None
    assert "outside" in found.problem


def test_nothing_is_written_in_run_or_registry(client, folder):
    def state():
        return {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*") if p.is_file()}

    before = state()
    client.get("/runs/run/rights")
    assert state() == before


def test_a_run_without_signals_registry_or_trainings_says_so_in_plain_sentences(client):
    page = client.get("/runs/plain/rights").text
    assert "No rights signal was read" in page
    assert "No opt-out registry was consulted" in page
    assert "This run has no receipts" in page
    assert "No training on this run is on record" in page
    assert client.get("/api/runs/plain/rights").json()["signals"] == 0
