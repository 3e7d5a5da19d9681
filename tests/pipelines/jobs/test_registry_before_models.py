"""What the registry names beforehand is asked for by nobody and seen by no model."""

import json
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from making import sample, write_recipe, write_tar

sys.path.insert(0, str(Path(__file__).parents[1] / "fetch"))

from behaviours import PATH, png
from many_hosts import Reply, Server, redirect
from url_runs import ENGINE, QUICK, write_list

from filters.optout.entries import Draft, Kind
from pipelines.commands.main import invoke
from pipelines.fetch.addresses import Network
from pipelines.jobs.apply import apply
from pipelines.jobs.balance import balance
from pipelines.jobs.decide import decide
from pipelines.jobs.dedup import dedup
from pipelines.jobs.fetch import fetch
from pipelines.jobs.finish import finish
from pipelines.jobs.ingest import ingest
from pipelines.jobs.match import match, pin_registry
from pipelines.jobs.retract import Keys
from pipelines.jobs.score import score
from pipelines.registry.store import create_registry, open_registry
from pipelines.run.directory import Run, create_run, open_run
from pipelines.run.recipe import load_recipe


@pytest.fixture
def registry(tmp_path) -> str:
    path = str(tmp_path / "registry.sqlite")
    with create_registry(path) as made:
        made.append([Draft(Kind.CREATOR, "Artist 1"), Draft(Kind.DOMAIN, "two.test")])
    return path


def test_a_picture_whose_maker_opted_out_has_no_score_embedding_or_thumbnail(tmp_path, registry):
    captions = {4: "a house in the style of Artist 1"}
    write_tar(tmp_path / "in" / "0.tar", *(sample(i, captions.get(i)) for i in range(6)))
    scorers = ["size", "hashes", "caption", "similarity"]
    recipe = write_recipe(tmp_path, tmp_path / "in", scorers=scorers, rights={"registry": registry})
    assert invoke(["run", str(recipe), "--out", str(tmp_path / "run"), "--runner", "plain"]) == 0
    run = open_run(str(tmp_path / "run"))
    reasons = [row["primary_reason"] for row in run.table("ledger", 0).to_pylist()]
    named = ["REGISTRY_OPT_OUT" if i in (1, 4) else None for i in range(6)]
    assert reasons == named
    scores = run.table("scores", 0).to_pylist()
    assert [row["skipped"] for row in scores] == named
    assert [row["similarity"] is None for row in scores] == [reason is not None for reason in named]
    shown = run.store.read("thumbnails/part-00000.tar")
    assert [row["uid"].encode() in shown for row in scores] == [reason is None for reason in named]


def test_a_row_that_the_registry_names_is_never_asked_for(tmp_path, registry):
    hosts = {f"{name}.test": {PATH: Reply(body=png(i))} for i, name in enumerate(("one", "two", "three", "four"), 1)}
    makers = {"three.test": "1, Ärtist"}
    rows = [
        {"url": f"http://{host}{PATH}", "caption": f"from {host}", "creator": makers.get(host, "somebody")}
        for host in hosts
    ]
    rows[3]["caption"] = "a thing by Artist 1"
    run, asked = ingested(tmp_path, rows, hosts, registry)
    found = [row["failure"] for row in run.table("samples", 0).to_pylist()]
    assert found == [None, "REGISTRY_OPT_OUT", "REGISTRY_OPT_OUT", "CREATOR_NAMED"]
    assert asked == {"one.test"}


def test_a_redirect_to_what_the_registry_names_is_not_followed(tmp_path, registry):
    hosts = {
        "short.test": {PATH: redirect(f"http://www.two.test{PATH}", 301)},
        "twice.test": {PATH: redirect("/next"), "/next": redirect(f"http://two.test{PATH}")},
        "shown.test": {PATH: Reply(body=png(1)), "/page": redirect("http://two.test/page")},
        "plain.test": {PATH: redirect("/next"), "/next": Reply(body=png(2))},
        "two.test": {PATH: Reply(body=png(3)), "/page": Reply(body=b"<p>")},
        "www.two.test": {PATH: Reply(body=png(4))},
    }
    rows = [
        {
            "url": f"http://{host}{PATH}",
            "caption": host,
            "page_url": "http://shown.test/page" if "shown" in host else "",
        }
        for host in list(hosts)[:4]
    ]
    run, asked = ingested(tmp_path, rows, hosts, registry, pages=True)
    found = [row["failure"] for row in run.table("samples", 0).to_pylist()]
    assert found == ["REGISTRY_OPT_OUT"] * 3 + [None]
    assert asked == {"short.test", "twice.test", "shown.test", "plain.test"}


def test_a_later_opt_out_finds_a_picture_by_where_its_redirect_ended(tmp_path, registry):
    hosts = {
        "short.test": {PATH: redirect(f"http://late.test{PATH}", 302)},
        "late.test": {PATH: Reply(body=png(1))},
        "plain.test": {PATH: Reply(body=png(2))},
    }
    rows = [{"url": f"http://{host}{PATH}", "caption": host} for host in ("short.test", "plain.test")]
    run, _ = ingested(tmp_path, rows, hosts, registry)
    score(run, ENGINE)
    match(run, ENGINE)
    dedup(run)
    decide(run)
    balance(run, ENGINE)
    finish(run)
    with open_registry(registry) as opened:
        opened.append([Draft(Kind.URL_PREFIX, "https://late.test/"), Draft(Kind.DOMAIN, "else.test")])
    apply(run, None, Keys(Ed25519PrivateKey.generate()))
    run = open_run(run.store.url)
    assert [row["primary_reason"] for row in run.table("ledger", 0).to_pylist()] == ["REGISTRY_OPT_OUT", None]
    assert [row["detail"] for row in run.table("matches", 0).to_pylist()] == ["final_url: late.test"]


def ingested(folder, rows, hosts, registry, **settings) -> tuple[Run, set[str]]:
    """Return a run over a list whose rows were asked for, and the hosts that were asked anything."""
    body = {
        "version": 1,
        "name": "urls",
        "input": {"kind": "url", "path": str(write_list(folder / "list.csv", rows))},
        "limits": {"max_failures": 1.0},
        "scorers": ["size", "hashes"],
        "fetch": {**QUICK, **settings},
        "rights": {"registry": registry},
    }
    (folder / "r.yaml").write_text(json.dumps(body))
    run = create_run(str(folder / "run"), load_recipe(folder / "r.yaml"))
    pin_registry(run)
    with Server(hosts) as server:
        fetch(run, ENGINE, Network(server.names(), frozenset({"127.0.0.1"})))
    ingest(run, ENGINE)
    return run, {request.host for request in server.log}
