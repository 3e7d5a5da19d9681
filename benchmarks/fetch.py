"""Rate of the URL download against a server on this machine, and what a slow host costs the others.

    python -m benchmarks.fetch [--full]

Prints one JSON line a figure. The server runs in a process of its own and shares the machine's cores with the
fetcher, so the rate is a floor; the ratios have both sides in turns.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import aiohttp
from aiohttp import web

from pipelines.engine import PLAIN, Engine
from pipelines.fetch.addresses import Network, VettingResolver
from pipelines.jobs.fetch import fetch
from pipelines.run.directory import create_run
from pipelines.run.recipe import load_recipe

SLOW = "slow.test"
_SLOW_SECONDS = 0.25


def serve(pipe: Connection, size: int) -> None:
    """Serve any path of any host; `slow.test` takes its time. Sends its port, later its log of pictures."""
    body = b"\x89PNG\r\n\x1a\n" + bytes(size)
    log: list[tuple[str, float]] = []

    async def picture(request: web.Request) -> web.Response:
        host = request.host.partition(":")[0]
        if host == SLOW:
            await asyncio.sleep(_SLOW_SECONDS)
        log.append((host, time.monotonic()))
        return web.Response(body=body, content_type="image/png")

    async def main() -> None:
        app = web.Application()
        app.router.add_get("/p/{number}", picture)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        pipe.send(runner.addresses[0][1])
        while await asyncio.to_thread(pipe.recv):
            pipe.send(list(log))
            log.clear()
        await runner.cleanup()

    asyncio.run(main())


class Bench:
    """A server, and lists over its hosts."""

    def __init__(self, folder: Path, size: int, hosts: int) -> None:
        self.folder = folder
        self.pipe, other = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("spawn").Process(target=serve, args=(other, size), daemon=True)
        self.process.start()
        self.port: int = self.pipe.recv()
        self.names = [f"h{number}.test" for number in range(hosts)]
        places = dict.fromkeys((*self.names, SLOW), ("127.0.0.1", self.port))
        self.network = Network(places, frozenset({"127.0.0.1"}))
        self._runs = 0

    def log(self) -> list[tuple[str, float]]:
        """Return the pictures that were asked for since the last call."""
        self.pipe.send(True)
        found: list[tuple[str, float]] = self.pipe.recv()
        return found

    def urls(self, count: int, slow: int) -> list[str]:
        """Return a list of `count` pictures of all hosts in turn, and `slow` of the slow one, spread evenly."""
        urls = [f"http://{self.names[n % len(self.names)]}/p/{n}" for n in range(count)]
        for n in range(slow):
            urls.insert(n * len(urls) // slow, f"http://{SLOW}/p/{n}")
        return urls

    def run(self, urls: list[str], rows_per_part: int) -> float:
        """Download a list by the job; return the seconds."""
        self._runs += 1
        path = self.folder / f"list-{self._runs}.csv"
        with path.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerows([("url", "caption"), *((url, "a picture") for url in urls)])
        body = {
            "version": 1,
            "name": "bench",
            "input": {"kind": "url", "path": str(path)},
            "fetch": {
                "contact": "benchmark, nobody@example.org",
                "rows_per_part": rows_per_part,
                "delay_s": 0,
                "per_host": 4,
                "connections": 64,
            },
        }
        recipe = self.folder / "recipe.yaml"
        recipe.write_text(json.dumps(body))
        run = create_run(str(self.folder / f"run-{self._runs}"), load_recipe(recipe))
        start = time.perf_counter()
        fetch(run, Engine(PLAIN), self.network)
        seconds = time.perf_counter() - start
        rows = [row for table in run.tables("downloads", ["reason"]) for row in table.column("reason").to_pylist()]
        if rows != [None] * len(urls):
            raise SystemExit(f"not every picture came: {[row for row in rows if row][:5]}")
        return seconds

    def bare(self, urls: list[str]) -> float:
        """Download a list by aiohttp alone, 64 at once, into memory; return the seconds."""

        async def one(session: aiohttp.ClientSession, gate: asyncio.Semaphore, url: str) -> None:
            async with gate, session.get(url) as answer:
                await answer.read()

        async def main() -> None:
            connector = aiohttp.TCPConnector(resolver=VettingResolver(self.network), limit=0)
            async with aiohttp.ClientSession(connector=connector) as session:
                gate = asyncio.Semaphore(64)
                await asyncio.gather(*(one(session, gate, url) for url in urls))

        start = time.perf_counter()
        asyncio.run(main())
        return time.perf_counter() - start


def spread(log: list[tuple[str, float]]) -> float:
    """Return the seconds from the first to the last picture of the hosts that are not slow."""
    times = [at for host, at in log if host != SLOW]
    return max(times) - min(times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="more pictures and rounds")
    options = parser.parse_args()
    count, rounds, slow = (8000, 5, 200) if options.full else (2000, 3, 60)
    size, hosts, rows = 30_000, 40, 500
    command = " ".join(["python -m benchmarks.fetch", *sys.argv[1:]])

    def emit(name: str, value: float, unit: str, **more: object) -> None:
        print(
            json.dumps({"name": name, "value": round(value, 3), "unit": unit, **more, "command": command}), flush=True
        )

    with tempfile.TemporaryDirectory(prefix="assay-fetch-") as folder:
        bench = Bench(Path(folder), size, hosts)
        seconds, bare, alone, mixed = [], [], [], []
        for _ in range(rounds):
            plain = bench.urls(count, 0)
            bare.append(bench.bare(plain))
            bench.log()
            seconds.append(bench.run(plain, rows))
            alone.append(spread(bench.log()))
            bench.run(bench.urls(count, slow), rows)
            mixed.append(spread(bench.log()))
        bench.pipe.send(False)
        bench.process.join(10)
    shape = {"pictures": count, "bytes": size, "hosts": hosts}
    emit("fetch_pictures_per_second", count / statistics.median(seconds), "pictures/s", **shape)
    ratios = [b / s for b, s in zip(bare, seconds, strict=True)]
    to = "aiohttp alone, 64 at once, into memory, without any check"
    emit("fetch_over_bare_aiohttp", statistics.median(ratios), "ratio", to=to, **shape)
    ratios = [with_slow / without for with_slow, without in zip(mixed, alone, strict=True)]
    emit(
        "fetch_others_with_slow_host_over_without",
        statistics.median(ratios),
        "ratio",
        to="time of the fast hosts' pictures without a slow host in the list",
        target="at most 1.25",
        lowest=round(min(ratios), 3),
        highest=round(max(ratios), 3),
        slow_rows=slow,
        slow_seconds_a_row=_SLOW_SECONDS,
        **shape,
    )


if __name__ == "__main__":
    main()
