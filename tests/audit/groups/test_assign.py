"""Groups are read from words, places, domains, columns and labels; what cannot be read says so."""

import json

import pyarrow as pa
import pytest

from audit.groups import Assigner, Group, check_labels, not_measured, reference, un_population
from audit.groups.places import at_level, countries, country_of_domain, gazetteer, tld
from filters.errors import BadInput


def assigned(group, labels=None, **columns):
    (found,) = Assigner([group]).assign(pa.table(columns), labels)
    return [(int(row), found.values[code]) for row, code in zip(found.rows, found.codes, strict=True)]


GENDER = Group("gender", "terms", lexicon="gender_terms", languages=("en", "de"))


def test_a_caption_with_both_genders_is_mixed_or_counts_for_each():
    captions = ["a woman", "a man and a woman", None, "eine Frau und ihre Schwester", "a tree"]
    assert assigned(GENDER, caption=captions) == [(0, "feminine"), (1, "mixed"), (3, "feminine")]
    each = Group("gender", "terms", lexicon="gender_terms", overlap="each")
    assert assigned(each, caption=captions[:2]) == [(0, "feminine"), (1, "masculine"), (1, "feminine")] or assigned(
        each, caption=captions[:2]
    ) == [(0, "feminine"), (1, "feminine"), (1, "masculine")]


def test_places_in_captions_at_every_level():
    captions = ["Kenyan tea", "African art", "Paris, Rome", "in New Mexico", "Papua New Guinea", "South African wine"]
    assert assigned(Group("g", "place"), caption=captions) == [
        (0, "Africa"),
        (1, "Africa"),
        (2, "Europe"),
        (4, "Oceania"),
        (5, "Africa"),
    ]
    by_country = assigned(Group("g", "place", level="country"), caption=captions)
    assert by_country == [(0, "KE"), (2, "mixed"), (4, "PG"), (5, "ZA")]
    assert assigned(Group("g", "place", level="subregion"), caption=captions)[0] == (0, "Eastern Africa")


def test_two_groups_share_one_pass_over_the_captions():
    groups = [Group("region", "place"), Group("country", "place", level="country"), GENDER]
    found = Assigner(groups).assign(pa.table({"caption": ["a Kenyan woman"]}))
    assert [(m.group, m.values[m.codes[0]]) for m in found] == [
        ("region", "Africa"),
        ("country", "KE"),
        ("gender", "feminine"),
    ]


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("a.b.co.uk", "GB"),
        ("x.KE.", "KE"),
        ("пример.рф", "RU"),
        ("xn--e1afmkfd.xn--p1ai", "RU"),
        ("x.com", None),
        ("x.io", None),
        ("192.168.0.1", None),
        ("[::1]", None),
        ("", None),
        (".", None),
        ("x.\ud800", None),
    ],
)
def test_the_country_of_a_domain(host, code):
    assert country_of_domain(host) == code


def test_domains_by_region_and_host():
    hosts = ["A.ke", "b.de", None, "c.com"]
    assert assigned(Group("d", "domain"), domain=hosts) == [(0, "Africa"), (1, "Europe")]
    assert assigned(Group("d", "domain", level="host"), domain=hosts)[0] == (0, "a.ke")
    assert assigned(Group("d", "domain", level="tld"), domain=hosts)[2] == (3, "com")
    assert tld("x.org") == "org"
    buckets = assigned(Group("d", "domain", level="bucket"), domain=["a.ke", "A.KE.", "b.de", ""])
    assert [row for row, _ in buckets] == [0, 1, 2]
    assert buckets[0][1] == buckets[1][1]


def test_every_country_has_a_region_of_the_reference_and_every_region_is_there():
    assert {country.region for country in countries().values()} == set(un_population().shares)
    assert len(countries()) == 249
    assert abs(sum(un_population().shares.values()) - 1) < 1e-12
    assert 0.18 < un_population().shares["Africa"] < 0.20
    assert all(at_level(value, "region") in un_population().shares for value in gazetteer().values)


def test_columns_numbers_and_intervals():
    assert assigned(Group("c", "column", column="x"), x=["a", " ", None, "b"]) == [(0, "a"), (3, "b")]
    assert assigned(Group("c", "column", column="x"), x=pa.array([1, 2, None])) == [(0, "1"), (1, "2")]
    assert assigned(Group("c", "column", column="x"), x=pa.array(["a", None]).dictionary_encode()) == [(0, "a")]
    binned = Group("c", "column", column="x", edges=(0, 1, 2))
    values = [0.0, 1.0, 2.0, 2.1, -1.0, float("nan"), None, float("inf")]
    assert assigned(binned, x=values) == [(0, "[0, 1)"), (1, "[1, 2]"), (2, "[1, 2]")]
    assert assigned(Group("lang", "language"), language=["en", None]) == [(0, "en")]
    assert assigned(Group("who", "creator"), creator=["x" * 300])[0] == (0, "x" * 200)


def test_a_record_that_is_no_number_has_no_interval_and_stops_nothing():
    binned = Group("c", "column", column="x", edges=(0, 1, 2))
    dirty = ["0.5", "n/a", " 1 ", "", None, "nan", "2e0"]
    expected = [(0, "[0, 1)"), (2, "[1, 2]"), (6, "[1, 2]")]
    assert assigned(binned, x=dirty) == expected
    assert assigned(binned, x=pa.array(dirty).dictionary_encode()) == expected
    assert assigned(binned, x=["n/a", None]) == []
    wide = Group("c", "column", column="x", edges=(0, 1, 1e17))
    assert assigned(wide, x=[2**53 + 1]) == [(0, "[1, 1e+17]")]


