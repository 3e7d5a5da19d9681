"""The Audit page: every figure is one of audit.json, verdicts follow the intervals, hostile values are inert."""

import json
import re
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from run_making import make_run, sample_rows
from web_clients import client_for

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "pipelines"))

from audit_runs import make, plain, recipe

from audit import planted
from pipelines.jobs.audit import audit
from pipelines.jobs.groups import assign_groups

GATES = {"fair": {"disparate_impact": {"group": "region", "rule": "aesthetic"}}}
EVIL = '<script>alert(1)</script>\u202e" onload=x'


def audited(folder, table, made):
    run = make(folder, table, made)
    assign_groups(run)
    audit(run)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("audits")
    audited(root / "unfair", planted.disfavoured(6000, 3), recipe(scorers=["size"], gates=GATES))
    audited(root / "jobs", planted.occupations(6000, 1), recipe(scorers=["size"]))
    captions = [f"a drawing of a town in Kenya {i}" for i in range(80)]
    hostile = plain(captions, creator=pa.array([EVIL if i % 2 else "b" for i in range(80)]))
    made = recipe(scorers=["size"], audit={"groups": {"artist": {"kind": "column", "column": "creator"}}})
    audited(root / "hostile", hostile, made)
    make_run(root / "never", sample_rows(30, seed=4))
    return root


@pytest.fixture(scope="module")
def client(folder, tmp_path_factory):
    with client_for(folder, tmp_path_factory.mktemp("cache")) as client:
        yield client


@pytest.fixture(scope="module")
def document(folder):
    return json.loads((folder / "unfair" / "audit" / "audit.json").read_text())


def test_the_api_gives_the_runs_own_audit(client, document):
    assert client.get("/api/runs/unfair/audit").json() == document


def test_each_cell_of_the_matrix_is_a_ratio_of_the_audit_with_its_interval(client, document):
    body = client.get("/api/runs/unfair/audit/impact", params={"group": "region"}).json()
    (section,) = [one for one in document["sections"] if one["name"] == "impact" and one["group"] == "region"]
    stated = {
        (i["subject"]["reason"], i["subject"]["value"]): i
        for i in section["findings"]
        if i["metric"] == "disparate_impact" and i["value"] is not None
    }
    seen = set()
    for row in body["rows"]:
        for cell in row["cells"]:
            if cell["verdict"] in ("base", "none"):
                continue
            item = stated[row["step"], cell["value"]]
            assert (cell["ratio"], cell["low"], cell["high"]) == (item["value"], item["low"], item["high"])
            seen.add((row["step"], cell["value"]))
    best = {(row["step"], c["value"]) for row in body["rows"] for c in row["cells"] if c["verdict"] == "base"}
    assert {key for key in stated if key not in best} == seen
    assert seen


def test_a_planted_filter_fails_in_words_as_well_as_in_colour(client):
    body = client.get("/api/runs/unfair/audit/impact", params={"group": "region"}).json()
    steps = {row["step"]: {c["value"]: c for c in row["cells"]} for row in body["rows"]}
    assert steps["LOW_AESTHETIC"]["Africa"]["verdict"] == "fail"
    assert steps["LOW_AESTHETIC"]["Africa"]["high"] < 0.8
    page = client.get("/runs/unfair/audit?group=region").text
    row = re.search(r'<tr data-step="LOW_AESTHETIC">.*?</tr>', page, re.S)[0]
    assert '<span class="word">fails</span>' in row
    assert "any_reason=LOW_AESTHETIC" in row
    assert "group.region=Africa" in row


def test_a_cell_leads_to_samples_that_the_rule_removed_from_the_group(client):
    page = client.get("/runs/unfair/audit?group=region").text
    link = re.search(r'href="(/runs/unfair/samples\?group\.region=Africa&amp;any_reason=LOW_AESTHETIC)"', page)[1]
    found = client.get("/api" + link.replace("&amp;", "&")).json()
    assert found["total"] > 0
    assert all("LOW_AESTHETIC" in sample["reasons"] for sample in found["samples"])


def test_gates_stand_as_the_audit_judged_them(client, document):
    page = client.get("/runs/unfair/audit").text
    table = page[page.index('data-testid="gates"') :].split("</table>")[0]
    for gate in document["gates"]:
        assert f">{gate['judged']['name']}<" in table
        assert f'class="gate {gate["judged"]["state"]}"' in table


def test_associations_are_those_of_the_audit_and_the_sure_ones_come_first(client, folder):
    document = json.loads((folder / "jobs" / "audit" / "audit.json").read_text())
    stated = [
        (i["subject"]["concept"], i["value"], i["low"], i["high"], i["state"])
        for s in document["sections"]
        if s["name"] == "association"
        for i in s["findings"]
        if i["metric"] == "npmi_gap"
    ]
    body = client.get("/api/runs/jobs/audit/associations").json()
    found = [(one["concept"], one["figure"], one["low"], one["high"], one["state"]) for one in body]
    assert sorted(map(str, found)) == sorted(map(str, stated))
    sure = [one["state"] == "found" for one in body]
    assert any(sure)
    assert sure == sorted(sure, reverse=True)
    assert 'data-testid="associations"' in client.get("/runs/jobs/audit").text


def test_the_group_stands_in_the_address_and_an_unknown_one_is_refused(client):
    names = re.findall(r'audit\?group=([^"#]+)#', client.get("/runs/unfair/audit").text)
    assert len(names) > 1
    for name in names:
        assert client.get(f"/runs/unfair/audit?group={name}").status_code == 200
    assert client.get("/runs/unfair/audit?group=%3Cb%3E").status_code == 400
    assert "<b>" not in client.get("/runs/unfair/audit?group=%3Cb%3E").text


def test_hostile_values_of_groups_are_escaped(client):
    page = client.get("/runs/hostile/audit?group=artist").text
    assert "script&gt;" in page
    assert "<script>alert" not in page
    assert "\u202e" not in page


def test_a_run_without_an_audit_or_with_an_old_one_says_so(client, folder):
    assert "No audit ran" in client.get("/runs/never/audit").text
    assert client.get("/api/runs/never/audit").status_code == 404
    assert client.get("/api/runs/never/audit/impact").status_code == 404
    assert client.get("/api/runs/never/audit/associations").json() == []
