"""The audit of a whole run: planted effects found, the same bytes however it was run, no figure that is none."""

import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from audit_runs import make, plain, recipe, write_ledger

from audit import planted
from audit.document import json_schema, read
from filters.errors import BadInput
from pipelines.engine import PLAIN, Engine
from pipelines.jobs.audit import DOCUMENT, FINDINGS_FILE, TALLY_FILE, audit, current, load_tally
from pipelines.jobs.groups import assign_groups
from pipelines.run.parts import read_table
from pipelines.run.schema import LEDGER


def audited(folder, table, made=None, runner=PLAIN, rows_a_part=2000):
    """A run of the table, audited, and its document."""
    run = make(folder, table, made, rows_a_part)
    assign_groups(run)
    return run, audit(run, Engine(runner))


def findings(found, section, metric, **subject):
    return [
        item
        for part in found.sections
        if part.name == section
        for item in part.findings
        if item.metric == metric and subject.items() <= dict(item.subject).items()
    ]


def no_nan(value):
    if isinstance(value, dict):
        return all(map(no_nan, value.values()))
    if isinstance(value, list):
        return all(map(no_nan, value))
    return not isinstance(value, float) or math.isfinite(value)


def test_planted_occupations_are_found_through_the_whole_job(tmp_path):
    _, found = audited(tmp_path / "run", planted.occupations(12_000, 1))
    for occupation, share in (("nurse", 0.91), ("ceo", 0.13), ("engineer", 0.12)):
        (given,) = findings(found, "association", "share_given", concept=occupation)
        (gap,) = findings(found, "association", "npmi_gap", concept=occupation)
        assert given.low <= share <= given.high
        assert given.state.value == gap.state.value == "found"
        assert (gap.value > 0) == (share > 0.5)
    assert findings(found, "association", "npmi_gap", concept="lawyer")[0].state.value != "found"


def test_a_filter_against_a_planted_region_is_found_and_fails_its_gate(tmp_path):
    gates = {
        "fair": {"disparate_impact": {"group": "region", "rule": "aesthetic", "against": "Asia"}},
        "kept": {"share": {"group": "region", "value": "Africa", "min": 0.05}},
    }
    _, found = audited(tmp_path / "run", planted.disfavoured(15_000, 3), recipe(gates=gates), "FnApiRunner", 4000)
    truth = planted.normal_pass(-0.35) / planted.normal_pass(0)
    (africa,) = findings(found, "impact", "amplification", reason="LOW_AESTHETIC", group="region", value="Africa")
    assert africa.high < 1
    judged = {gate.judged.name: gate.judged for gate in found.gates}
    assert (judged["fair"].state, judged["fair"].who) == ("fail", "Africa")
    assert judged["fair"].low <= truth <= judged["fair"].high
    assert judged["kept"].state == "pass"
    assert findings(found, "exclusion", "amplification", group="region", value="Africa")


def test_a_planted_trend_over_tones_that_people_labelled_is_found(tmp_path):
    table = planted.toned(12_000, 4)
    pq.write_table(table.select(["uid", "tone"]), tmp_path / "labels.parquet")
    audit_section = {
        "labels": str(tmp_path / "labels.parquet"),
        "groups": {"skin_tone": {"kind": "labels", "column": "tone"}},
    }
    _, found = audited(tmp_path / "run", table, recipe(audit=audit_section))
    (trend,) = findings(found, "trend", "trend", reason="LOW_AESTHETIC")
    assert trend.state.value == "found"
    assert trend.value < 0
    assert "skin tone" not in [item.what for item in found.not_measured]
    assert any(item.what.startswith("gender of people") for item in found.not_measured)


def test_the_null_corpus_gives_no_discovery(tmp_path):
    _, found = audited(tmp_path / "run", planted.null(12_000, 7))
    sure = [item for part in found.sections if part.name != "reference" for item in part.findings]
    assert [item.words for item in sure if item.state.value == "found"] == []