def test_intervals_whose_edges_are_close_have_names_of_their_own():
    years = Group("c", "column", column="x", edges=(1000000, 1000001, 1000002))
    assert assigned(years, x=[1000000, 1000001]) == [(0, "[1000000, 1000001)"), (1, "[1000001, 1000002]")]
    near = Group("c", "column", column="x", edges=(0.1, 0.1 + 1e-16, 0.25))
    assert assigned(near, x=[0.1, 0.2]) == [
        (0, "[0.1, 0.1000000000000001)"),
        (1, "[0.1000000000000001, 0.25]"),
    ]


def test_labels_are_joined_by_uid():
    labels = pa.table({"uid": ["b", "a"], "tone": [3, 7]})
    group = Group("tone", "labels", column="tone")
    assert assigned(group, labels, uid=["a", "b", "c"]) == [(0, "7"), (1, "3")]
    with pytest.raises(BadInput, match="needs labels"):
        assigned(group, uid=["a"])
    with pytest.raises(BadInput, match="no column tone"):
        assigned(group, pa.table({"uid": ["a"]}), uid=["a"])


def test_labels_that_do_not_fit_the_run_are_refused():
    uids = pa.array(["a", "b"])
    check_labels(pa.table({"uid": ["a"]}), uids)
    for labels, says in (
        ({"uid": ["a", "z"]}, "1 of 2 uids are not in the run, for example z"),
        ({"uid": ["a", "a"]}, "twice"),
        ({"uid": ["a", None]}, "without a uid"),
        ({"id": ["a"]}, "no column uid"),
    ):
        with pytest.raises(BadInput, match=says):
            check_labels(pa.table(labels), uids)


@pytest.mark.parametrize(
    "declared",
    [
        {"name": "", "kind": "language"},
        {"name": "x", "kind": "faces"},
        {"name": "x", "kind": "terms"},
        {"name": "x", "kind": "place", "lexicon": "gender_terms"},
        {"name": "x", "kind": "terms", "lexicon": "gender_terms", "languages": ()},
        {"name": "x", "kind": "column"},
        {"name": "x", "kind": "place", "level": "host"},
        {"name": "x", "kind": "language", "overlap": "both"},
        {"name": "x", "kind": "column", "column": "c", "edges": (1.0, 1.0)},
        {"name": "x", "kind": "column", "column": "c", "edges": (0.0, float("nan"))},
        {"name": "x", "kind": "language", "edges": (0.0, 1.0)},
    ],
)
def test_an_impossible_declaration_is_refused(declared):
    with pytest.raises(BadInput, match="group"):
        Group(**declared)


def test_a_word_list_cannot_call_a_value_as_samples_of_several_values_are_called(tmp_path):
    body = {"name": "kin", "version": 1, "date": "2026-11-22", "language": "en", "source": "a test"}
    path = tmp_path / "kin.json"
    path.write_text(json.dumps({**body, "values": {"mixed": ["creole"], "other": ["tree"]}}))
    with pytest.raises(BadInput, match="group kin: lexicon kin: mixed is what several values are called"):
        Assigner([Group("kin", "terms", lexicon=str(path))])
    each = Group("kin", "terms", lexicon=str(path), overlap="each")
    assert assigned(each, caption=["a creole cottage"]) == [(0, "mixed")]
    for value in ("", " x"):
        path.write_text(json.dumps({**body, "values": {value: ["tree"]}}))
        with pytest.raises(BadInput, match="is empty or has a space at its ends"):
            Assigner([each])


def test_missing_columns_and_columns_without_values_are_bad_input():
    with pytest.raises(BadInput, match="no column nothing"):
        assigned(Group("g", "column", column="nothing"), x=[1])
    with pytest.raises(BadInput, match="no single values"):
        assigned(Group("g", "column", column="x"), x=[[1], [2]])
    with pytest.raises(BadInput, match="no numbers"):
        assigned(Group("g", "column", column="x", edges=(0.0, 1.0)), x=["a"] * 30)
    with pytest.raises(BadInput, match="no numbers"):
        assigned(Group("g", "column", column="x", edges=(0.0, 1.0)), x=[[1.0]])
    with pytest.raises(BadInput, match="declared twice"):
        Assigner([GENDER, GENDER])


def test_empty_parts_and_captions_without_values_give_empty_memberships():
    assert assigned(GENDER, caption=pa.array([], pa.string())) == []
    assert assigned(GENDER, caption=["tree"]) == []
    assert assigned(Group("d", "domain"), domain=pa.array([None], pa.string())) == []


def test_own_references_are_scaled_and_bad_ones_refused():
    assert reference("mine", {"a": 3, "b": 1}, "a count", "2026").shares == {"a": 0.75, "b": 0.25}
    for shares in ({}, {"a": 0.0}, {"a": -1.0}, {"a": float("nan")}, {"a": float("inf")}, {"a": True}):
        with pytest.raises(BadInput):
            reference("mine", shares, "a count", "2026")


def test_what_is_not_measured_says_why_unless_people_have_labelled_it():
    assert "skin tone" in {item.what for item in not_measured(set())}
    assert "skin tone" not in {item.what for item in not_measured({"skin tone"})}
    assert all("labels" in item.why for item in not_measured(set()))
