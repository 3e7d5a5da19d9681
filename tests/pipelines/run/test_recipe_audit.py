"""The audit and gates sections: what they may say, and what is refused with the place and the reason."""

import json

import pytest
import yaml

from audit import gates
from filters.errors import BadInput
from pipelines.run.recipe import load_recipe, parse_recipe
from pipelines.run.recipe_gates import declared_gates

BASE = {"name": "x", "input": {"kind": "folder", "path": "in"}}
GENDER = {"kind": "terms", "lexicon": "gender_terms"}
JOBS = {"kind": "terms", "lexicon": "occupations", "overlap": "each"}


def parsed(**sections):
    return parse_recipe(yaml.safe_dump({**BASE, **sections}), "r.yaml", [])


def test_a_recipe_that_says_nothing_has_groups_and_questions():
    recipe = parsed()
    names = [group.name for group in recipe.groups()]
    assert names == ["region", "gender_terms", "source_region", "occupations", "toxicity", "language"]
    assert [(a.concepts, a.group) for a in recipe.audit.asked_associations()] == [("occupations", "gender_terms")]
    assert recipe.audit.asked_intersections() == [("region", "gender_terms")]
    assert set(recipe.audit.reference_of(recipe.groups())) == {"region", "source_region"}
    assert "language" not in [group.name for group in parsed(scorers=["size"]).groups()]


def test_declared_groups_replace_the_defaults_and_keep_the_questions_that_still_make_sense():
    recipe = parsed(audit={"groups": {"gender_terms": GENDER, "occupations": JOBS}})
    assert [group.name for group in recipe.groups()] == ["gender_terms", "occupations"]
    assert recipe.audit.asked_associations()
    assert not recipe.audit.asked_intersections()
    labels = {"kind": "labels", "column": "gender"}
    recipe = parsed(audit={"labels": "l.parquet", "groups": {"gender_terms": labels, "occupations": JOBS}})
    assert not recipe.audit.asked_associations()


REFUSED = [
    ({"groups": {"a": {"kind": "faces"}}}, "kind"),
    ({"groups": {"a": {"kind": "terms"}}}, "group a: kind terms, and only that, names a lexicon"),
    ({"groups": {"a": {"kind": "terms", "lexicon": "nope"}}}, "lexicon nope: none of that name"),
    ({"groups": {"a": {**GENDER, "languages": ["xx"]}}}, "no language xx"),
    ({"groups": {"uid": GENDER}}, "uid is a name of Assay's own"),
    ({"groups": {"a": {"kind": "labels", "column": "tone"}}}, "needs audit.labels"),
    ({"groups": {"a": {"kind": "column", "column": "c", "edges": [2, 1]}}}, "rising"),
    ({"references": {"zone": {"A": 1}}}, "no group 'zone'"),
    ({"references": {"region": {"Mars": 1}}}, "no value 'Mars'"),
    ({"references": {"region": {"Asia": 0}}}, "add up to nothing"),
    ({"references": {"region": {"Asia": float("nan")}}}, "finite"),
    ({"references": {"gender_terms": "un_population"}}, "by region"),
    ({"associations": [{"concepts": "jobs", "group": "region", "values": ["Asia", "Africa"]}]}, "no group 'jobs'"),
    ({"associations": [{"concepts": "occupations", "group": "region", "values": ["Asia", "Asia"]}]}, "different"),
    ({"associations": [{"concepts": "occupations", "group": "region", "values": ["Asia", "x"]}]}, "no value 'x'"),
    ({"intersections": [["region", "region"]]}, "crossed with itself"),
    ({"intersections": [["region", "occupations"]]}, "overlap"),
    ({"rankings": [{"column": "similarity", "group": "nobody"}]}, "no group 'nobody'"),
    ({"rates": [{"group": "toxicity", "within": "occupations"}]}, "overlap"),
    ({"resample": "moon"}, "resample"),
    ({"surprise": 1}, "unknown key"),
]


