"""Prompts that name a person get an attribute by stated shares; what states it, or names somebody, stays as it is."""

import json

import pytest

from filters.errors import BadInput
from training.hallmark.claim import prompt_digest
from training.sampling.axes_file import load_axes, shipped
from training.sampling.diversify import LOG, counts, diversifier_of, draw, log, parameters
from training.sampling.plan import Slot


@pytest.fixture(scope="module")
def people():
    return diversifier_of("people")


def drawn(change):
    return dict(change.drawn)


@pytest.mark.parametrize(
    ("prompt", "pattern"),
    [
        ("a doctor in a hospital", r"an? (young|middle-aged|elderly) (fe)?male doctor from [A-Z][\w ]+ in a hospital"),
        ("A doctor", r"An? (young|middle-aged|elderly) (fe)?male doctor from [A-Z][\w ]+"),
        ("Lawyer at work", r"(Young|Middle-aged|Elderly) (fe)?male lawyer from [A-Z][\w ]+ at work"),
        ("a photo of an engineer", r"a photo of an? (young|middle-aged|elderly) (fe)?male engineer from [A-Z][\w ]+"),
        (
            "police officer, oil painting",
            r"(young|middle-aged|elderly) (fe)?male police officer from [^,]+, oil painting",
        ),
    ],
)
def test_a_person_without_attributes_gets_each_one_where_grammar_has_it(people, prompt, pattern):
    import re

    seen = {people.change(prompt, seed).text for seed in range(60)}
    assert len(seen) > 10
    for text in seen:
        assert re.fullmatch(pattern, text), text
        assert " a elderly" not in text
        assert " an young" not in text


@pytest.mark.parametrize(
    ("prompt", "axis"),
    [
        ("a female doctor", "gender"),
        ("a doctor and her dog", "gender"),
        ("a waitress", "gender"),
        ("a bearded engineer", "gender"),
        ("a pregnant lawyer", "gender"),
        ("an elderly chef", "age"),
        ("a 40-year-old teacher", "age"),
        ("a retired pilot", "age"),
        ("a black lawyer", "region"),
        ("an arab engineer", "region"),
    ],
)
def test_what_the_prompt_states_is_never_drawn(people, prompt, axis):
    for seed in range(40):
        assert axis not in drawn(people.change(prompt, seed))


@pytest.mark.parametrize(
    "prompt",
    [
        "a red balloon",
        "a doctor's office",
        "a vacuum cleaner",
        "two doctors",
        "a doctor and a nurse",
        "salespeople in a shop",
        "Marie Curie, scientist",
        "a scientist like Albert Einstein",
        "Einstein as a teacher",
        "a soldier in 1943",
        "a soldier of the 19th century",
        "a teacher in Paris",
        "A DOCTOR IN PARIS",
        "",
        "🎈" * 50,
    ],
)
def test_a_prompt_about_nobody_several_or_somebody_in_particular_stays(people, prompt):
    for seed in range(10):
        change = people.change(prompt, seed)
        assert change.text == prompt
        assert change.drawn == ()
        assert set(change.left) == {"age", "gender", "region"}


def test_draws_follow_the_seed_and_the_shares(people):
    prompts = ["a doctor", "a nurse"]
    slots = [people.slot(Slot(at, prompt, seed)) for at, prompt in enumerate(prompts) for seed in range(2000)]
    again = [people.slot(Slot(at, prompt, seed)) for at, prompt in enumerate(prompts) for seed in range(2000)]
    assert slots == again
    found = counts(slots)
    assert found["changed"] == found["pictures"] == 4000
    for axis, body in people.axes.axes.items():
        for value, one in body.values.items():
            # four standard errors of a share drawn 4,000 times
            assert abs(found["drawn"][axis].get(value, 0) / 4000 - one.share) < 4 * (one.share / 4000) ** 0.5
    genders = [dict(slot.drawn)["gender"] for slot in slots]
    assert genders[:2000] != genders[2000:], "two prompts must not have the same draws"


def test_a_share_of_nothing_is_never_drawn():
    assert {draw({"a": 0.0, "b": 1.0, "c": 0.0}, seed, "x", "p") for seed in range(500)} == {"b"}


def test_the_credential_and_the_log_hold_both_prompts_as_salted_digests(people, tmp_path):
    slot = people.slot(Slot(0, "a secret doctor", 5))
    recorded = parameters(people, slot)
    assert recorded["diversify"].startswith("people@")
    assert set(recorded["diversified"].split(",")) == {f"{axis}={value}" for axis, value in slot.drawn}
    assert recorded["asked_prompt_sha256"] == prompt_digest("a secret doctor", recorded["asked_prompt_salt"])
    log(tmp_path, "p.png", slot, recorded)
    log(tmp_path, "q.png", Slot(1, "a balloon", 5), parameters(people, Slot(1, "a balloon", 5)))
    (line,) = (tmp_path / LOG).read_text().splitlines()
    body = json.loads(line)
    assert body["asked"]["hash"] == recorded["asked_prompt_sha256"]
    assert body["changed"]["hash"] == prompt_digest(slot.text, body["changed"]["salt"])
    assert "secret" not in line
    assert parameters(people, Slot(1, "a balloon", 5))["diversified"] == "nothing"
    assert parameters(None, slot) == {}


def test_shipped_files_state_source_and_limits():
    assert shipped() == ["people"]
    axes = load_axes("people")
    assert len(axes.source) > 50
    assert len(axes.limits) > 50


OWN = """
version: 1
name: mine
date: "2026"
source: mine
limits: none known
people: {words: [wizard]}
axes:
  hat:
    words: [hat, hatless]
    values:
      red: {share: 0.5, before: red-hatted}
      none: {share: 0.5, after: without a hat}
"""


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(OWN)
    mine = diversifier_of(str(path))
    assert {mine.change("a wizard", seed).text for seed in range(30)} == {
        "a red-hatted wizard",
        "a wizard without a hat",
    }
    assert mine.change("a wizard with a hat", 1).text == "a wizard with a hat"
    assert mine.change("a doctor", 1).text == "a doctor"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("share: 0.5, before", "share: 0.2, before", "add up to 0.7"),
        ("before: red-hatted", "before: ' '", "needs words"),
        ("version: 1", "version: 2", "version"),
        ("words: [hat, hatless]", "word: [hat]", "word"),
        ("words: [wizard]", "lexicons: [wizards]", "none of that name"),
        ("red: {share", "'a=b': {share", "has one of the signs"),
        ("name: mine", "name: [", "not readable as YAML"),
    ],
)
def test_a_broken_file_is_refused_in_one_line(tmp_path, old, new, words):
    path = tmp_path / "mine.yaml"
    path.write_text(OWN.replace(old, new, 1))
    with pytest.raises(BadInput) as caught:
        diversifier_of(str(path))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_says_which_there_are(tmp_path):
    with pytest.raises(BadInput, match="Assay has people"):
        diversifier_of("nobody")
    with pytest.raises(BadInput, match="cannot be read"):
        diversifier_of(str(tmp_path / "none.yaml"))
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="not UTF-8"):
        diversifier_of(str(tmp_path / "b.yaml"))
