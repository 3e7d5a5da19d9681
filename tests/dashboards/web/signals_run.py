"""A run with signals of the real robots.txt channel, the evidence that they rest on, and a registry."""

import json
from datetime import datetime, timezone
from hashlib import sha256

import pyarrow as pa
from run_making import make_run

from filters.optout.base import Document, Evidence, Fetched
from filters.optout.robots_channel import RobotsChannel
from pipelines.jobs.match import pin
from pipelines.registry.store import create_registry
from pipelines.retraction.index import build_index
from pipelines.run.parts import PartWriter, part_name
from pipelines.run.schema import SIGNALS

EVIL = b"</li><script>alert(1)</script> \xe2\x80\xaeevil \x07 {{ 7*7 }}"
BODY = b"# " + EVIL + b"\nUser-agent: GPTBot\nDisallow: /art/\n\nUser-agent: *\nDisallow: /private/\nAllow: /\n"
DIGEST = sha256(BODY).hexdigest()
RECIPE = "name: rights\ninput: {kind: webdataset, path: nowhere}\n"


def robots_signals():
    """What the real channel reads from BODY for one picture."""
    url = "https://art.example/robots.txt"
    document = Document(url, BODY, Fetched.FOUND, datetime.now(timezone.utc), 200)
    return RobotsChannel().read(Evidence(url="https://art.example/art/1.png", robots=document))


def signal_rows(uids):
    rows = []
    for at, uid in enumerate(uids):
        for signal in robots_signals() if at % 2 == 0 else []:
            row = {name: getattr(signal, name, None) for name in SIGNALS.names}
            rows.append({**row, "uid": uid, "verdict": signal.verdict.value})
        row = {"uid": uid, "channel": "cc:licence", "source": "record", "raw": EVIL.decode(), "spec": "x"}
        rows.append({**row, "verdict": "unknown", "detail": EVIL.decode(), "unreadable": at == 1})
    return rows


def make_signals(root, rows, name="run"):
    """Write the run `name` of `rows` into `root`, and its registry beside it."""
    registry = root / "optouts.sqlite"
    with create_registry(str(registry)) as opened:
        before = opened.snapshot()
    run = make_run(root / name, rows, recipe=RECIPE, part_rows=70)
    text = run.store.read("recipe.yaml").decode()
    run.store.write("recipe.yaml", text.replace("registry: null", f"registry: {registry}").encode())
    write_signals(run, rows)
    run.store.write(f"policies/{DIGEST}", BODY)
    facts = {"kind": "robots", "url": "https://art.example/<b>robots.txt", "state": "found", "http_status": 200}
    latest = {**facts, "fetched_at": "2026-01-02T00:00:00+00:00", "sha256": DIGEST}
    run.store.write("policies/latest/00/0.json", json.dumps(latest).encode())
    pin(run, before)
    build_index(run)
    add_entry(registry, rows[0]["creator"])


def write_signals(run, rows):
    for part in run.parts("samples"):
        (run.store.fs).rm(run.store.path(part_name("signals", part)))
        uids = run.table("samples", part, ["uid"]).column("uid").to_pylist()
        table = pa.Table.from_pylist(signal_rows(uids), schema=SIGNALS)
        PartWriter(run.store, part_name("signals", part, ""), "made").add_table(part_name("signals", part), table)


def add_entry(registry, creator):
    from filters.optout.entries import Draft, Kind
    from pipelines.registry.store import open_registry

    with open_registry(str(registry)) as opened:
        entries = [(Kind.CREATOR, creator), (Kind.DOMAIN, "nobody.example")]
        opened.append([Draft(kind, value, requester="me") for kind, value in entries])