def test_the_same_bytes_on_every_runner_and_after_a_kill(tmp_path):
    table = planted.null(3000, 2)
    made = recipe(audit={"resample": "domain"}, gates={"g": {"coverage": {"group": "region", "min": 0.1}}})
    folders = [tmp_path / name for name in ("plain", "beam", "again", "killed")]
    for folder, runner in zip(folders, (PLAIN, "FnApiRunner", "FnApiRunner", PLAIN), strict=True):
        audited(folder, table, made, runner, rows_a_part=700)
    killed, _ = audited(folders[3], table, made, rows_a_part=700)
    # killed while it wrote: some parts are counted, one marker is half a file, nothing is put together
    for name in ("audit/all.done.json", DOCUMENT, TALLY_FILE, "audit/parts/part-00002.done.json"):
        (folders[3] / name).unlink()
    (folders[3] / "audit" / "parts" / "part-00003.done.json").write_text('{"rows"')
    assert current(killed) is None
    audit(killed, Engine("FnApiRunner"))
    for name in (DOCUMENT, TALLY_FILE, FINDINGS_FILE):
        assert len({(folder / name).read_bytes() for folder in folders}) == 1


def test_an_audit_is_done_again_exactly_when_ledger_or_questions_change(tmp_path):
    table = planted.null(900, 2)
    run, _ = audited(tmp_path / "run", table, rows_a_part=300)
    stamp = (tmp_path / "run" / DOCUMENT).stat().st_mtime_ns
    parts = sorted((tmp_path / "run" / "audit" / "parts").glob("*.parquet"))
    stamps = [path.stat().st_mtime_ns for path in parts]
    audit(run)
    assert (tmp_path / "run" / DOCUMENT).stat().st_mtime_ns == stamp
    dropped = pa.array(["dropped"] * 300)
    reasons = pa.array([["NSFW"]] * 300, LEDGER.field("reasons").type)
    part = table.slice(300, 300).drop_columns(["decision", "reasons"])
    write_ledger(run, 1, part.append_column("decision", dropped).append_column("reasons", reasons))
    found = audit(run)
    assert found.cost.kept < 900
    changed = [path.stat().st_mtime_ns != before for path, before in zip(parts, stamps, strict=True)]
    assert changed == [False, True, False]


