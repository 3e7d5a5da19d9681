"""Words are found whole, in every case and plural, longest phrase first, in time linear in the text."""

import time

import pytest

from audit.groups.lexicon import languages_of, load, packaged, parse, plural
from audit.groups.matcher import Matcher, words
from filters.errors import BadInput


def lexicon(values, never=(), language="en"):
    head = {"name": "made", "version": 1, "date": "2026-11-21", "language": language, "source": "the test"}
    return parse({**head, "values": values, "not": list(never)}, "made")


def matched(text, values, never=(), language="en"):
    matcher = Matcher([("made", lexicon(values, never, language))])
    return [matcher.labels[number][1] for number in matcher.match(text)]


PEOPLE = {"nurse": ["nurse"], "woman": ["woman", "=her"], "baby": ["baby"]}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A NURSE", ["nurse"]),
        ("nurses' home", ["nurse"]),
        ("the nurse's bag", ["nurse"]),
        ("nursery, nursed, nurse2", []),
        ("women", ["woman"]),
        ("wo\u00admen and ba\u200bbies", ["woman", "baby"]),
        ("ｎｕｒｓｅ", ["nurse"]),
        ("black_nurse-01.jpg", ["nurse"]),
        ("here, hers", []),
        ("her", ["woman"]),
        ("", []),
    ],
)
def test_words_are_matched_whole_with_plural_and_case(text, found):
    assert matched(text, PEOPLE) == found


def test_combining_marks_belong_to_words():
    assert words("नर्स महिला") == ["नर्स", "महिला"]
    assert matched("एक महिला", {"f": ["महिला"]}, language="hi") == ["f"]
    assert matched("cafe\u0301", {"c": ["café"]}) == ["c"]
    assert words("İstanbul STRASSE straße") == ["i̇stanbul", "strasse", "strasse"]


def test_the_longest_phrase_wins_and_takes_its_words():
    values = {"guinea": ["Guinea"], "png": ["Papua New Guinea"], "new": ["=new guinea x"]}
    assert matched("in Papua New Guinea", values) == ["png"]
    assert matched("guinea pig from Guinea", values, never=["guinea pig"]) == ["guinea"]
    assert matched("guinea pig", values, never=["guinea pig"]) == []
    assert matched("papua new", values) == []


def test_another_vocabulary_sees_the_same_words():
    matcher = Matcher([("jobs", lexicon({"cleaner": ["cleaning lady"]})), ("gender", lexicon({"f": ["lady"]}))])
    assert [matcher.labels[n] for n in matcher.match("the cleaning ladies")] == [("jobs", "cleaner"), ("gender", "f")]


def test_capitals_are_asked_for_where_a_word_is_ambiguous():
    values = {"TR": ["=^Turkey"]}
    assert matched("visit Turkey", values) == ["TR"]
    assert matched("roast turkey", values) == []
    assert matched("ROAST TURKEY", values) == []
    assert matched("ﬁne Turkey", values) == ["TR"]


def test_hostile_text_is_matched_in_linear_time():
    values = {"x": ["a a a a a a a a a a a b", "a"]}
    matcher = Matcher([("made", lexicon(values))])
    times = []
    for size in (20_000, 80_000):
        start = time.process_time()
        matcher.match("a " * size)
        times.append(time.process_time() - start)
    assert times[1] < 12 * max(times[0], 0.01)
    assert matched("\ufdfa" * 1000 + "\ud800" + "\u0301" * 5000, PEOPLE) == []


@pytest.mark.parametrize("one", ["woman", "human", "city", "boy", "church", "nurse"])
def test_plurals(one):
    many = {
        "woman": "women",
        "human": "humans",
        "city": "cities",
        "boy": "boys",
        "church": "churches",
        "nurse": "nurses",
    }
    assert plural(one) == many[one]


def test_every_packaged_lexicon_loads_and_states_its_source():
    assert {"gender_terms", "occupations", "religions", "disability", "toxicity"} <= set(packaged())
    for name in packaged():
        for language in languages_of(name):
            found = load(name, language)
            assert (found.name, found.language) == (name, language)
            assert found.source
            assert found.date
            assert found.version >= 1
            # a phrase that never counts must not shadow one that does
            never = {" ".join(words(term.text)) for term in found.never}
            assert not never & {" ".join(words(term.text)) for terms in found.values.values() for term in terms}


def test_the_occupations_hold_the_forty_of_winobias():
    assert len(load("occupations").reference) == 40
    assert load("occupations").reference["nurse"] == 0.9


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "JSON object"),
        ("{", "no readable JSON"),
        ('{"name": "x"}', "`version`"),
        ('{"name": "x", "version": 1, "date": "d", "language": "en", "source": "s", "values": {}}', "`values`"),
        (
            '{"name": "x", "version": 1, "date": "d", "language": "en", "source": "s", "values": {"a": "b"}}',
            "values.a",
        ),
        (
            '{"name": "x", "version": 1, "date": "d", "language": "en", "source": "s", "values": {"a": ["b"]},'
            ' "reference": {"a": 2}}',
            "reference.a",
        ),
    ],
)
def test_a_bad_file_says_what_is_wrong(tmp_path, text, says):
    path = tmp_path / "own.json"
    path.write_text(text)
    with pytest.raises(BadInput, match=says):
        load(str(path))


def test_unknown_names_and_missing_files_are_bad_input(tmp_path):
    for name, language in (
        ("nothing", "en"),
        ("occupations", "xx"),
        (str(tmp_path / "no.json"), "en"),
        ("../x", "en"),
    ):
        with pytest.raises(BadInput):
            load(name, language)
