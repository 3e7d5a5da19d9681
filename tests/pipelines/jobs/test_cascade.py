"""The cascade spares costly models what is dropped already, keeps the same samples, and says what it left out."""

import json

import pytest
from making import write_recipe

from filters.registry import COSTLY
from pipelines.commands.main import invoke
from pipelines.run.directory import open_run

RULES = {"min_side": {"low": 64}, "caption_repeats": {"high": 3}, "similarity": {"low": 0.02}, "nsfw": {"high": 0.9}}


@pytest.fixture(scope="module")
def runs(real_run, tmp_path_factory):
    """The same recipe with and without the cascade, over the same real pictures."""
    folder = tmp_path_factory.mktemp("cascade")
    made = {}
    for cascade in (False, True):
        recipe = write_recipe(
            folder,
            real_run.recipe.parent / "in",
            scorers=["size", "hashes", "caption", "technical", "nsfw", "similarity"],
            rules=RULES,
            balance={"by": "folder", "cap": 40},
            cascade=cascade,
        )
        assert invoke(["run", str(recipe), "--out", str(folder / str(cascade)), "--runner", "plain"]) == 0
        made[cascade] = open_run(str(folder / str(cascade)))
    return made


def rows(run, artefact, *columns):
    return [row for table in run.tables(artefact, list(columns) or None) for row in table.to_pylist()]


def test_the_same_samples_are_kept_for_the_same_primary_reasons(runs):
    with_cascade, without = (rows(runs[c], "ledger", "uid", "decision", "primary_reason") for c in (True, False))
    assert with_cascade == without
    assert {row["decision"] for row in without} == {"kept", "dropped"}


def test_costly_scores_are_null_exactly_where_a_reason_is_stated(runs):
    scores = rows(runs[True], "scores")
    skipped = [row for row in scores if row["skipped"]]
    assert 0 < len(skipped) < len(scores)
    assert {row["skipped"] for row in skipped} <= {"IMAGE_TOO_SMALL", "REPEATED_CAPTION", "NSFW", "SCORE_MISSING"}
    for row, sample in zip(scores, rows(runs[True], "samples", "failure"), strict=True):
        unreadable = row["failure"] or sample["failure"]
        assert (row["similarity"] is None) == bool(row["skipped"] or unreadable)
        assert (row["phash"] is None) == bool(unreadable)
    assert all(row["skipped"] is None for row in rows(runs[False], "scores"))


def test_replay_names_the_way_to_missing_scores_and_scores_just_those(runs, tmp_path, capsys):
    loose = ["--set", "rules.caption_repeats.high=100"]
    new = str(tmp_path / "new")
    assert invoke(["replay", runs[True].store.url, "--out", new, *loose]) == 2
    said = capsys.readouterr().err
    assert f"run assay score {new} --missing" in said
    assert invoke(["score", new, "--missing", "--runner", "plain", "--json"]) == 0
    completed = json.loads(capsys.readouterr().out)["completed"]
    assert 0 < completed < 240
    assert f" {completed} samples need scores" in said
    assert invoke(["decide", new]) == 0
    assert invoke(["replay", runs[False].store.url, "--out", str(tmp_path / "full"), *loose]) == 0
    whole, part = (rows(open_run(str(tmp_path / n)), "ledger", "uid", "primary_reason") for n in ("full", "new"))
    assert whole == part


def test_relative_bounds_on_costly_scores_are_refused(tmp_path, capsys):
    for rule in ({"similarity": {"keep_top": 0.5}}, {"match_probability": {"low": 0.5}}):
        recipe = write_recipe(tmp_path, tmp_path, scorers=["nsfw", "similarity"], rules=rule, cascade=True)
        assert invoke(["recipe", "check", str(recipe)]) == 2
        assert "needs every sample's score" in capsys.readouterr().err


def test_costly_scorers_exist():
    from filters.registry import SCORERS

    assert set(SCORERS) >= COSTLY
