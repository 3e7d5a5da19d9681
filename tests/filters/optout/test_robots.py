"""robots.txt: grouping, who is meant, what a Disallow means for training, and what an Allow does not."""

from __future__ import annotations

import pytest

from filters.optout.agents import AGENTS_DATE, OWN_TOKEN, TRAINING_AGENTS, listed, obeyed
from filters.optout.base import Document, Evidence, Fetched, Verdict
from filters.optout.host_policy import HostChannels
from filters.optout.robots import ALLOW, DISALLOW, MAX_BYTES, crawl_delay, parse_robots
from filters.optout.robots_channel import RobotsChannel

HOST = "https://example.org"


def read(text: str | bytes, path: str = "/a.jpg", agents: tuple[str, ...] = obeyed()):
    body = text.encode() if isinstance(text, str) else text
    evidence = Evidence(url=HOST + path, robots=Document(f"{HOST}/robots.txt", body))
    return RobotsChannel(agents).read(evidence)


def verdict(text: str | bytes, path: str = "/a.jpg", agents: tuple[str, ...] = obeyed()) -> Verdict | None:
    found = [signal.verdict for signal in read(text, path, agents)]
    return Verdict.DENY if Verdict.DENY in found else found[0] if found else None


RFC_5_1 = """
User-Agent: *
Disallow: *.gif$
Disallow: /example/
Allow: /publications/

User-Agent: foobot
Disallow:/
Allow:/example/page.html
Allow:/example/allowed.gif

User-Agent: barbot
User-Agent: bazbot
Disallow: /example/page.html

User-Agent: quxbot

EOF
"""


@pytest.mark.parametrize(
    ("agent", "path", "expected"),
    [
        ("other", "/x.gif", Verdict.DENY),
        ("other", "/x.gif?y", None),
        ("other", "/example/x", Verdict.DENY),
        ("other", "/publications/x", Verdict.UNKNOWN),
        ("other", "/z", None),
        ("foobot", "/z", Verdict.DENY),
        ("foobot", "/example/page.html", Verdict.UNKNOWN),
        ("FooBot", "/example/allowed.gif", Verdict.UNKNOWN),
        ("barbot", "/example/page.html", Verdict.DENY),
        ("bazbot", "/example/page.html", Verdict.DENY),
        ("bazbot", "/example/x", None),
        ("quxbot", "/example/x", None),
    ],
)
def test_simple_example_of_rfc_9309(agent, path, expected):
    assert verdict(RFC_5_1, path, (agent,)) is expected


@pytest.mark.parametrize(("path", "expected"), [("/example/page/disallow.gif", True), ("/example/page/x", False)])
def test_longest_match_of_rfc_9309(path, expected):
    text = "User-Agent: foobot\nAllow: /example/page/\nDisallow: /example/page/disallow.gif\n"
    assert (verdict(text, path, ("foobot",)) is Verdict.DENY) is expected


def test_groups_of_one_agent_are_merged_and_allow_wins_a_tie():
    text = "User-agent: a\nDisallow: /1\n\nUser-agent: b\nDisallow: /2\n\nUser-agent: A\nDisallow: /3\nAllow: /3\n"
    assert [verdict(text, path, ("a",)) for path in ("/1", "/2", "/3")] == [Verdict.DENY, None, Verdict.UNKNOWN]


def test_other_records_do_not_split_a_run_of_agents():
    text = "User-agent: a\nSitemap: x\nLicense: y\nFoo: z\nUser-agent: b\nDisallow: /\n"
    assert verdict(text, agents=("a",)) is Verdict.DENY


def test_crawl_delay_alone_does_not_inherit_the_next_group():
    text = "User-agent: *\nCrawl-delay: 10\n\nUser-agent: BadBot\nDisallow: /\n"
    assert verdict(text) is None
    assert crawl_delay(parse_robots(text.encode()), OWN_TOKEN) == 10


