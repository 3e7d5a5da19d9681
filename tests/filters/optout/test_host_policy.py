"""What is known of a host before a request, and that it is known fast."""

from __future__ import annotations

import json
import time

import pytest

from filters.optout.agents import obeyed
from filters.optout.ai_txt import AiTxtChannel
from filters.optout.aipref import ContentUsageChannel
from filters.optout.base import Document, Evidence, Fetched, Verdict
from filters.optout.content_signal import ContentSignalChannel
from filters.optout.host_policy import HostChannels, HostPolicy
from filters.optout.resolution import ResolutionPolicy
from filters.optout.robots_channel import RobotsChannel
from filters.optout.rsl import RslChannel
from filters.optout.tdmrep import TdmRepChannel
from filters.reasons import Reason

HOST = "https://example.org"


def document(name: str, text: str | None = None, state: Fetched = Fetched.FOUND) -> Document:
    return Document(f"{HOST}/{name}", (text or "").encode(), state)


def host(robots: str, channels: HostChannels | None = None, **documents: Document) -> HostPolicy:
    return (channels or HostChannels()).compile(document("robots.txt", robots), **documents)


def test_host_without_documents_is_open():
    decision = HostChannels().compile().decide(f"{HOST}/a.jpg")
    assert (decision.allowed_to_fetch, decision.signals, decision.resolution.reason) == (True, (), None)


@pytest.mark.parametrize(
    ("robots", "reason"),
    [
        ("User-agent: *\nDisallow: /art/\n", Reason.OPTED_OUT),
        ("User-agent: GPTBot\nDisallow: /\n", Reason.OPTED_OUT),
        ("User-agent: *\nContent-Usage: train-ai=n\n", Reason.OPTED_OUT),
        ("User-agent: *\nContent-Signal: ai-train=no\n", Reason.OPTED_OUT),
        ("User-agent: *\nAllow: /\n", None),
        ("User-agent: Googlebot\nDisallow: /\n", None),
    ],
)
def test_robots_decides_before_the_request(robots, reason):
    decision = host(robots).decide(f"{HOST}/art/a.jpg")
    assert decision.allowed_to_fetch is (reason is None)
    assert decision.resolution.reason is reason


def test_other_documents_decide_before_the_request():
    tdm = document("tdmrep.json", json.dumps([{"location": "/", "tdm-reservation": 1}]))
    for named in ({"tdmrep": tdm}, {"ai_txt": document("ai.txt", "User-agent: *\nDisallow: *.jpg\n")}):
        assert not HostChannels().compile(**named).decide(f"{HOST}/a.jpg").allowed_to_fetch


def test_licences_are_named_and_then_count():
    first = host("License: /license.xml\n")
    assert first.rsl_urls == (f"{HOST}/license.xml",)
    assert first.decide(f"{HOST}/a.jpg").allowed_to_fetch
    licence = "<license><prohibits>all</prohibits></license>"
    text = f'<rsl xmlns="https://rslstandard.org/rsl"><content url="/a">{licence}</content></rsl>'
    then = HostChannels().compile(rsl=(document("license.xml", text),), host="example.org")
    assert [then.decide(f"{HOST}{path}").allowed_to_fetch for path in ("/a.jpg", "/b.jpg")] == [False, True]


def test_unreachable_robots_bars_whatever_the_recipe_says():
    lenient = HostChannels(policy=ResolutionPolicy(unreadable="default"))
    unreachable = document("robots.txt", state=Fetched.UNREACHABLE)
    assert not HostChannels().compile(unreachable).decide(HOST).allowed_to_fetch
    assert not lenient.compile(unreachable).decide(HOST).allowed_to_fetch
    assert lenient.compile(tdmrep=unreachable).decide(HOST).allowed_to_fetch
    assert not HostChannels().compile(tdmrep=unreachable).decide(HOST).allowed_to_fetch
    assert HostChannels().compile(document("robots.txt", state=Fetched.ABSENT)).decide(HOST).allowed_to_fetch


def test_a_missing_permission_does_not_stop_the_request():
    closed = HostChannels(policy=ResolutionPolicy("fail_closed"))
    decision = closed.compile(document("robots.txt", "User-agent: *\nAllow: /\n")).decide(HOST)
    assert decision.allowed_to_fetch
    assert decision.resolution.reason is Reason.NO_PERMISSION


def test_crawl_delay_is_ours():
    assert host("User-agent: *\nCrawl-delay: 9\nUser-agent: assay\nCrawl-delay: 2\n").crawl_delay == 2
    assert host("").crawl_delay is None


def test_paths_that_lead_into_a_barred_folder_are_barred():
    policy = host("User-agent: *\nDisallow: /private/\n")
    for path in ("/open/../private/a", "/open/%2e%2e/private/a", "/%70rivate/a", "/private/a#x"):
        assert not policy.decide(HOST + path).allowed_to_fetch


def test_same_signals_as_the_channels():
    robots = document(
        "robots.txt", "User-agent: *\nDisallow: /x\nContent-Usage: train-ai=n\nContent-Signal: ai-train=yes\n"
    )
    tdm = document("tdmrep.json", json.dumps([{"location": "/a*", "tdm-reservation": 0}]))
    ai_txt = document("ai.txt", "User-agent: *\nDisallow: *.png\n")
    licence = document("l", '<rsl xmlns="https://rslstandard.org/rsl"><content url="/a"><license/></content></rsl>')
    policy = HostChannels().compile(robots, tdm, ai_txt, (licence,), "example.org")
    channels = [
        RobotsChannel(),
        ContentUsageChannel(),
        ContentSignalChannel(),
        TdmRepChannel(),
        AiTxtChannel(),
        RslChannel(),
    ]
    for path in ("/a.jpg", "/x.png", "/a.png", "/"):
        evidence = Evidence(url=HOST + path, robots=robots, tdmrep=tdm, ai_txt=ai_txt, rsl=(licence,))
        expected = [signal for channel in channels for signal in channel.read(evidence)]
        assert list(policy.decide(HOST + path).signals) == expected


def test_decisions_are_remembered_by_rule_and_bounded():
    policy = host("User-agent: *\n" + "".join(f"Disallow: /{number}/\n" for number in range(4500)))
    assert policy.decide(f"{HOST}/1/a") is policy.decide(f"{HOST}/1/b")
    for number in range(4500):
        policy.decide(f"{HOST}/{number}/a")
    assert len(policy._remembered) <= 4096


def test_2000_rules_and_many_agents_stay_fast():
    plain = "".join(f"Disallow: /section-{number}/\n" for number in range(1000))
    wild = "".join(f"Disallow: /*/item-{number}*.html$\n" for number in range(1000))
    blocks = "".join(f"User-agent: {agent}\nDisallow: /\n" for agent in obeyed()[1:])
    policy = host(f"User-agent: *\n{plain}{wild}{blocks}")
    urls = [f"{HOST}/img/{number}/picture.jpg" for number in range(5000)]
    start = time.process_time()
    assert {policy.decide(url).resolution.verdict for url in urls} == {Verdict.DENY}
    # the benchmark says how fast; this only says that nothing is quadratic
    assert (time.process_time() - start) / len(urls) < 0.0005
