"""What documents say of a crawl is what the downloads recorded: agent, window, outcomes, domains by bytes."""

from collections import Counter
from datetime import timezone

from behaviours import PATH, png
from many_hosts import Reply, Server
from url_runs import ENGINE, url_run, write_list

from audit.documents.formats import FORMATS
from pipelines.commands.export import _agent
from pipelines.fetch.addresses import Network
from pipelines.jobs.balance import balance
from pipelines.jobs.decide import decide
from pipelines.jobs.dedup import dedup
from pipelines.jobs.fetch import fetch
from pipelines.jobs.finish import finish
from pipelines.jobs.ingest import ingest
from pipelines.jobs.score import score
from pipelines.run.facts import gather


def test_the_crawl_is_stated_from_the_downloads(tmp_path):
    hosts = {f"img{n}.good-{n // 2}.test": {PATH: Reply(body=png(number))} for number, n in enumerate(range(6))}
    hosts["no.test"] = {"/robots.txt": Reply(body=b"User-agent: GPTBot\nDisallow: /\n"), PATH: Reply(body=png(9))}
    rows = [{"url": f"http://{host}{PATH}", "caption": f"picture of {host}", "licence": "CC0"} for host in hosts]
    with Server(hosts) as server:
        run = url_run(tmp_path, write_list(tmp_path / "list.csv", rows))
        fetch(run, ENGINE, Network(server.names(), frozenset({"127.0.0.1"})))
        agents = {v for request in server.log for name, v in request.headers.items() if name.lower() == "user-agent"}
    ingest(run, ENGINE)
    score(run, ENGINE)
    dedup(run)
    decide(run)
    balance(run, ENGINE)
    manifest = finish(run)
    facts = gather(run, _agent(manifest["content"]))
    crawl = facts.crawl.value
    table = [row for part in run.tables("downloads") for row in part.to_pylist()]
    times = sorted(row["fetched_at"].astimezone(timezone.utc) for row in table if row["fetched_at"])
    assert (crawl.first, crawl.last) == tuple(t.isoformat(timespec="seconds") for t in (times[0], times[-1]))
    assert crawl.statuses == Counter(row["status"] for row in table)
    assert crawl.statuses["opt_out"] == 1
    assert crawl.rows == len(rows)
    assert agents == {crawl.agent}
    assert {d.name for d in facts.domains.value.found} == {"good-0.test", "good-1.test", "good-2.test"}
    robots = {c.name: c for c in facts.rights.value.channels}
    assert sum(c.deny for c in robots.values()) >= 1
    page = FORMATS["eu-summary"].make(facts, "")[0].data.decode()
    assert "Yes. This run downloaded" in page
    assert "ops@example.org" in page.replace("\\", "")
    assert "not asked for, or left, because of an opt-out" in page
