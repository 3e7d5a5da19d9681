"""A retraction takes a picture out of what was downloaded too, and its receipt says from where."""

import json
import tarfile

from behaviours import PATH, png
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from many_hosts import Reply, Server
from url_runs import ENGINE, url_run, write_list

from filters.optout.entries import Draft, Kind
from pipelines.fetch.addresses import Network
from pipelines.jobs.apply import apply
from pipelines.jobs.balance import balance
from pipelines.jobs.decide import decide
from pipelines.jobs.dedup import dedup
from pipelines.jobs.fetch import fetch
from pipelines.jobs.finish import finish
from pipelines.jobs.ingest import ingest
from pipelines.jobs.retract import Keys
from pipelines.jobs.score import score
from pipelines.registry.store import create_registry, open_registry
from pipelines.run.manifest import verify

KEYS = Keys(Ed25519PrivateKey.generate())


def downloaded(run):
    with tarfile.open(fileobj=run.store.open("downloads/part-00000.tar")) as archive:
        return len(archive.getnames())


def test_a_picture_leaves_the_downloads_and_is_told_once(tmp_path):
    hosts = {f"good-{number}.test": {PATH: Reply(body=png(number + 50))} for number in range(4)}
    rows = [{"key": host, "url": f"http://{host}{PATH}", "caption": f"picture {host}"} for host in hosts]
    with Server(hosts) as server:
        run = url_run(tmp_path, write_list(tmp_path / "list.csv", rows), rows_per_part=40)
        fetch(run, ENGINE, Network(server.names(), frozenset({"127.0.0.1"})))
    ingest(run, ENGINE)
    score(run, ENGINE)
    dedup(run)
    decide(run)
    balance(run, ENGINE)
    finish(run)
    before, url = downloaded(run), str(tmp_path / "registry.sqlite")
    with create_registry(url) as registry:
        registry.append([Draft(Kind.URL, rows[1]["url"])])
    found = []
    for entry in (1, 2):
        apply(run, url, KEYS)
        receipt = json.loads(run.store.read(f"receipts/entry-{entry:08d}.json"))["receipt"]
        found += [sample["removed_from"] for sample in receipt["matched"]]
        with open_registry(url) as registry:
            registry.append([Draft(Kind.DOMAIN, "good-1.test")])
    assert {"downloads/part-00000.tar", "downloads/part-00000.parquet"} <= set(found[0])
    assert found[1:] == [[]]
    assert downloaded(run) == before - 1
    assert verify(run) == []
