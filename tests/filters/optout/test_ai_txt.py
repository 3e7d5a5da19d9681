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


def test_states():
    for state, unreadable in ((Fetched.ABSENT, []), (Fetched.UNREACHABLE, [True])):
        found = AiTxtChannel().read(Evidence(url="https://example.org/", ai_txt=Document("a", state=state)))
        assert [signal.unreadable for signal in found] == unreadable
