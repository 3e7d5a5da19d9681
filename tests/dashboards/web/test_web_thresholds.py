import re
import shlex
from collections import Counter

import pytest
import yaml
from web_real_run import ledger_rows, opened, real_client, real_folder, real_run

from filters.reasons import BY_CODE, PRECEDENCE, Reason, Stage

LATER = (Stage.DUPLICATE, Stage.BALANCE)
PAGE = "/runs/real/thresholds"
API = "/api/runs/real/thresholds"


def early(row):
    """The reasons of a ledger row up to the rules."""
    return [code for code in row["reasons"] if BY_CODE[code].stage not in LATER]


def first_reasons(rows):
    return Counter(min(early(row), key=lambda code: PRECEDENCE[BY_CODE[code]]) for row in rows if early(row))


def test_stages_of_reasons_come_in_order():
    """The what-if takes all reasons before duplicates as settled; a later one must never stand before them."""
    later = [reason.stage in LATER for reason in Reason]
    assert later == sorted(later)


def test_present_bounds_give_the_ledgers_counts():
    from dashboards.web.query.samples import codes
    from dashboards.web.query.threshold_replay import present_tests, reasons_sql

    rows = ledger_rows(real_run())
    judged = reasons_sql(present_tests(opened()), opened())
    again = opened().reader.rows(f"SELECT {judged.sql} FROM samples ORDER BY row", judged.values)
    assert [codes(int(bits)) for (bits,) in again] == [early(row) for row in rows]
    found = real_client().get(API).json()
    assert found["samples"] == len(rows)
    assert {r["reason"]: r["after"] for r in found["reasons"]} == first_reasons(rows)
    assert {r["reason"]: r["before"] for r in found["reasons"]} == first_reasons(rows)
    assert found["passing_before"] == found["passing_after"] == sum(not early(row) for row in rows)
    assert (found["gained"], found["lost"], found["saved"]) == (0, 0, None)
    # the run tries what could differ: bounds by group, a fraction, a list of languages, an unreadable picture
    assert {"BLURRED", "LOW_SIMILARITY", "REGISTRY_OPT_OUT", "IMAGE_TOO_SMALL"} <= set(first_reasons(rows))
    assert any(
        BY_CODE[code].stage is Stage.DECODE or BY_CODE[code].stage is Stage.CONTENT for code in first_reasons(rows)
    )


CHANGES = [
    "low.sharpness=1500",
    "low.sharpness=0",
    "top.similarity=0.5",
    "low.similarity=0.12",
    "high.caption_words=9&low.min_side=120",
    "low.contrast=0.3",
    "low.similarity=0.1&high.similarity=0.3&low.language=0.5&high.aspect_ratio=1.2",
]


@pytest.mark.parametrize("query", CHANGES)
def test_other_bounds_decide_as_replay_does(query, tmp_path):
    """Row by row: the reasons up to the rules, against the real job with the very overrides that the page prints."""
    from dashboards.web.query.samples import codes
    from dashboards.web.query.threshold_replay import (
        changed_tests,
        judged_sql,
        parse_changes,
        present_tests,
        reasons_sql,
    )
    from pipelines.jobs.replay import replay

    found = real_client().get(f"{API}?{query}").json()
    words = shlex.split(found["saved"]["command"])
    overrides = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    assert overrides == found["saved"]["overrides"]
    new = ledger_rows(replay(real_run(), overrides, str(tmp_path / "new")))
    run = opened()
    pairs = [tuple(item.split("=")) for item in query.split("&")]
    after = changed_tests(run, parse_changes(pairs, run))
    for judged in (reasons_sql(after, run), judged_sql(run, present_tests(run), after)):
        rows = run.reader.rows(f"SELECT {judged.sql} FROM samples ORDER BY row", judged.values)
        assert [codes(int(bits)) for (bits,) in rows] == [early(row) for row in new]
    assert found["passing_after"] == sum(not early(row) for row in new)
    assert {r["reason"]: r["after"] for r in found["reasons"] if r["after"]} == first_reasons(new)
    old = ledger_rows(real_run())
    assert found["lost"] == sum(not early(a) and bool(early(b)) for a, b in zip(old, new, strict=True))
    assert found["gained"] == sum(bool(early(a)) and not early(b) for a, b in zip(old, new, strict=True))


def test_the_saved_yaml_is_a_recipe_that_decides_the_same():
    from pipelines.jobs.replay import replayed_recipe

    saved = real_client().get(f"{API}?low.sharpness=77&top.similarity=0.7").json()["saved"]
    rules = replayed_recipe(real_run(), saved["overrides"]).rules
    for name, body in yaml.safe_load(saved["yaml"])["rules"].items():
        assert type(rules[name]).model_validate(body) == rules[name]
    assert yaml.safe_load(saved["yaml"])["rules"]["sharpness"]["by_group"] == {"region": {"Africa": {"low": 40.0}}}


