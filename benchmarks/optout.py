"""Measure opt-out decisions: `python -m benchmarks.optout`; one JSON line a figure, on one core.

Hosts are made with a fixed seed after common robots.txt files: none, a few rules, a block for each AI crawler,
Cloudflare's managed text, a shop's list of wildcards, tdmrep.json, ai.txt, 2,000 rules. Each URL is new to its host.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable

from filters.optout.agents import TRAINING_AGENTS
from filters.optout.base import Document, Fetched
from filters.optout.host_policy import HostChannels, HostPolicy

TARGET = 100_000
_FOLDERS = (
    "art",
    "img",
    "media",
    "uploads",
    "wp-content/uploads",
    "static/images",
    "photos",
    "cdn",
    "product",
    "blog",
)

Shape = tuple[str, float, Callable[[random.Random], HostPolicy]]


def _documents(robots: str | None, tdmrep: object = None, ai_txt: str | None = None) -> HostPolicy:
    def document(name: str, text: str | None) -> Document:
        url = f"https://host.example/{name}"
        return Document(url, text.encode()) if text is not None else Document(url, state=Fetched.ABSENT)

    return HostChannels().compile(
        robots=document("robots.txt", robots),
        tdmrep=document(".well-known/tdmrep.json", None if tdmrep is None else json.dumps(tdmrep)),
        ai_txt=document("ai.txt", ai_txt),
    )


def _few(rng: random.Random) -> str:
    hidden = "".join(f"Disallow: /{name}/\n" for name in rng.sample(["admin", "cart", "tmp", "search", "login"], 3))
    return f"User-agent: *\n{hidden}Allow: /admin/ajax.php\nSitemap: https://host.example/map.xml\n"


def _crawlers(rng: random.Random) -> str:
    names = rng.sample([agent.token for agent in TRAINING_AGENTS], 15)
    return _few(rng) + "".join(f"\nUser-agent: {name}\nDisallow: /\n" for name in names)


def _managed(rng: random.Random) -> str:
    return "User-agent: *\nContent-Signal: search=yes, ai-train=no\nAllow: /\n\n" + _crawlers(rng)


def _shop(rng: random.Random) -> str:
    lines = [f"Disallow: /*?{rng.choice('abcdefgh')}{number}=*&sort=\n" for number in range(30)]
    return "User-agent: *\n" + "".join(lines) + "Disallow: /checkout/\nDisallow: /*.pdf$\n"


def _large(rng: random.Random) -> str:
    plain = [f"Disallow: /section-{rng.randrange(10**6)}/\n" for _ in range(1000)]
    wild = [f"Disallow: /*/item-{rng.randrange(10**6)}*.html$\n" for _ in range(1000)]
    return "User-agent: *\n" + "".join(plain + wild)


def _usage(rng: random.Random) -> str:
    return "User-agent: *\nAllow: /\nContent-Usage: train-ai=n\nContent-Usage: /open/ train-ai=y\n"


TDMREP = [{"location": "/open/*.jpg", "tdm-reservation": 0}, {"location": "/", "tdm-reservation": 1}]

#: Kind of host, share of the URLs, how one is made.
MIX: tuple[Shape, ...] = (
    ("no_robots", 0.25, lambda rng: _documents(None)),
    ("few_rules", 0.30, lambda rng: _documents(_few(rng))),
    ("ai_crawlers_shut_out", 0.15, lambda rng: _documents(_crawlers(rng))),
    ("content_signal", 0.10, lambda rng: _documents(_managed(rng))),
    ("shop_wildcards", 0.10, lambda rng: _documents(_shop(rng))),
    ("content_usage", 0.03, lambda rng: _documents(_usage(rng))),
    ("tdmrep", 0.03, lambda rng: _documents(_few(rng), TDMREP)),
    ("ai_txt", 0.02, lambda rng: _documents(_few(rng), None, "User-Agent: *\nDisallow: *.jpg\nAllow: *.png\n")),
    ("2000_rules", 0.02, lambda rng: _documents(_large(rng))),
)


def urls(rng: random.Random, count: int) -> list[str]:
    """Return `count` picture URLs as lists hold them: a folder or two, a name, at times a query or an escape."""
    found = []
    for number in range(count):
        path = f"{rng.choice(_FOLDERS)}/{rng.randrange(2010, 2027)}/{rng.randrange(1, 13):02d}/{number:x}-work"
        tail = rng.choices(("", f"?w={rng.randrange(100, 2000)}", "%20copy"), (0.85, 0.12, 0.03))[0]
        found.append(f"https://host.example/{path}{tail}{rng.choice(('.jpg', '.png', '.webp'))}")
    return found


def rate(pairs: list[tuple[HostPolicy, str]], rounds: int) -> tuple[float, float, float]:
    """Return the median, lowest and highest number of decisions a CPU second over `rounds`."""
    found = []
    for _ in range(rounds):
        start = time.process_time()
        for policy, url in pairs:
            policy.decide(url)
        found.append(len(pairs) / (time.process_time() - start))
    return statistics.median(found), min(found), max(found)


def emit(name: str, pairs: list[tuple[HostPolicy, str]], rounds: int, **more: object) -> None:
    """Measure and print one figure."""
    for policy, url in pairs[: len(pairs) // 10]:  # warm
        policy.decide(url)
    median, lowest, highest = (round(value) for value in rate(pairs, rounds))
    command = " ".join(["python -m benchmarks.optout", *sys.argv[1:]])
    line = {"name": name, "value": median, "unit": "decisions/s/core", "lowest": lowest, "highest": highest}
    print(json.dumps({**line, "decisions": len(pairs), **more, "command": command}), flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=100_000, help="URLs of the mix")
    parser.add_argument("--hosts", type=int, default=300, help="hosts of the mix")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rng = random.Random(4)
    kinds = rng.choices(MIX, [share for _, share, _ in MIX], k=options.hosts)
    start = time.process_time()
    hosts = [make(rng) for _, _, make in kinds]
    seconds = time.process_time() - start
    pairs = [(rng.choice(hosts), url) for url in urls(rng, options.decisions)]
    emit("optout_decisions", pairs, options.rounds, target=TARGET, hosts=len(hosts))
    command = " ".join(["python -m benchmarks.optout", *sys.argv[1:]])
    compiling = {"name": "optout_compile", "value": round(1e3 * seconds / len(hosts), 3), "unit": "ms/host"}
    print(json.dumps({**compiling, "hosts": len(hosts), "command": command}), flush=True)
    for name, _, make in MIX:
        policy = make(rng)
        emit(f"optout_decisions_{name}", [(policy, url) for url in urls(rng, options.decisions // 10)], options.rounds)


if __name__ == "__main__":
    main()