def test_the_document_says_what_its_schema_says_and_has_no_nan(tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    made = recipe(
        audit={
            "groups": {
                "region": {"kind": "place"},
                "host": {"kind": "domain", "level": "host"},
                "tone": {"kind": "column", "column": "tone"},
                "aesthetic": {"kind": "column", "column": "aesthetic", "edges": [2, 4, 5, 6, 8]},
                "jobs": {"kind": "terms", "lexicon": "occupations", "overlap": "each"},
                "nobody": {"kind": "creator"},
            },
            "intersections": [["region", "tone"]],
            "rankings": [{"column": "aesthetic", "group": "region", "k": [50, 5000]}],
            "resample": "cluster",
        },
        gates={"g": {"coverage": {"group": "nobody", "min": 0.5}}},
    )
    table = planted.disfavoured(3000, 5)
    table = table.append_column("tone", pa.array([str(i % 4) for i in range(3000)]))
    run, found = audited(tmp_path / "run", table, made)
    body = json.loads((tmp_path / "run" / DOCUMENT).read_bytes())
    jsonschema.validate(body, json_schema())
    assert no_nan(body)
    assert {section["name"] for section in body["sections"]} == {
        *("composition", "reference", "rate", "impact", "attribution", "trend", "exclusion", "resampled"),
        *("intersection", "ranking"),
    }
    assert findings(found, "ranking", "skew", value="Africa", k="50")[0].value < 0
    assert found.gates[0].judged.state == "fail"
    assert load_tally(run).total() == 3000
    table = read_table(run.store, FINDINGS_FILE)
    assert table.num_rows == sum(len(section.findings) for section in found.sections)
    with pytest.raises(BadInput, match=r"schema version 9\.0"):
        read(
            (tmp_path / "run" / DOCUMENT).read_bytes().replace(b'"schema_version": "1.0"', b'"schema_version": "9.0"'),
            "x",
        )
    with pytest.raises(BadInput, match="not an audit"):
        read(b'{"schema_version": "1.0"}', "x")


CORPORA = {
    "nothing": plain([]),
    "one sample": plain(["a woman in Kenya"]),
    "one value": plain(["a street in Kenya"] * 50),
    "no value": plain(["street"] * 50),
    "no captions": plain([None] * 40),
    "hostile": plain(["\U0001f600 \u202e woman" + "x" * 5000, "\x00", "=1+1", "<b>man</b>"] * 20),
}


@pytest.mark.parametrize("name", CORPORA)
def test_corpora_of_next_to_nothing_are_audited_without_an_error_or_a_nan(tmp_path, name):
    gates = {"g": {"disparate_impact": {"group": "region"}}, "e": {"effective_sample": {"min": 0}}}
    table = CORPORA[name]
    run, found = audited(tmp_path / "run", table, recipe(gates=gates))
    assert no_nan(json.loads((tmp_path / "run" / DOCUMENT).read_bytes()))
    assert {gate.judged.name: gate.judged.state for gate in found.gates}["g"] == "not measurable"
    assert found.cost.kept == table.num_rows
    assert all(item.why for part in found.sections for item in part.findings if item.value is None)
    assert run.finished() is False


def test_everybody_dropped_is_an_audit_too(tmp_path):
    table = plain(["a woman in Kenya"] * 40 + ["a man in Japan"] * 40).drop_columns(["decision", "reasons"])
    table = table.append_column("decision", pa.array(["dropped"] * 80))
    table = table.append_column("reasons", pa.array([["NSFW"]] * 80, LEDGER.field("reasons").type))
    _, found = audited(tmp_path / "run", table)
    assert found.cost.kept == 0
    assert found.movement["region"][0].kept.share is None


def test_before_and_after_the_balance_and_by_weight(tmp_path):
    """40 of Africa and 160 of Asia reach the balance, which drops 100 of Asia and gives Africa weight 1.5."""
    captions = ["Kenya"] * 40 + ["Japan"] * 160
    capped = [i >= 100 for i in range(200)]
    table = plain(captions).drop_columns(["decision", "reasons"])
    table = table.append_column("decision", pa.array(["dropped" if one else "kept" for one in capped]))
    reasons = pa.array([["BALANCE_CAP"] if one else [] for one in capped], LEDGER.field("reasons").type)
    weights = pa.array([None if one else (1.5 if i < 40 else 1.0) for i, one in enumerate(capped)], pa.float32())
    table = table.append_column("reasons", reasons).append_column("weight", weights)
    gates = {
        "plain": {"share": {"group": "region", "value": "Africa", "min": 0.45}},
        "weighed": {"share": {"group": "region", "value": "Africa", "min": 0.45, "weighted": True}},
        "size": {"effective_sample": {"min": 0.99}},
    }
    made = recipe(scorers=["size"], gates=gates)
    _, found = audited(tmp_path / "run", table, made)
    (africa,) = [move for move in found.movement["region"] if move.value == "Africa"]
    assert (africa.came.share, africa.before_balance.share, africa.kept.share) == (0.2, 0.2, 0.4)
    assert africa.weighted.share == pytest.approx(0.5)
    assert africa.weighted.low < 0.5 < africa.weighted.high
    # Kish: 120^2 / (40 * 2.25 + 60) = 96
    assert found.cost.effective == pytest.approx(96)
    assert found.cost.weighs
    states = {gate.judged.name: gate.judged.state for gate in found.gates}
    assert states == {"plain": "fail", "weighed": "pass", "size": "fail"}


def test_an_audit_needs_a_whole_ledger(tmp_path):
    run = make(tmp_path / "run", planted.null(300, 1), rows_a_part=100)
    with pytest.raises(BadInput, match="assay decide"):
        audit(run)
    assign_groups(run)
    (tmp_path / "run" / "ledger" / "part-00001.done.json").unlink()
    with pytest.raises(BadInput, match="assay decide"):
        audit(run)