def test_scores_that_the_cascade_spared_are_not_missing(tmp_path, cache):
    """A score that the cascade spared a sample speaks neither way, as in decide."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from run_making import make_run, sample_rows
    from web_clients import client_for

    from dashboards.web.query.samples import codes
    from dashboards.web.query.threshold_replay import present_tests, reasons_sql
    from pipelines.run.parts import part_name, read_table

    rows = sample_rows(60, nsfw=lambda i: None if i % 6 < 2 else 0.1, failure=lambda i: None)
    run = make_run(tmp_path / "made", rows, finished=False)
    table = read_table(run.store, part_name("scores", 0))
    spared = pa.array(["IMAGE_TOO_SMALL" if i % 6 == 0 else None for i in range(60)]).dictionary_encode()
    place = table.schema.get_field_index("skipped")
    table = table.set_column(place, table.schema.field(place), spared.cast(table.schema.field(place).type))
    with run.store.create(part_name("scores", 0)) as path:
        pq.write_table(table, path)
    with client_for(tmp_path, cache) as client:
        client.get("/api/runs/made/thresholds")
        found = client.app.state.catalogue.open("made")
        judged = reasons_sql(present_tests(found), found)
        bits = found.reader.rows(f"SELECT {judged.sql} FROM samples ORDER BY row", judged.values)
    missing = [row for row, (value,) in enumerate(bits) if "SCORE_MISSING" in codes(int(value))]
    assert missing == [row for row in range(60) if row % 6 == 1]


def test_rates_by_group_are_those_of_the_rows():
    run = real_run()
    (part,) = run.parts("samples")
    scores, groups = run.table("scores", part).to_pylist(), run.table("groups", part).to_pylist()
    ledger = ledger_rows(run)
    found = real_client().get(f"{API}?rule=sharpness&low.sharpness=900&group=region").json()
    readable = [i for i in range(len(ledger)) if scores[i]["sharpness"] is not None]
    for rate in found["rates"]:
        mine = [i for i in readable if rate["value"] in groups[i]["region"]]
        bound = 40 if rate["value"] == "Africa" else 900
        assert rate["samples"] == len(mine)
        assert rate["rule_after"] == sum(scores[i]["sharpness"] >= bound for i in mine)
        assert rate["rule_before"] == sum(scores[i]["sharpness"] >= min(bound, 300) for i in mine)
        assert rate["kept"] == sum(ledger[i]["decision"] == "kept" for i in mine)
    assert {rate["value"] for rate in found["rates"]} == {
        "Africa",
        "Asia",
        "Europe",
        "Latin America and the Caribbean",
    }
    assert found["overall"]["samples"] == len(readable)


def test_the_gallery_stands_on_both_sides_of_the_bound():
    (side,) = real_client().get(f"{API}?rule=sharpness&low.sharpness=900").json()["nearest"]
    kept, dropped = [s["value"] for s in side["kept"]], [s["value"] for s in side["dropped"]]
    assert kept
    assert dropped
    assert kept == sorted(kept)
    assert dropped == sorted(dropped, reverse=True)
    assert max(dropped) < 900


def test_bins_hold_every_sample_that_has_the_score():
    run = real_run()
    (part,) = run.parts("scores")
    scores = run.table("scores", part).to_pylist()
    passing = real_client().get(API).json()["passing_after"]
    for rule in ("sharpness", "caption_words", "similarity", "min_side"):
        bins = real_client().get(f"{API}?rule={rule}").json()["bins"]
        assert sum(bins["samples"]) == sum(row[rule] is not None for row in scores)
        assert sum(bins["passing"]) == passing
        assert len(bins["edges"]) == len(bins["samples"]) + 1


@pytest.mark.parametrize(
    "query",
    [
        "low.nothing=1", "low.sharpness=abc", "low.sharpness=inf", "low.sharpness=nan", "top.similarity=2",
        "top.similarity=0", "low.caption_words=50&high.caption_words=2", "rule=none", "group=none",
        "low.sharpness%3B+DROP+TABLE+samples=1",
        "low.aesthetic=5", "rule=x'%20OR%201=1--", "group=%00",
    ],
)  # fmt: skip
def test_bad_bounds_are_told_in_one_line(query):
    for base in (PAGE, API):
        answer = real_client().get(f"{base}?{query}")
        assert answer.status_code == 400, answer.text[:300]
        assert "Traceback" not in answer.text


def test_hostile_addresses_are_answered():
    for value in ("\u202e1", "1\x00", "9" * 400, "-0", "1e308", "１２"):
        assert real_client().get(PAGE, params={"low.sharpness": value}).status_code in (200, 400)
    assert real_client().get(f"{PAGE}?low.sharpness={'1' * 9000}").status_code == 414


def test_the_page_works_without_script_and_says_what_it_leaves_out():
    text = real_client().get(f"{PAGE}?rule=sharpness&low.sharpness=900").text
    assert re.search(r'<input type="number"[^>]*name="low.sharpness" value="900"', text)
    assert "are not chosen again here" in text
    assert "assay replay real --set rules.sharpness.low=900 --out real-thresholds" in text
    assert " style=" not in text
    assert text.count("<caption>") == text.count("<table")
    # the state of another rule goes along in the address
    other = real_client().get(f"{PAGE}?rule=min_side&low.sharpness=900").text
    assert '<input type="hidden" name="low.sharpness" value="900">' in other
    assert str(real_folder()) not in text
