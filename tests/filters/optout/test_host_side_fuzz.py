"""Mutated robots.txt, headers, HTML, tdmrep.json, RSL and ai.txt: never a crash, a hang or an unexplained `allow`.

Every seed refuses training. Where a mutation of it yields `allow`, the mutated text must still spell out a permission.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator

import pytest

from filters.optout.ai_txt import AiTxtChannel
from filters.optout.aipref import ContentUsageChannel
from filters.optout.base import Document, Evidence, Verdict
from filters.optout.content_signal import ContentSignalChannel
from filters.optout.host_policy import HostChannels
from filters.optout.meta_robots import MetaRobotsChannel
from filters.optout.resolution import resolve
from filters.optout.robots_channel import RobotsChannel
from filters.optout.rsl import RslChannel
from filters.optout.tdmrep import TdmRepChannel
from filters.optout.x_robots import DirectivePolicy, XRobotsChannel

URL = "https://host.example/art/p%C3%A4ge/a.jpg?w=1"
POLICY = DirectivePolicy(noindex=True)
CHANNELS = (
    RobotsChannel(),
    ContentUsageChannel(),
    ContentSignalChannel(),
    TdmRepChannel(),
    AiTxtChannel(),
    RslChannel(),
    XRobotsChannel(POLICY),
    MetaRobotsChannel(POLICY),
)

ROBOTS = (
    b"User-agent: *\nDisallow: /\n",
    b"User-agent: GPTBot\nUser-agent: CCBot/2.0\nDisallow: /art/*.jpg$\nAllow: /art/free\n\nUser-agent: *\nAllow: /\n",
    b"User-agent: *\nContent-Usage: train-ai=n, search=y\nContent-Usage: /art/ train-genai=n\nAllow: /\n",
    b"User-Agent: *\r\nContent-Signal: search=yes, ai-train=no, ai-input=no\r\nAllow: /\r\n",
    b"License: https://host.example/license.xml\nUser-agent: assay\nDisallow: /art\nCrawl-delay: 2\n",
)
HEADERS = (
    ("X-Robots-Tag", b"noai, noimageai"),
    ("x-robots-tag", b"googlebot: noindex, unavailable_after: Friday, 25-Jun-10 15:00:00 UTC, noai"),
    ("X-Robots-Tag", b"GPTBot: noai"),
    ("Content-Usage", b"train-ai=n, search=y"),
    ("Content-Usage", b"train-genai=n;exceptions=cc-cr, train-ai=(1 2);a=@1659578233"),
    ("TDM-Reservation", b"1"),
    ("Content-Signal", b"ai-train=no"),
    ("Link", b'<https://host.example/l.xml>; rel="license"; type="application/rsl+xml"'),
)
PAGES = (
    b'<html><head><meta name="robots" content="noai, noimageai"></head><body><img src=a.jpg></body></html>',
    b"<!-- <meta name=tdm-reservation content=0> --><META NAME=tdm-reservation CONTENT=1>"
    b'<meta name="tdm-policy" content="https://host.example/p">',
    b'<script>"<meta name=tdm-reservation content=0>"</script><meta name="GPTBot" content="noai">',
    b'<link rel="license" type="application/rsl+xml" href="/l.xml"><script type="application/rsl+xml">'
    b'<rsl xmlns="https://rslstandard.org/rsl"><content url=""><license><prohibits type="usage">ai-all</prohibits>'
    b"</license></content></rsl></script>",
)
TDMREP = (
    b'[{"location": "/art/*.jpg", "tdm-reservation": 1, "tdm-policy": "https://host.example/p.json"}]',
    b'[{"location": "/x", "tdm-reservation": 1}, {"location": "/", "tdm-reservation": "1"}]',
)
RSL = (
    b'<rsl xmlns="https://rslstandard.org/rsl"><content url="/"><license><prohibits type="usage">ai-train</prohibits>'
    b'</license></content><content url="https://host.example/art/*"><license><permits type="usage">search</permits>'
    b"</license></content></rsl>",
    b'<rsl xmlns="https://rslstandard.org/rsl"><content url="/" server="https://pay.example"><license>'
    b'<permits type="usage">ai-all</permits><payment type="training"><amount currency="USD">1</amount></payment>'
    b"</license></content></rsl>",
)
AI_TXT = (b"User-Agent: *\nDisallow: *.jpg\nAllow: *.png\n", b"User-Agent: *\nDisallow: /\nDisallow: *\n")

TOKENS = (
    b"\0", b"\n", b"\r", b"\xff\xfe", b"\xef\xbb\xbf", b"%", b"%2", b"*", b"****", b"$", b"#", b":", b",", b";", b"=",
    b'"', b"'", b"<", b"<!--", b"-->", b"<script>", b"<!DOCTYPE x [<!ENTITY a 'b'>]>", b"&a;", b"&#0;",
    b"\xed\xa0\x80",
    b"User-agent:", b"user-agent: *\n", b"Disallow", b"Allow: /\n", b"9" * 400, b"[" * 300, b"{" * 300, b"(" * 300,
    b"train-ai", b"=y", b"=n", b"noai", b"unavailable_after:", b"@99999999999999", b"\\ud800", b"true", b"1e999",
    b"NaN", b"permits", b"prohibits", b"free", b"//", b"/../", b"/%2e%2e/", b"\xc2\x85", b"\xe2\x80\xa8", b"\x1c",
    b" ",
)  # fmt: skip

PERMISSIONS = {
    "content-usage": re.compile(rb"train-ai\s*=\s*y"),
    "content-signal": re.compile(rb"ai-train[ \t]*=[ \t]*yes", re.IGNORECASE),
    "tdmrep": re.compile(
        rb"tdm-reservation[\s\"']*:\s*-?0|^[\s\"',0]*0[\s\"',0]*$|content\s*=[\s\"',]*0", re.I | re.S
    ),
    "rsl": re.compile(rb"permits.*(?:all|ai-train)", re.IGNORECASE | re.DOTALL),
}


def mutated(rng: random.Random, seed: bytes, others: tuple[bytes, ...]) -> bytes:
    data = bytearray(seed)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at, size = rng.randrange(len(data) + 1), rng.choice((1, 1, 2, 4, 16))
        kind = rng.randrange(7)
        if kind == 0:
            data[at : at + size] = rng.randbytes(size)
        elif kind == 1:
            del data[at : at + size]
        elif kind == 2:
            data[at:at] = data[at : at + 64]
        elif kind == 3:
            data[at:at] = rng.choice(TOKENS)
        elif kind == 4:
            data[at : at + size] = rng.choice(TOKENS)
        elif kind == 5:
            other = rng.choice(others)
            data[at:at] = other[rng.randrange(len(other)) :]
        else:
            data[:] = data[:at] if rng.random() < 0.3 else data.swapcase()
    return bytes(data)


def inputs(rng: random.Random, count: int) -> Iterator[tuple[bytes, Evidence]]:
    bodies = {"robots": ROBOTS, "page": PAGES, "tdmrep": TDMREP, "rsl": RSL, "ai_txt": AI_TXT}
    fields = tuple(value for _, value in HEADERS)
    for _ in range(count):
        kind = rng.choice(("robots", "page", "tdmrep", "rsl", "ai_txt", "header", "header"))
        if kind == "header":
            name, seed = rng.choice(HEADERS)
            data = mutated(rng, seed, fields)
            yield data, Evidence(url=URL, headers=((name, data.decode("latin-1")),))
            continue
        data = mutated(rng, rng.choice(bodies[kind]), bodies[kind])
        document = Document(f"https://host.example/{kind}", data)
        given = (document,) if kind == "rsl" else document
        yield data, Evidence(url=URL, **{kind: given})


def hold(count: int, seed: int) -> None:
    rng = random.Random(seed)
    denied = slowest = 0
    for data, evidence in inputs(rng, count):
        start = time.perf_counter()
        signals = [signal for channel in CHANNELS for signal in channel.read(evidence)]
        decision = HostChannels().compile(evidence.robots, evidence.tdmrep, evidence.ai_txt, evidence.rsl).decide(URL)
        slowest = max(slowest, time.perf_counter() - start)
        resolution = resolve(signals)
        denied += resolution.verdict is Verdict.DENY
        for signal in (*signals, *decision.signals):
            assert signal.raw.isprintable() or signal.raw.encode(), signal
            if signal.verdict is Verdict.ALLOW:
                assert PERMISSIONS[signal.channel].search(data), (signal, data)
    assert slowest < 5
    assert denied > count / 4  # the seeds' refusals mostly survive, so the run means something


def test_no_mutation_of_2000_crashes_hangs_or_permits():
    hold(2_000, seed=1)


@pytest.mark.hostile
@pytest.mark.timeout(1800)
def test_no_mutation_of_100000_crashes_hangs_or_permits():
    hold(100_000, seed=2)
