"""The provider's section: the same keys as the documents take, days and addresses checked, nothing by default."""

import pytest

from audit.documents.provider import KEYS
from audit.documents.provider import Provider as Facts
from filters.errors import BadInput
from pipelines.run.recipe import parse_recipe
from pipelines.run.recipe_provider import Provider, read_provider

RECIPE = "name: x\ninput: {kind: folder, path: a}\nprovider: {%s}\n"


def test_the_recipe_and_the_documents_have_the_same_keys():
    assert tuple(Provider.model_fields) == KEYS


def test_nothing_is_stated_by_default():
    assert Provider().facts() == Facts()
    assert parse_recipe("name: x\ninput: {kind: folder, path: a}\n", "r", []).provider is None


def test_every_kind_of_answer_reaches_the_documents():
    text = (
        "published: 2026-11-01, user_data: {answer: false}, models: [{name: m, url: u}], use_cases: [a, b], sme: true"
    )
    facts = parse_recipe(RECIPE % text, "r", []).provider.facts()
    assert facts.published == "2026-11-01"
    assert str(facts.user_data) == "No."
    assert str(facts.models[0]) == "m; u"
    assert facts.use_cases == ("a", "b")
    assert facts.sme is True


def test_the_section_survives_being_stored_with_the_run():
    recipe = parse_recipe(RECIPE % "published: 2026-11-01, user_data: {answer: true, detail: x}", "r", [])
    assert parse_recipe(recipe.dump(), "r", []) == recipe


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("published: yesterday", "is no day"),
        ("published: '2026-02-30'", "is no day"),
        ("url: 'javascript:x'", "is no http(s) address"),
        ("download: file:///etc", "is no http(s) address"),
        ("version: '1'", "MAJOR.MINOR.PATCH"),
        ("user_data: yes", "provider.user_data"),
        ("user_data: {answer: true, why: x}", "unknown key"),
        ("name: ''", "at least 1 character"),
        ("nome: x", "unknown key"),
    ],
)
def test_what_is_wrong_is_named(text, said, tmp_path):
    with pytest.raises(BadInput, match=r"r:3: provider") as error:
        parse_recipe(RECIPE % text, "r", [])
    assert said in str(error.value)
    path = tmp_path / "p.yaml"
    path.write_text(f"{{{text}}}")
    with pytest.raises(BadInput, match=r"p\.yaml: provider\.") as error:
        read_provider(path)
    assert said.lower() in str(error.value).lower()


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "provider: 3", "name: x\nname: y", "name: &a x\nurl: *a"])
def test_a_file_that_holds_no_section_is_refused(text, tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(BadInput):
        read_provider(path)
