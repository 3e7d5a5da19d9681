"""A URL list through the whole job: recipe, command line, ledger; and known harmful pictures."""

import hashlib
import json

import pytest
from behaviours import CASES, PATH, PICTURE, png
from many_hosts import Reply, Server
from url_runs import ENGINE, url_run, write_list

from filters.errors import BadInput
from pipelines.commands.main import invoke
from pipelines.fetch.addresses import Network
from pipelines.jobs.balance import balance
from pipelines.jobs.decide import decide
from pipelines.jobs.dedup import dedup
from pipelines.jobs.fetch import fetch
from pipelines.jobs.finish import finish
from pipelines.jobs.ingest import ingest
from pipelines.jobs.score import score
from pipelines.run.manifest import verify
from pipelines.run.recipe import load_recipe, parse_recipe

RECIPE = """\
version: 1
name: urls
input: {kind: url, path: list.csv}
fetch: {contact: "Example Lab, data@example.org"}
"""


def network(server: Server) -> Network:
    hosts = server.names()
    hosts.update({"closed-port.test": ("127.0.0.1", 9), "inside.test": ("10.0.0.7", 80)})
    hosts.pop("no-such-name.test", None)
    return Network(hosts, frozenset({"127.0.0.1"}))


def test_nothing_of_a_list_is_lost_on_the_way_to_the_ledger(tmp_path):
    quick = [case for case in CASES if case.attempts == 1 and "silent" not in case.name and "slow" not in case.name]
    hosts = {case.host: case.routes for case in quick}
    for number in range(4):
        hosts[f"good-{number}.test"] = {PATH: Reply(body=png(number + 50))}
    cases = [(case.name, case.address) for case in quick] + [(n, f"http://{n}{PATH}") for n in hosts if "good-" in n]
    rows = [{"key": name, "url": url, "caption": f"picture {name}", "licence": "CC0"} for name, url in cases]
    with Server(hosts) as server:
        run = url_run(tmp_path, write_list(tmp_path / "list.csv", rows), rows_per_part=40)
        fetch(run, ENGINE, network(server))
    ingest(run, ENGINE)
    score(run, ENGINE)
    dedup(run)
    decide(run)
    balance(run, ENGINE)
    manifest = finish(run)
    counts = manifest["content"]["counts"]
    assert counts["samples"] == len(rows)
    assert counts["kept"] + sum(counts["dropped"].values()) == len(rows)
    ledger = [row for table in run.tables("ledger") for row in table.to_pylist()]
    keys = [row["key"] for table in run.tables("samples") for row in table.to_pylist()]
    reasons = dict(zip(keys, (row["primary_reason"] for row in ledger), strict=True))
    for case in quick:
        assert reasons[case.name] == case.reason, case.name
    assert verify(run) == []
    assert [row for row in ledger if row["decision"] == "kept"]


def test_a_list_of_opt_outs_is_no_failed_run(tmp_path):
    hosts = {f"h{n}.test": {"/robots.txt": Reply(body=b"User-agent: *\nDisallow: /")} for n in range(9)}
    rows = [{"url": f"http://{host}{PATH}", "caption": host} for host in hosts]
    with Server(hosts) as server:
        run = url_run(tmp_path, write_list(tmp_path / "list.csv", rows))
        recipe = run.recipe.model_copy(update={"limits": run.recipe.limits.model_copy(update={"max_failures": 0.1})})
        run = type(run)(run.store, recipe)
        fetch(run, ENGINE, network(server))
    ingest(run, ENGINE)
    assert run.marker("samples", 0).facts["failures"] == {"OPTED_OUT": 9}


