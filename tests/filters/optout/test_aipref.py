"""Content-Usage: the vectors of the vocabulary and attachment drafts, and the restrictive side of all else."""

from __future__ import annotations

import pytest

from filters.optout.agents import obeyed
from filters.optout.aipref import ContentUsageChannel, judge, judge_fields, preferences
from filters.optout.base import Document, Evidence, Fetched, Verdict

D, A, U = Verdict.DENY, Verdict.ALLOW, Verdict.UNKNOWN
HOST = "https://example.org"


def robots(text: str, path: str, own: str = "assay") -> list[Verdict]:
    channel = ContentUsageChannel(obeyed(own=own))
    document = Document(f"{HOST}/robots.txt", text.encode())
    return [signal.verdict for signal in channel.read(Evidence(url=HOST + path, robots=document))]


@pytest.mark.parametrize(
    ("statement", "verdict"),
    [
        ("train-ai=n", D),
        ("train-ai=y", A),
        ("train-ai=n, search=y", D),
        ("search=n", U),
        # vocab: what gives no preference
        ('train-ai=y, train-ai, search=n, search="n"', U),
        ('train-ai=y, train-ai="n", train-genai=y, train-genai, all=y, all=()', U),
        ("train-ai;allow=n, train-ai=y", A),
        ("train-ai=n;exceptions=cc-cr", D),
        ("train-ai=?0", U),
        ("train-ai=1", U),
        ("train-ai=Y", U),
        ("train-ai=yes", U),
        ("Train-AI=n", U),
        ("train-ai=y, X=n", U),
        ("train-ai=y,", U),
        ("train-ai=y; train-ai=n", A),  # the second is a parameter
        ("train-ai=y, train-ai=n", D),
        ("unknown=n, other=y", U),
        ("  train-ai=n  ", D),
        ("", U),
        ("train-ai=n \ud800", U),
        # earlier drafts and broader categories refuse and never permit
        ("train-genai=n", D),
        ("train-ai=y, train-genai=n", D),
        ("train-ai=y, all=n", D),
        ("bots=n", D),
        ("ai-use=n", D),
        ("train-genai=y", U),
        ("all=y, bots=y, ai-use=y", U),
    ],
)
def test_statement(statement, verdict):
    assert judge(statement) is verdict


@pytest.mark.parametrize(
    "statement",
    [
        *("train-ai=n, train-ai=y", "train-ai=n,train-ai=y;a=1", "train-ai=n, search=y, train-ai", "all=n, all=()"),
        *('x="a, b \\" (", train-ai=n, train-ai=y', 'x=("," 1), train-ai=n, train-ai=y'),
    ],
)
def test_a_refusal_stands_where_fields_were_joined_into_one_line(statement):
    assert judge(statement) is D
    assert judge_fields([statement]) is D


@pytest.mark.parametrize("statement", ['x="train-ai=n, train-ai=n", train-ai=y', "train-ai=n, train-ai=y, 1", "n, y="])
def test_a_comma_in_a_string_parts_nothing_and_what_is_no_dictionary_says_nothing(statement):
    assert judge(statement) is (A if '"' in statement else U)


def test_categories_are_kept_apart():
    assert preferences("train-ai=n, search=y;x=1, ai-use=(y)") == {"train-ai": D, "search": A}


def test_a_later_field_does_not_undo_a_refusal():
    assert judge_fields(["train-ai=n", "train-ai=y"]) is D
    assert judge_fields(["search=y", "train-ai=y"]) is A
    assert judge_fields(["train-ai=y", "BROKEN"]) is U
    assert judge_fields(["BROKEN", "train-ai=n"]) is D


@pytest.mark.parametrize("name", ["Content-Usage", "content-usage", "CONTENT-USAGE"])
def test_header_in_any_case(name):
    (signal,) = ContentUsageChannel().read(Evidence(url=HOST, headers=((name, "train-ai=n"),)))
    assert (signal.verdict, signal.raw, signal.channel) == (D, "train-ai=n", "content-usage")


#: attach-05 §3.4
FIGURE_2 = """User-Agent: *
Allow: /
Disallow: /never/
Content-Usage: train-ai=n
Content-Usage: /ai-ok/ train-ai=y

User-Agent: ExampleBot
Allow: /
Content-Usage: train-ai=y
"""


@pytest.mark.parametrize(
    ("own", "path", "verdicts"),
    [
        ("assay", "/test", [D]),
        ("assay", "/never/test", []),
        ("assay", "/ai-ok/test", [A]),
        ("ExampleBot", "/test", [A]),
        ("ExampleBot", "/never/test", [A]),
        ("ExampleBot", "/ai-ok/test", [A]),
    ],
)
def test_example_of_the_attachment_draft(own, path, verdicts):
    assert robots(FIGURE_2, path, own) == verdicts


@pytest.mark.parametrize(
    ("lines", "verdicts"),
    [
        (["/p/ train-ai=y", "/p/ train-ai=n"], [D]),  # equal paths combine restrictively, unlike Allow
        (["/p/ train-ai=n", "/p/ train-ai=y"], [D]),
        (["/p/ train-ai=y", "/p/ search=n"], [A]),
        (["train-ai=n", "/p/ train-ai=y"], [A]),
        (["train-ai=y", "/ train-ai=n"], [D]),
        (["/p/\ttrain-ai=n # why"], [D]),
        (["/p/"], [U]),
        (["/*.jpg$ train-ai=n", "/ train-ai=y"], [D]),
        (["/q/ train-ai=n"], []),
        (["p/ train-ai=n"], [U]),
    ],
)
def test_paths(lines, verdicts):
    text = "User-agent: *\n" + "".join(f" Content-Usage : {line}\n" for line in lines)
    assert robots(text, "/p/a.jpg") == verdicts


def test_refusal_to_a_training_crawler_counts_unless_we_are_addressed_by_name():
    text = "User-agent: GPTBot\nContent-Usage: train-ai=n\n\nUser-agent: *\nContent-Usage: train-ai=y\n"
    assert set(robots(text, "/a")) == {D, A}
    assert robots(text + "\nUser-agent: assay\nContent-Usage: train-ai=y\n", "/a") == [A]
    assert robots("User-agent: GPTBot\nContent-Usage: train-ai=y\n", "/a") == []


def test_before_the_first_group_only_a_refusal_counts():
    assert robots("Content-Usage: train-ai=n\n", "/a") == [D]
    assert robots("Content-Usage: train-ai=y\n", "/a") == []


def test_without_a_file_nothing_is_said():
    for state in (Fetched.ABSENT, Fetched.UNREACHABLE):
        assert ContentUsageChannel().read(Evidence(url=HOST, robots=Document("r", state=state))) == []
