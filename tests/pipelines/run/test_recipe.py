"""A recipe is checked before anything starts: file, line and key of what is wrong."""

import pytest

from filters.errors import BadInput
from filters.rules import AllowRule
from pipelines.run.recipe import load_recipe, parse_recipe

GOOD = """\
version: 1
name: test
input:
  kind: webdataset
  path: data
rules:
  similarity: {low: 0.1}
licences:
  allow: [CC0]
"""


def refusal(text, overrides=()):
    with pytest.raises(BadInput) as error:
        parse_recipe(text, "r.yaml", list(overrides))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_example_is_a_good_recipe():
    recipe = load_recipe("examples/openclipart.yaml")
    assert recipe.input.path.endswith("corpora/openclipart")
    assert any(isinstance(rule, AllowRule) for rule in recipe.filter_rules())


def test_what_is_stored_reads_back_as_the_same_recipe():
    recipe = parse_recipe(GOOD, "r.yaml", ["rules.nsfw.high=0.5", "similarity.model=file:/x?arch=ViT-B-32"])
    assert parse_recipe(recipe.dump(), "stored", []) == recipe
    assert recipe.rules["nsfw"].high == 0.5


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("rule: {}", "r.yaml:10: rule: unknown key"),
        ("shards: {samples: 0}", "r.yaml:10: shards.samples: input should be greater than or equal to 1"),
        ("balance:\n  by: concept\n  cap: many", "r.yaml:12: balance.cap: input should be a valid integer"),
        ("duplicates: {keep: [beauty]}", "r.yaml:10: duplicates.keep: 'beauty' is not one of"),
        ("scorers: [magic]", "r.yaml:10: scorers: 'magic' is not one of"),
        ("name: twice", "r.yaml:10: name: the key stands twice"),
        ("limits: [", "r.yaml:10: not readable as YAML"),
        ("balance: {cap: 5, by: face}", "r.yaml:10: balance.by: input should be"),
    ],
)
def test_mistakes_are_named_with_file_line_and_key(line, says):
    assert refusal(GOOD + line).startswith(says)


def test_impossible_bounds_are_refused():
    assert "low (2.0) must be at most high (1.0)" in refusal(GOOD.replace("low: 0.1", "low: 2, high: 1"))
    assert "exclude each other" in refusal(GOOD.replace("low: 0.1", "low: 0.1, keep_top: 0.5"))
    assert "give low, high or keep_top" in refusal(GOOD.replace("{low: 0.1}", "{}"))
    assert "low" in refusal(GOOD.replace("low: 0.1", "low: .nan"))
    assert "'magic' is not one of" in refusal(GOOD.replace("similarity: {", "magic: {"))


@pytest.mark.parametrize("text", ["", "[]", "just text", "- a\n- b", "a: &a [*a]"])
def test_what_is_no_mapping_is_refused(text):
    assert refusal(text).startswith("r.yaml")


def test_overrides_are_checked_too():
    assert refusal(GOOD, ["rules.similarity.low=high"]).startswith("--set: rules.similarity.low")
    assert refusal(GOOD, ["nonsense"]).startswith("--set nonsense: write key=value")
    assert refusal(GOOD, ["name.x=1"]) == "--set name.x=1: name is not a mapping"


def test_missing_and_unreadable_recipes_are_one_line(tmp_path):
    with pytest.raises(BadInput, match="no such recipe"):
        load_recipe(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="cannot read"):
        load_recipe(tmp_path / "binary.yaml")
    with pytest.raises(BadInput, match="cannot read"):
        load_recipe(tmp_path)


def test_the_place_of_the_input_is_not_part_of_the_content():
    one, other = (parse_recipe(GOOD.replace("path: data", f"path: {p}"), "r", []) for p in ("/a", "/b"))
    assert one.content() == other.content()
    assert one.content() != parse_recipe(GOOD, "r", ["shards.samples=5"]).content()