def test_known_harmful_pictures_leave_only_a_count(tmp_path):
    bad = png(99)
    (tmp_path / "bad.sha256").write_text(hashlib.sha256(bad).hexdigest())
    hosts = {"bad.test": {PATH: Reply(body=bad)}, "good.test": {PATH: Reply(body=PICTURE)}}
    rows = [{"url": f"http://{host}{PATH}", "caption": f"of {host}", "key": host} for host in hosts]
    with Server(hosts) as server:
        run = url_run(tmp_path, write_list(tmp_path / "list.csv", rows))
        rights = run.recipe.rights.model_copy(update={"harmful": [str(tmp_path / "bad.sha256")]})
        run = type(run)(run.store, run.recipe.model_copy(update={"rights": rights}))
        fetch(run, ENGINE, network(server))
    row = run.table("downloads", 0).to_pylist()[0]
    assert (row["status"], row["reason"]) == ("harmful", "KNOWN_HARMFUL")
    assert "bad.test" not in json.dumps(row, default=str)
    for path in (tmp_path / "run" / "downloads").iterdir():
        assert bad not in path.read_bytes()
        assert b"bad.test" not in path.read_bytes()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (RECIPE.replace("fetch:", "rules: {}\n#"), "belong together"),
        (RECIPE.replace("kind: url", "kind: folder"), "belong together"),
        (RECIPE.replace("Example Lab, data@example.org", "nobody"), "fetch.contact: say who runs the job"),
        (RECIPE.replace("Example Lab, data@example.org", "just a name"), "fetch.contact: say who runs the job"),
        (
            RECIPE.replace("Example Lab, data@example.org", "x@y.z\\r\\nX-Evil: 1"),
            "fetch.contact: say who runs the job",
        ),
        (RECIPE.replace('org"}', 'org", ports: [22]}'), "22 is the port of another service"),
        (
            RECIPE.replace('org"}', 'org", policy_hours: 48}'),
            "fetch.policy_hours: input should be less than or equal to 24",
        ),
        (RECIPE.replace('org"}', 'org", allow: [127.0.0.1]}'), "fetch.allow: unknown key"),
    ],
)
def test_recipes_are_checked(text, says):
    with pytest.raises(BadInput) as error:
        parse_recipe(text, "r.yaml", [])
    assert says in str(error.value)


def test_a_good_recipe_reads_back(tmp_path):
    recipe = parse_recipe(RECIPE, "r.yaml", ["fetch.per_host=4"])
    assert parse_recipe(recipe.dump(), "stored", []) == recipe


def test_the_command_line_never_reaches_a_local_address(tmp_path, capfd):
    """Commands know no exception for 127.0.0.1: a list of local addresses is refused row by row."""
    with Server({"x.test": {PATH: Reply(body=PICTURE)}}) as server:
        urls = [f"http://127.0.0.1:{server.port}{PATH}", f"http://localhost:{server.port}{PATH}", "http://127.0.0.1/"]
        write_list(tmp_path / "list.csv", [{"url": url, "caption": "x"} for url in urls])
        text = RECIPE.replace('org"}', f'org", ports: [80, {server.port}], retries: 0}}\nlimits: {{max_failures: 1}}')
        (tmp_path / "r.yaml").write_text(text)
        out = tmp_path / "run"
        assert invoke(["ingest", str(tmp_path / "r.yaml"), "--out", str(out), "--runner", "plain", "--json"]) == 0
        assert server.log == []
    assert json.loads(capfd.readouterr().out) == {"samples": 3, "parts": 1}
    reasons = [row["reason"] for row in _rows(out)]
    assert reasons == ["URL_REFUSED"] * 3
    # a run is resumed and retried by its own name
    assert invoke(["ingest", str(out), "--retry", "network", "--runner", "plain", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {"samples": 3, "parts": 1, "retried": 0}


def test_the_command_line_says_what_is_missing(tmp_path, capfd):
    (tmp_path / "r.yaml").write_text(RECIPE)
    assert invoke(["ingest", str(tmp_path / "r.yaml")]) == 2
    assert "--out" in capfd.readouterr().err
    assert invoke(["ingest", str(tmp_path / "r.yaml"), "--out", str(tmp_path / "run")]) == 2
    assert "no such input" in capfd.readouterr().err
    assert invoke(["ingest", str(tmp_path / "nowhere")]) == 2
    assert "no such run" in capfd.readouterr().err


def _rows(out):
    from pipelines.run.directory import open_run

    return [row for table in open_run(str(out)).tables("downloads") for row in table.to_pylist()]


def test_a_relative_list_is_found_beside_its_recipe(tmp_path):
    (tmp_path / "r.yaml").write_text(RECIPE)
    assert load_recipe(tmp_path / "r.yaml").input.path == str(tmp_path / "list.csv")
