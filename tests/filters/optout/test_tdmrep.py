"""TDMRep: the report's examples, its protocol errors, and which of file, header and meta counts."""

from __future__ import annotations

import json

import pytest

from filters.optout.base import Document, Evidence, Fetched, Verdict
from filters.optout.tdmrep import TdmRepChannel, file_verdict, text_verdict

D, A, U = Verdict.DENY, Verdict.ALLOW, Verdict.UNKNOWN
HOST = "https://example.org"
MIXED = [
    {"location": "/directory-a/", "tdm-reservation": 1},
    {"location": "/directory-b/images/*.jpg", "tdm-reservation": 0},
    {"location": "/", "tdm-reservation": 1, "tdm-policy": "https://example.org/policies/policy.json"},
]


def read(
    file: object = None, path: str = "/a.jpg", header: str | None = None, page: str | None = None, **more: object
):
    body = file if isinstance(file, bytes) else json.dumps(file).encode()
    evidence = Evidence(
        url=HOST + path,
        tdmrep=Document(f"{HOST}/.well-known/tdmrep.json", body) if file is not None else None,
        headers=(("TDM-Reservation", header),) if header is not None else (),
        page=Document(str(more.get("page_url", f"{HOST}/p")), page.encode()) if page is not None else None,
    )
    return TdmRepChannel().read(evidence)


def verdicts(*given: object, **settings: object) -> list[Verdict]:
    return [signal.verdict for signal in read(*given, **settings)]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/directory-a/x", [D]),
        ("/directory-b/images/x.jpg", [A]),
        ("/directory-b/images/x.png", [D]),
        ("/Directory-b/images/x.jpg", [D]),
        ("/z", [D]),
    ],
)
def test_first_match_in_sequence_decides(path, expected):
    assert verdicts(MIXED, path) == expected


def test_policy_link_is_kept():
    (signal,) = read(MIXED, "/z")
    assert "policies/policy.json" in signal.raw
    assert "policies/policy.json" in signal.detail


def test_no_match_is_unset():
    assert verdicts([{"location": "/other/", "tdm-reservation": 1}]) == []
    assert verdicts([]) == []


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(1, D), (0, A), (True, U), (False, U), (None, U), (2, U), (-1, U), ("1", D), ("0", U), (1.0, D), (0.0, U)],
)
def test_values_of_the_file(value, verdict):
    assert file_verdict(value) is verdict
    assert verdicts([{"location": "/", "tdm-reservation": value}]) == [verdict]


@pytest.mark.parametrize("named", [{"location": ["/a", "/b"]}, {"location": None}, {"Location": "/"}, {}])
def test_a_reservation_without_a_usable_location_makes_the_file_unreadable(named):
    rule = {**named, "tdm-reservation": 1}
    (signal,) = read([rule])
    assert (signal.verdict, signal.unreadable) == (U, True)
    others = [{"location": "/a", "tdm-reservation": 1}, {"location": "/", "tdm-reservation": 0}]
    assert verdicts([rule, *others]) == [D]
    assert [(s.verdict, s.unreadable) for s in read([*others, rule], "/x")] == [(A, False), (U, True)]
    assert verdicts([{**named, "tdm-reservation": 0}, 7, []]) == []


@pytest.mark.parametrize("value", ["yes", [1], {}, 10**300, 1e300])
def test_odd_values_of_the_file_are_unset(value):
    assert verdicts([{"location": "/", "tdm-reservation": value}]) == [U]


@pytest.mark.parametrize(
    ("values", "verdict"),
    [(["1"], D), (["0"], A), (["1, 1"], D), (["0", "1"], D), (["0,0"], A), ([" 1 "], D), (['"1"'], D), (["0, x"], U)],
)
def test_values_of_header_and_meta(values, verdict):
    assert text_verdict(values) is verdict


@pytest.mark.parametrize("values", [["true"], ["2"], [""], [], ["01"], ["-1"], ["1.0"]])
def test_odd_values_of_header_and_meta_are_unset(values):
    assert text_verdict(values) is U


@pytest.mark.parametrize("name", ["tdm-reservation", "TDM-Reservation", "TDM-RESERVATION"])
def test_header_in_any_case_with_its_policy(name):
    headers = ((name, "1"), ("TDM-Policy", "https://example.org/p"))
    (signal,) = TdmRepChannel().read(Evidence(url=HOST, headers=headers))
    assert signal.verdict is D
    assert "https://example.org/p" in signal.raw


META_0 = '<meta name="tdm-reservation" content="0">'
META_1 = '<meta name="TDM-Reservation" content="1"><meta name="tdm-policy" content="https://example.org/p">'


@pytest.mark.parametrize(
    ("header", "page", "expected"),
    [
        (None, None, [D]),
        ("0", None, [U, A]),
        ("1", None, [U, D]),
        ("x", None, [D, U]),  # an error resets nothing
        ("0", META_1, [U, U, D]),
        ("1", META_0, [U, U, A]),
        (None, META_0, [U, A]),
        (None, "<p>", [D]),
    ],
)
def test_a_later_present_value_supersedes(header, page, expected):
    assert verdicts(MIXED, "/z", header=header, page=page) == expected


def test_what_was_superseded_says_so():
    first, _ = read(MIXED, "/z", header="0")
    assert first.detail.startswith("Superseded by the header")


def test_a_page_permits_only_for_its_own_origin_and_in_its_head():
    assert verdicts(MIXED, "/z", page=META_0, page_url="https://other.example/p") == [D, U]
    assert verdicts(MIXED, "/z", page=f"<body>{META_0}") == [D, U]
    assert verdicts([], "/z", page=f"<body>{META_1}", page_url="https://other.example/p") == [D]


@pytest.mark.parametrize("body", [b"", b"{", b"<html>", b"42", b'"x"', b"{}", b"\xff", b"[" * 100_000, b"1" * 5000])
def test_what_is_no_file_is_unreadable(body):
    (signal,) = read(body)
    assert (signal.verdict, signal.unreadable) == (U, True)


def test_lone_object_can_only_refuse():
    assert verdicts({"location": "/", "tdm-reservation": 1}) == [D]
    assert verdicts({"location": "/", "tdm-reservation": 0}) == [U]


def test_broken_rules_are_passed_over():
    assert verdicts([1, None, {"location": 3, "tdm-reservation": 0}, {"tdm-reservation": 0}, *MIXED], "/z") == [D]


def test_location_without_its_slash_refuses():
    for location in ("a.jpg", f"{HOST}/a.jpg", f"{HOST}"):
        assert verdicts([{"location": location, "tdm-reservation": 1}]) == [D]
    assert verdicts([{"location": "a.jpg", "tdm-reservation": 0}]) == []


def test_states_of_the_file():
    def signals(state: Fetched):
        return TdmRepChannel().read(Evidence(url=HOST, tdmrep=Document("f", state=state)))

    assert signals(Fetched.ABSENT) == []
    assert [s.unreadable for s in signals(Fetched.UNREACHABLE)] == [True]
