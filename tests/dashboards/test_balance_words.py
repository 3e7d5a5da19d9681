"""The report says what the balance cost, and says loudly what it could not reach."""

from run_making import make_run, sample_rows

from dashboards.balance import outcome_in_words
from dashboards.report import render_report
from pipelines.jobs.decide_balance import write_statement


def statement(reached, short, absent, converged=True):
    quota = {"group": "region", "reached": reached, "short": short, "absent": absent}
    weights = {"method": "rake", "ess_share": 0.5, "converged": converged}
    samples = {"before": 20, "dropped": 8, "after": 12}
    return {"samples": samples, "steps": [{"step": "quotas", "quotas": [quota]}], "weights": weights}


def test_a_quota_that_was_not_reached_and_its_value_stand_in_the_report(tmp_path):
    run = make_run(tmp_path / "run", sample_rows(12))
    assert "NOT" not in outcome_in_words(run)
    write_statement(run, statement(False, {"Africa": 0.136}, ["Oceania"], converged=False), "made")
    said = outcome_in_words(run)
    assert "8 of 20 samples left out" in said
    assert "quota of region NOT reached: Africa comes to 13.6 %; nobody has Oceania" in said
    assert "50.0 % of the samples' worth" in said
    assert "the weights do NOT reach all targets" in said
    assert "NOT reached: Africa comes to 13.6 %" in render_report(run).decode()


def test_what_was_reached_is_said_without_alarm_and_contradictions_are_named(tmp_path):
    run = make_run(tmp_path / "run", sample_rows(12))
    write_statement(run, statement(True, {}, []), "made")
    assert "NOT" not in outcome_in_words(run)
    write_statement(run, statement(False, {}, []), "made")
    assert "the quotas contradict each other" in outcome_in_words(run)