@pytest.mark.parametrize(("section", "words"), REFUSED)
def test_an_impossible_audit_is_refused_with_its_line(section, words):
    with pytest.raises(BadInput, match=r"r\.yaml:\d+: audit") as refused:
        parsed(audit=section)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ({}, "exactly one"),
        ({"coverage": {"group": "region", "min": 0.1}, "rate": {"group": "toxicity", "max": 0}}, "exactly one"),
        ({"share": {"group": "gender_terms", "value": "feminine"}}, "give min, max or both"),
        ({"share": {"group": "gender_terms", "value": "feminine", "min": 0.5, "max": 0.4}}, "at most max"),
        ({"share": {"group": "gender_terms", "value": "woman", "min": 0.5}}, "no value 'woman'"),
        ({"share": {"group": "occupations", "value": "nurse", "min": 0.5}}, "overlap"),
        ({"share": {"group": "gender_terms", "value": "feminine", "min": 35}}, "less than or equal to 1"),
        ({"disparate_impact": {"group": "region", "rule": "beauty"}}, "rule 'beauty'"),
        ({"disparate_impact": {"group": "zone"}}, "no group 'zone'"),
        ({"disparate_impact": {"group": "region", "against": "Mars"}}, "no value 'Mars'"),
        ({"disparity": {"group": "gender_terms", "min": 0.5}}, "no reference"),
        ({"concept_gap": {"concepts": "region", "groups": "gender_terms", "max": 0.2}}, "two values"),
        ({"effective_sample": {"min": 2}}, "less than or equal to 1"),
    ],
)
def test_an_impossible_gate_is_refused(gate, words):
    with pytest.raises(BadInput) as refused:
        parsed(gates={"mine": gate})
    assert "mine" in str(refused.value)
    assert words in str(refused.value)


def test_a_disparity_gate_on_a_group_whose_values_overlap_is_refused():
    groups = {"places": {"kind": "place", "overlap": "each"}}
    with pytest.raises(BadInput, match="places overlap"):
        parsed(audit={"groups": groups}, gates={"world": {"disparity": {"group": "places", "min": 0.5}}})


def test_gates_become_what_the_audit_judges():
    recipe = parsed(
        gates={
            "a": {"disparate_impact": {"group": "region", "rule": "nsfw", "min": 0.8}},
            "b": {"disparate_impact": {"group": "region"}, "surely": True},
            "c": {"disparate_impact": {"group": "region", "rule": "balance_cap"}},
            "d": {"concept_gap": {"concepts": "occupations", "groups": "gender_terms", "max": 0.2}},
        }
    )
    found = {gate.name: gate for gate in declared_gates(recipe.gates, recipe.audit)}
    assert found["a"].rule == gates.DisparateImpact("region", "NSFW", 0.8)
    assert (found["b"].rule, found["b"].surely) == (gates.DisparateImpact("region", None, 0.8), True)
    assert found["c"].rule == gates.DisparateImpact("region", "BALANCE_CAP", 0.8)
    assert found["d"].rule == gates.ConceptGap("occupations", "gender_terms", ("feminine", "masculine"), 0.2)


def test_paths_are_relative_to_the_recipe_and_stay_out_of_the_content(tmp_path):
    lexicon = {"name": "m", "version": 1, "date": "2026", "language": "en", "source": "s", "values": {"a": ["b"]}}
    (tmp_path / "mine.json").write_text(json.dumps(lexicon))
    audit = {
        "labels": "l.parquet",
        "groups": {"m": {"kind": "terms", "lexicon": "mine.json"}, "t": {"kind": "labels", "column": "tone"}},
    }
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({**BASE, "audit": audit}))
    recipe = load_recipe(tmp_path / "r.yaml")
    assert recipe.audit.labels == str(tmp_path / "l.parquet")
    assert recipe.groups()[0].lexicon == str(tmp_path / "mine.json")
    assert str(tmp_path) not in json.dumps(recipe.content())
    (tmp_path / "mine.json").unlink()
    with pytest.raises(BadInput, match=r"mine\.json"):
        load_recipe(tmp_path / "r.yaml")
    # a finished run is opened without its lexicons
    assert parse_recipe(recipe.dump(), "recipe.yaml", []) == recipe
