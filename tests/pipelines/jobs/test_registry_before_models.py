"""What the registry names beforehand is asked for by nobody and seen by no model."""

import json
import sys
from pathlib import Path

import pytest
from making import sample, write_recipe, write_tar

sys.path.insert(0, str(Path(__file__).parents[1] / "fetch"))

from behaviours import PATH, png
from many_hosts import Reply, Server
from url_runs import ENGINE, QUICK, write_list

from filters.optout.entries import Draft, Kind
from pipelines.commands.main import invoke
from pipelines.fetch.addresses import Network
from pipelines.jobs.fetch import fetch
from pipelines.jobs.ingest import ingest
from pipelines.jobs.match import pin_registry
from pipelines.registry.store import create_registry
from pipelines.run.directory import create_run, open_run
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
    body = {
        "version": 1,
        "name": "urls",
        "input": {"kind": "url", "path": str(write_list(tmp_path / "list.csv", rows))},
        "limits": {"max_failures": 1.0},
        "scorers": ["size"],
        "fetch": QUICK,
        "rights": {"registry": registry},
    }
    (tmp_path / "r.yaml").write_text(json.dumps(body))
    run = create_run(str(tmp_path / "run"), load_recipe(tmp_path / "r.yaml"))
    pin_registry(run)
    with Server(hosts) as server:
        fetch(run, ENGINE, Network(server.names(), frozenset({"127.0.0.1"})))
    ingest(run, ENGINE)
    found = [row["failure"] for row in run.table("samples", 0).to_pylist()]
    assert found == [None, "REGISTRY_OPT_OUT", "REGISTRY_OPT_OUT", "CREATOR_NAMED"]
    assert {request.host for request in server.log} == {"one.test"}
