"""The Rights page: figures equal the run's own files, evidence has its deciding line, hostile text is inert."""

from datetime import datetime, timedelta, timezone
from hashlib import sha256

import pytest
from run_making import make_run, sample_rows
from signals_run import BODY, DIGEST, make_signals, robots_signals
from web_clients import client_for

from pipelines.run.directory import open_run


@pytest.fixture(scope="module")
def rows():
    return sample_rows(120, seed=9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, rows):
    """A folder with a run that has signals, evidence and a registry with newer entries, and one with nothing."""
    root = tmp_path_factory.mktemp("rights")
    make_signals(root, rows)
    make_run(root / "plain", sample_rows(30, seed=2))
    return root


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
