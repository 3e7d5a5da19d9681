"""The report's section on the audit: gates first, effects with their intervals, what nobody measured; hostile text."""

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pipelines"))

import pyarrow as pa
from audit_runs import make, plain, recipe

from audit import planted
from dashboards.audit import audit_facts, bias_unsaid
from dashboards.audit_figures import Bar, Dot, effects, shares
from dashboards.report import _environment
from pipelines.jobs.audit import audit
from pipelines.jobs.groups import assign_groups

GATES = {
    "fair": {"disparate_impact": {"group": "region", "rule": "aesthetic"}},
    "known": {"coverage": {"group": "region", "min": 0.5}},
    "tongues": {"coverage": {"group": "gender_terms", "min": 0.5}},
}


def audited(folder, table, made=None):
    run = make(folder, table, made)
    assign_groups(run)
    audit(run)
    return run


def page(run):
    template = _environment().from_string("{% from 'audit.html' import audit_section %}{{ audit_section(audit) }}")
    return template.render(audit=audit_facts(run))


def test_a_planted_filter_reads_as_a_failing_gate_a_cell_and_a_sentence(tmp_path):
    run = audited(tmp_path / "run", planted.disfavoured(9000, 3), recipe(scorers=["size"], gates=GATES))
    found = audit_facts(run)
    assert {gate.name: gate.mark for gate in found.gates} == {"fair": "fail", "known": "pass", "tongues": "fail"}
    (region,) = [card for card in found.groups if card.name == "region"]
    steps = {step: dict(zip(region.matrix.values, cells, strict=True)) for step, cells in region.matrix.rows}
    assert steps["LOW_AESTHETIC"]["Africa"].verdict == "fail"
    assert steps["all rules"]["Africa"].verdict == "fail"
    assert [cell.verdict for cell in steps["LOW_AESTHETIC"].values()].count("base") == 1
    assert any(sentence.startswith("Africa") for sentence in region.sentences)
    html = page(run)
    assert html.index("Gates: what the recipe asks") < html.index("Who is in it") < html.index("Not measured, and why")
    assert "Skin tone" in html
    assert "UN population" in html
    assert "nan" not in html.lower().replace("tenant", "")
    assert "counts words, places and labels" in bias_unsaid(run)


def test_planted_occupations_are_drawn_around_zero(tmp_path):
    run = audited(tmp_path / "run", planted.occupations(6000, 1), recipe(scorers=["size"]))
    (asked,) = [item for item in audit_facts(run).effects if item.chart]
    assert "nurse" in asked.chart
    assert "rather feminine" in asked.chart
    assert any("nurse" in sentence for sentence in asked.sentences)


def test_values_of_strangers_are_text_and_no_markup(tmp_path):
    nasty = "<script>alert(1)</script>\"'&\u202e"
    groups = {"maker": {"kind": "creator"}, "<b>": {"kind": "column", "column": "folder"}}
    table = plain(["x"] * 90, creator=pa.array([nasty, "b", "c"] * 30), folder=pa.array(["]]>", "a"] * 45))
    gates = {"<i>": {"share": {"group": "maker", "value": nasty, "max": 0.1}}}
    html = page(audited(tmp_path / "run", table, recipe(scorers=["size"], audit={"groups": groups}, gates=gates)))
    assert "<script" not in html
    assert "<b>]" not in html
    assert "<i>" not in html
    assert "\u202e" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize("captions", [[], ["a"], [None] * 5])
def test_next_to_nothing_has_a_page_too(tmp_path, captions):
    html = page(audited(tmp_path / "run", plain(captions), recipe(scorers=["size"], gates=GATES)))
    assert "not measurable, so it does not pass" in html
    assert "No kept sample has a value of this group" in html


def test_no_audit_and_an_old_one_say_so(tmp_path):
    run = make(tmp_path / "run", plain(["a woman"] * 3), recipe(scorers=["size"]))
    assert "No audit ran" in page(run)
    assert "No audit ran" in bias_unsaid(run)
    assign_groups(run)
    audit(run)
    marker = tmp_path / "run" / "ledger" / "part-00000.done.json"
    marker.write_text(marker.read_text().replace('"content": "', '"content": "other'))
    assert "older than the ledger" in page(run)


def test_figures_stay_inside_their_frame_and_say_what_they_show():
    drawn = shares("i", "t", [Bar("a", 0.5, 0.4, 0.6, 0.2, 0.9, 1.0), Bar("b" * 90, 0.0, 0.0, 0.0)])
    assert "a 50.0 %" in drawn
    assert "b" * 40 not in drawn.split("<desc")[0]
    around = effects("j", "t", [Dot("a", -2.0, -3.0, -1.0, True), Dot("b", 0.0, 0.0, 0.0, False)], "left", "right")
    for svg in (drawn, around):
        numbers = [float(x) for x in re.findall(r'c?x[12]?="(-?[\d.]+)"', svg)]
        assert numbers
        assert all(0 <= x <= 640 for x in numbers)
    assert shares("i", "t", [])
    assert effects("i", "t", [], "l", "r")
