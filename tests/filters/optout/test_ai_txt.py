"""Spawning's ai.txt."""

from __future__ import annotations

import pytest

from filters.optout.ai_txt import AiTxtChannel
from filters.optout.base import Document, Evidence, Fetched, Verdict

D, U = Verdict.DENY, Verdict.UNKNOWN


def read(text: str, path: str = "/art/a.jpg") -> list[Verdict]:
    document = Document("https://example.org/ai.txt", text.encode())
    found = AiTxtChannel().read(Evidence(url=f"https://example.org{path}", ai_txt=document))
    return [signal.verdict for signal in found]


@pytest.mark.parametrize("rule", ["*.jpg", "/", "*", "*.JPG", ".jpg", "/*.jpg$", "art/", "*.j*"])
def test_disallow_refuses(rule):
    assert read(f"User-Agent: *\nDisallow: {rule}\n") == [D]


@pytest.mark.parametrize("rule", ["*.png", "/b", "", "*.jpg2"])
def test_other_types_are_not_meant(rule):
    assert read(f"User-Agent: *\nDisallow: {rule}\n") == []


def test_allow_opens_a_type_and_permits_nothing():
    text = "User-Agent: *\nDisallow: /\nAllow: *.png\n"
    assert (read(text, "/a.png"), read(text, "/a.jpg")) == ([U], [D])


def test_extension_in_any_case_and_escapes():
    assert read("User-Agent: *\nDisallow: *.jpg\n", "/ART/A.JPG") == [D]
    assert read("User-Agent: *\nDisallow: /ü/\n", "/%C3%BC/a.jpg") == [D]


@pytest.mark.parametrize("rule", ["/Été/", "/ÉTÉ/*.jpg$", "/%C3%89t%c3%a9/", "/été/%41.JPG", "été/"])
@pytest.mark.parametrize("path", ["/Été/a.jpg", "/%C3%89T%C3%89/A.jpg", "/%c3%a9t%c3%a9/%61.jpg"])
def test_letters_that_are_not_ascii_count_in_any_case_and_spelling(rule, path):
    assert read(f"User-Agent: *\nDisallow: {rule}\n", path) == [D]


def test_an_escaped_mark_and_octets_that_are_no_text_mean_themselves():
    assert read("User-Agent: *\nDisallow: /%2a/%ff\n", "/%2A/%FFx") == [D]
    assert read("User-Agent: *\nDisallow: /%2a/%ff\n", "/a/%FFx") == []


def test_states():
    for state, unreadable in ((Fetched.ABSENT, []), (Fetched.UNREACHABLE, [True])):
        found = AiTxtChannel().read(Evidence(url="https://example.org/", ai_txt=Document("a", state=state)))
        assert [signal.unreadable for signal in found] == unreadable