@pytest.mark.parametrize(
    "line",
    ["Disallow: /", "DISALLOW:/", " disallow : / # all", "Dissallow: /", "Disallow /", "disallow: *", "Disallow: /*"],
)
def test_loose_spellings_refuse(line):
    for start in ("User-agent: *", "user-agent:*", "User agent *", "UserAgent: *", "\ufeffUser-agent: *"):
        assert verdict(f"{start}\n{line}\n") is Verdict.DENY


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_every_line_end_counts(end):
    assert verdict(f"User-agent: *{end}Disallow: /{end}") is Verdict.DENY


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_a_file_over_the_limit_keeps_its_rules_by_whatever_line_end(end):
    text = f"User-agent: *{end}Disallow: /a{end}" + f"# filler{end}" * (MAX_BYTES // 8)
    assert len(text) > MAX_BYTES
    assert verdict(text) is Verdict.DENY
    assert verdict(text, "/b") is None


def test_a_file_over_the_limit_without_a_line_end_shuts_out_everybody():
    (signal,) = read(b"User-agent: *" + b" " * MAX_BYTES)
    assert signal.verdict is Verdict.DENY
    assert "no line end" in signal.raw
    assert (
        not HostChannels()
        .compile(Document(f"{HOST}/robots.txt", b"x" * (MAX_BYTES + 1)))
        .decide(f"{HOST}/a.jpg")
        .allowed_to_fetch
    )
    assert read(b"User-agent: *" + b" " * (MAX_BYTES - 13)) == []


def test_unicode_line_separators_end_no_line():
    assert verdict("User-agent: *\u2028Disallow: /\nDisallow: /b\n", "/a") is None


def test_utf_16_and_stray_octets_are_read():
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"):
        assert verdict("User-agent: *\nDisallow: /\n".encode(encoding)) is Verdict.DENY
    assert verdict(b"User-agent: *\nDisallow: /caf\xe9/\n", "/caf%E9/a.jpg") is Verdict.DENY


@pytest.mark.parametrize("path", ["private/", "/private/", "https://example.org/private/"])
def test_disallow_without_its_slash_is_read_as_meant(path):
    assert verdict(f"User-agent: *\nDisallow: {path}\n", "/private/a.jpg") is Verdict.DENY


def test_empty_disallow_and_rules_before_any_group_say_nothing():
    assert read("Disallow: /\nUser-agent: *\nDisallow:\n") == []


@pytest.mark.parametrize(
    "name", ["GPTBot", "gptbot/1.1", "img2dataset", "AI2Bot", "Kangaroo Bot", "GPTBot*", "CCBot (x)", "Foo, GPTBot"]
)
def test_shutting_out_a_training_crawler_reserves_the_work(name):
    (signal,) = [
        s for s in read(f"User-agent: {name}\nDisallow: /\n\nUser-agent: *\nAllow: /\n") if s.verdict == "deny"
    ]
    assert name.split("/")[0].split(" (")[0].split(", ")[-1].rstrip("*").lower() in signal.detail.lower()
    assert signal.raw.endswith("Disallow: /")
    assert signal.evidence_sha256
    assert signal.source == f"{HOST}/robots.txt"


@pytest.mark.parametrize("name", ["Googlebot", "GPTBotany", "img", "assays", "XGPTBot", "Applebot"])
def test_shutting_out_another_crawler_does_not(name):
    assert verdict(f"User-agent: {name}\nDisallow: /\n") is None


def test_extra_agents_of_the_recipe_are_obeyed():
    text = "User-agent: ourbot\nDisallow: /\n"
    assert verdict(text) is None
    assert verdict(text, agents=obeyed(("OurBot",))) is Verdict.DENY


def test_allow_is_never_a_permission_to_train():
    (signal,) = read("User-agent: assay\nAllow: /\n")
    assert signal.verdict is Verdict.UNKNOWN
    assert "no permission to train" in signal.detail


def test_a_visit_granted_to_us_does_not_undo_what_bars_training_crawlers():
    signals = read("User-agent: assay\nAllow: /\n\nUser-agent: *\nDisallow: /\n")
    assert {signal.verdict for signal in signals} == {Verdict.UNKNOWN, Verdict.DENY}


def test_absent_file_says_nothing_and_an_unreachable_one_bars_all():
    def signals(state: Fetched):
        return RobotsChannel().read(
            Evidence(url=HOST, robots=Document(f"{HOST}/robots.txt", state=state, http_status=503))
        )

    assert signals(Fetched.ABSENT) == []
    (signal,) = signals(Fetched.UNREACHABLE)
    assert (signal.verdict, signal.unreadable) == (Verdict.UNKNOWN, True)
    assert "503" in signal.detail


def test_robots_txt_itself_may_always_be_fetched():
    assert read("User-agent: *\nDisallow: /\n", "/robots.txt") == []


def test_crawl_delay_ignores_what_is_no_time():
    text = "User-agent: assay\nCrawl-delay: 2.5\nCrawl-delay: nan\nCrawl-delay: inf\nCrawl-delay: -3\nCrawl-delay: x\n"
    assert crawl_delay(parse_robots(text.encode()), OWN_TOKEN) == 2.5
    assert crawl_delay(parse_robots(b""), OWN_TOKEN) is None


def test_a_rule_cut_at_the_limit_is_dropped():
    start = "User-agent: *\nDisallow: /a/\n"
    text = start + "#" * (MAX_BYTES - len(start) - 8) + "\nAllow: /a/b/c\n"
    assert MAX_BYTES - len(text) < 0
    assert verdict(text, "/a/b/c") is Verdict.DENY


def test_unknown_lines_are_kept():
    file = parse_robots(b"Sitemap: https://example.org/map\nUser-agent: *\nFoo: bar # x\n")
    assert [line.key for line in file.outside] == ["sitemap"]
    assert [(line.key, line.value, line.raw) for line in file.groups[0].lines] == [("foo", "bar", "Foo: bar")]
    assert {ALLOW, DISALLOW}.isdisjoint(line.key for line in file.groups[0].lines)


def test_list_of_agents_is_dated_and_ours_comes_first():
    assert AGENTS_DATE == "2026-08-22"
    tokens = obeyed(("assay", " GPTBOT ", ""))
    assert tokens[0] == OWN_TOKEN
    assert len(tokens) == len(TRAINING_AGENTS) + 1 == len({token.lower() for token in tokens})
    assert listed(tokens, 2) == f"assay, GPTBot and {len(tokens) - 2} more"
