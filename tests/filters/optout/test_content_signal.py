"""Cloudflare's Content-Signal lines."""

from __future__ import annotations

import pytest

from filters.optout.base import Document, Evidence, Verdict
from filters.optout.content_signal import ContentSignalChannel, judge

D, A, U = Verdict.DENY, Verdict.ALLOW, Verdict.UNKNOWN

MANAGED = """# As a condition of accessing this website, you agree to abide by the following content signals:
User-agent: *
Content-Signal: search=yes,ai-train=no
Allow: /

User-agent: GPTBot
Disallow: /
"""


def read(text: str, path: str = "/a.jpg") -> list[Verdict]:
    document = Document("https://example.org/robots.txt", text.encode())
    found = ContentSignalChannel().read(Evidence(url=f"https://example.org{path}", robots=document))
    return [signal.verdict for signal in found]


@pytest.mark.parametrize(
    ("statement", "verdict"),
    [
        ("search=yes, ai-train=no", D),
        ("AI-Train = NO", D),
        ("ai-train=no;search=yes", D),
        ("search=yes ai-train=no", D),
        ("ai-train=yes, ai-train=no", D),
        ("ai-train=yes", A),
        ("search=yes, ai-input=no, ai-train=yes", A),
        ("search=yes", U),
        ("ai-train=maybe", U),
        ("ai-train=", U),
        ("not-ai-train=no", U),
        ("ai-train=yes, <garbage>", U),
        ("ai-train=yesno", U),
        ("", U),
    ],
)
def test_statement(statement, verdict):
    assert judge(statement) is verdict


def test_managed_robots_txt_refuses():
    assert read(MANAGED) == [D]


def test_path_scoped_line_binds_its_path_only():
    text = "User-agent: *\nContent-Signal: ai-train=yes\nContent-Signal: /art/ ai-train=no\n"
    assert (read(text, "/art/a"), read(text, "/b")) == ([D], [A])


def test_two_lines_for_one_path_combine_restrictively():
    assert read("User-agent: *\nContent-Signal: ai-train=yes\nContent-Signal: ai-train=no\n") == [D]


def test_header_can_refuse_and_not_permit():
    def header(value: str) -> list[Verdict]:
        return [s.verdict for s in ContentSignalChannel().read(Evidence(headers=(("content-signal", value),)))]

    assert (header("ai-train=no"), header("ai-train=yes")) == ([D], [U])
