"""The duplicates section refuses what cannot be done, and keeps places out of the content."""

import json

import pytest

from filters.duplicates_likeness import Bounds
from filters.errors import BadInput
from pipelines.run.recipe import load_recipe, parse_recipe


def recipe(duplicates, **more):
    body = {"name": "x", "input": {"kind": "folder", "path": "here"}, "duplicates": duplicates, **more}
    return parse_recipe(json.dumps(body), "r.yaml", [])


def test_the_defaults_are_hashes_without_embeddings():
    assert recipe({}).duplicates.bounds() == Bounds(
        True, phash=4, pdq=31, dihedral=True, cosine=None, colour=36.0, confirm=62
    )


@pytest.mark.parametrize(
    ("duplicates", "message"),
    [
        ({"thin": {}}, "either epsilon or target"),
        ({"thin": {"epsilon": 0.1, "target": 5}}, "either epsilon or target"),
        ({"thin": {"epsilon": 1}}, "less than 1"),
        ({"thin": {"target": 0}}, "greater than or equal to 1"),
        ({"keep": ["beauty"]}, "'beauty' is not one of"),
        ({"keep": []}, "at least 1"),
        ({"cosine": 0.2}, "greater than 0.5"),
        ({"pdq_distance": 200}, "less than or equal to 64"),
        ({"against": "one"}, "list"),
        ({"radius": 3}, "unknown key"),
    ],
)
def test_impossible_settings_are_refused(duplicates, message):
    with pytest.raises(BadInput, match=message):
        recipe(duplicates)


@pytest.mark.parametrize("duplicates", [{"cosine": 0.9}, {"thin": {"epsilon": 0.1}}])
def test_embeddings_need_their_scorer(duplicates):
    with pytest.raises(BadInput, match="add the scorer 'similarity'"):
        recipe(duplicates, scorers=["size", "hashes"])


def test_sets_stand_beside_the_recipe_and_their_place_is_no_content(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("{name: x, input: {kind: folder, path: p}, duplicates: {against: [sets/a.parquet, 's3://b/c']}}")
    loaded = load_recipe(path)
    assert loaded.duplicates.against == [str(tmp_path / "sets" / "a.parquet"), "s3://b/c"]
    assert loaded.content()["duplicates"]["against"] == ["a.parquet", "c"]
    assert recipe(None).content()["duplicates"] is None
