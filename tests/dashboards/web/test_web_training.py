"""Training and Generated, on a model that was really trained and pictures that were really made and signed."""

import json
import re
import shutil
from urllib.parse import quote

import pytest
from generated_run import EVIL, make_generated
from run_making import make_run as plain_run
from run_making import sample_rows
from web_clients import client_for

pytest.importorskip("torch", reason="the train extra is not installed")
pytest.importorskip("diffusers", reason="the train extra is not installed")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with a run, a model trained on it, two marked pictures, keys beside; do not change it."""
    return make_generated(tmp_path_factory.mktemp("generation"))


@pytest.fixture
def client(root, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("ASSAY_TRUST", str(root.parent / "keys" / "root.pem"))
    with client_for(root, tmp_path_factory.getbasetemp() / "web-training-cache") as client:
        yield client


def test_curves_hold_the_values_of_metrics_csv(client, root):
    from training.recorder import read_metrics

    rows = read_metrics(root / "model" / "metrics.csv")
    body = client.get("/api/runs/run/training/curves", params={"model": "model"}).json()
    stage = body["stage"]
    wanted = {}
    for named, step, metric, value in rows:
        if named == stage:
            wanted.setdefault(metric, []).append((float(step), float(value)))
    found = {curve["metric"]: curve for curve in body["curves"]}
    assert set(found) == {metric for metric in wanted if "/level" not in metric}
    for metric, curve in found.items():
        assert curve["count"] == len(wanted[metric])
        assert curve["points"] == [pytest.approx(point) for point in wanted[metric]]


def test_a_long_hostile_metrics_file_is_thinned_out_and_escaped(client, root, tmp_path):
    folder = root / "long"
    folder.mkdir()
    lines = [f"denoiser,{step},{EVIL},{step % 7}" for step in range(20_000)]
    odd = ["denoiser,7,bad,nan", "denoiser,x,bad,1", "denoiser,8", "denoiser,9,bad,inf", 'denoiser,9,"bad']
    (folder / "metrics.csv").write_text("\n".join(["stage,step,metric,value", *lines, *odd]))
    try:
        body = client.get("/api/runs/run/training/curves", params={"model": "long"}).json()
        (curve,) = body["curves"]
        assert 100 < len(curve["points"]) <= 241
        assert curve["count"] >= 19_990
        assert curve["last"] == 19_999 % 7
        page = client.get("/runs/run/training?model=long").text
        assert "<script>alert" not in page
        assert "\u202e" not in page
        assert "every 5s" in page  # it grew a moment ago
    finally:
        shutil.rmtree(folder)


def test_a_metrics_file_that_is_no_table_is_a_sentence(client, root):
    folder = root / "odd"
    folder.mkdir()
    (folder / "metrics.csv").write_bytes(b"stage,step,metric,value\n" + b"x" * (5 << 20) + bytes(range(256)))
    try:
        answer = client.get("/runs/run/training?model=odd")
        assert answer.status_code == 200
        assert "cannot be read as a table" in answer.text or "no metrics.csv with a row" in answer.text
    finally:
        shutil.rmtree(folder)


def test_exposure_is_that_of_the_checkpoints_own_log(client, root):
    from training.data.exposure import exposures

    counts = exposures(root / "model" / "step-00000002")
    seen = client.get("/api/runs/run/training/curves", params={"model": "model"}).json()["seen"]
    assert seen["total"] == sum(counts.values())
    assert seen["samples"] - seen["never"] == len(counts)
    assert seen["most"] == max(counts.values())
    assert sum(number for _, number in seen["times"]) == seen["samples"]


def test_a_training_is_told_from_one_of_another_dataset(client, root):
    (mine,) = client.get("/api/runs/run/training").json()
    assert mine["of_run"] is True
    on_record = {path.stem for path in (root / "run" / "trainings").glob("*.json")}
    assert {one["checkpoint"] for one in mine["checkpoints"] if one["recorded"]} == on_record
    assert on_record
    (other,) = client.get("/api/runs/plain/training").json()
    assert other["of_run"] is False
    assert "(of another dataset)" in client.get("/runs/plain/training").text


def test_the_evaluation_is_shown_with_its_pairs_flagged_ones_first(client):
    body = client.get("/api/runs/run/training/evaluation").json()
    assert [pair["flagged"] for pair in body["pairs"]] == [True, False]
    assert body["pairs"][0]["by_hash"]["uid"] == body["found"]["memorisation"]["pairs"][1]["hash_uid"]
    assert body["pairs"][1]["by_embedding"] is None
    named = {row["name"]: row for row in body["figures"]}
    assert (named["Memorisation: pictures flagged"]["low"], named["Loss on unseen samples"]["value"]) == (0.2, None)
    page = client.get("/runs/run/training").text
    assert "No such sample in this run" in page
    assert "<script>alert" not in page
    assert client.get("/runs/run/training?evaluation=nothing").status_code == 400
    assert client.get("/runs/run/training?model=..%2Frun").status_code == 400


def test_a_broken_evaluation_is_a_sentence(client, root):
    folder = root / "model" / "evaluations" / "zzz"
    folder.mkdir()
    (folder / "evaluation.json").write_text('{"version": 9}')
    try:
        assert "not an evaluation that this version" in client.get("/runs/run/training?evaluation=zzz").text
    finally:
        shutil.rmtree(folder)


def test_pictures_are_shown_at_once_and_verified_by_requests_of_their_own(client):
    page = client.get("/runs/run/generated").text
    assert page.count("not verified yet") == 2
    assert "ours, intact" not in page
    links = re.findall(r'hx-get="([^"]+verdict[^"]+)"', page)
    assert len(links) == 2
    for link in links:
        assert "ours, intact" in client.get(link.replace("&amp;", "&")).text


def test_a_verdict_is_that_of_assay_verify_and_follows_the_file(client, root, monkeypatch):
    query = {"folder": "out", "name": "p00000-s0.png"}
    body = client.get("/api/runs/run/generated/verdict", params=query).json()
    assert (body["ok"], body["credential"], body["registered"]) == (True, "ours", True)
    facts = json.loads((root / "model" / "step-00000002" / "assay.json").read_text())
    assert body["checkpoint"] == facts["checkpoint"]
    path = root / "out" / "p00000-s0.png"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:])
        changed = client.get("/api/runs/run/generated/verdict", params=query).json()
        assert not changed["ok"]
        assert changed["problems"]
    finally:
        path.write_bytes(whole)
    assert client.get("/api/runs/run/generated/verdict", params=query).json()["ok"]
    monkeypatch.delenv("ASSAY_TRUST")
    unknown = client.get("/api/runs/run/generated/verdict", params=query).json()
    assert (unknown["credential"], unknown["trusted"]) == ("other", False)


def test_lineage_leads_from_the_picture_to_the_rules_with_links_that_work(client, root):
    query = "folder=out&name=p00000-s0.png"
    body = client.get(f"/api/runs/run/generated/lineage?{query}").json()
    assert body["found"]
    assert body["missing"] == []
    assert [node["kind"] for node in body["chain"]] == ["picture", "checkpoint", "dataset"]
    manifest = json.loads((root / "run" / "manifest.json").read_text())["content"]
    titles = {branch["title"]: branch["nodes"] for branch in body["branches"]}
    assert [node["label"] for node in titles["Shards"]] == [one["shard"] for one in manifest["shards"]]
    assert [node["label"] for node in titles.get("Rules of the recipe", [])] == [
        rule["name"] for rule in manifest["rules"]
    ]
    page = client.get(f"/runs/run/generated/picture?{query}").text
    assert '<svg class="lineage"' in page
    assert str(root) not in page
    for link in {node["href"] for branch in body["branches"] for node in branch["nodes"]} - {""}:
        assert client.get(link.partition("#")[0]).status_code == 200
    for node in body["chain"]:
        assert client.get(node["href"]).status_code == 200


def test_lineage_in_another_run_says_what_is_missing(client):
    body = client.get("/api/runs/plain/generated/lineage?folder=out&name=p00000-s0.png").json()
    assert not body["found"]
    assert any("no version of" in words for words in body["missing"])


def test_refusals_are_counted_and_escaped(client):
    page = client.get("/runs/run/generated").text
    table = page[page.index('data-testid="refused"') :].split("</table>")[0]
    assert "<code>NSFW</code>" in table
    assert "<script>alert" not in page
    assert "\u202e" not in page


@pytest.mark.parametrize(
    "name", ["../run/recipe.yaml", "generation.json", "hallmarks.sqlite", "..", "nothing.png", "/etc/passwd", "\0.png"]
)
def test_only_pictures_of_the_listing_are_sent(client, name):
    for path in ("file", "thumb.webp", "picture", "verdict"):
        address = f"/runs/run/generated/{path}?folder=out&name={quote(name, safe='')}"
        assert client.get(address).status_code == 404
    for folder in ("../..", "run", "/etc"):
        assert client.get(f"/runs/run/generated?folder={quote(folder, safe='')}").status_code == 400


def test_a_link_out_of_the_folder_is_not_followed(client, root, tmp_path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    link = root / "out" / "link.png"
    link.symlink_to(tmp_path / "secret.png")
    out = root / "away"
    out.symlink_to(tmp_path)
    (tmp_path / "generation.json").write_text("{}")
    (tmp_path / "metrics.csv").write_text("stage,step,metric,value\n")
    try:
        names = client.get("/api/runs/run/generated/pictures", params={"folder": "out"}).json()["names"]
        assert "link.png" not in names
        assert [row["name"] for row in client.get("/api/runs/run/generated").json()] == ["out"]
        assert [row["name"] for row in client.get("/api/runs/run/training").json()] == ["model"]
    finally:
        link.unlink()
        out.unlink()


def test_thumbnails_carry_no_metadata_and_files_are_saved_as_they_are(client, root):
    query = "folder=out&name=p00000-s0.png"
    answer = client.get(f"/runs/run/generated/thumb.webp?{query}")
    assert answer.headers["content-type"] == "image/webp"
    assert b"c2pa" not in answer.content
    assert b"jumb" not in answer.content
    whole = client.get(f"/runs/run/generated/file?{query}")
    assert whole.content == (root / "out" / "p00000-s0.png").read_bytes()
    assert whole.headers["content-disposition"].startswith("attachment")


def test_without_trainings_and_pictures_the_pages_say_so(tmp_path):
    plain_run(tmp_path / "runs" / "only", sample_rows(20, seed=8))
    with client_for(tmp_path / "runs", tmp_path / "cache") as client:
        assert "No training lies in the folder" in client.get("/runs/only/training").text
        assert "No generated pictures lie in the folder" in client.get("/runs/only/generated").text
        assert client.get("/api/runs/only/training").json() == []
        assert client.get("/api/runs/only/training/curves").status_code == 404
        assert client.get("/api/runs/only/generated").json() == []
        assert client.get("/api/runs/only/generated/pictures").status_code == 404


def test_receipts_retractions_and_checkpoints_that_saw_what_left_are_those_of_the_run(root, tmp_path, monkeypatch):
    from training_runs import restate

    from filters.optout.entries import Draft, Kind
    from pipelines.commands.main import invoke
    from pipelines.registry.store import open_registry

    monkeypatch.setenv("ASSAY_TRUST", str(root.parent / "keys" / "root.pem"))
    own = tmp_path / "runs"
    shutil.copytree(root, own)
    recipe = own / "run" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace(str(root), str(own)))
    restate(own / "run", "recipe.yaml")
    with open_registry(str(own / "registry.sqlite")) as registry:
        registry.append([Draft(kind=Kind.CREATOR, value="Artist 1")])
    with client_for(own, tmp_path / "cache") as client:
        (pending,) = client.get("/api/runs/run/rights").json()["registry"]["pending"]
    assert invoke(["optout", "apply", str(own / "run")]) == 0
    with client_for(own, tmp_path / "cache") as client:
        body = client.get("/api/runs/run/rights").json()
        page = client.get("/runs/run/rights")
        receipt = client.get("/api/runs/run/rights/receipts/1").json()
        text = client.get("/runs/run/rights/receipts/1").text
        lineage = client.get("/api/runs/run/generated/lineage?folder=out&name=p00000-s0.png").json()
    record = json.loads((own / "run" / "retractions" / "00001.json").read_text())
    (retraction,) = body["retractions"]
    assert (retraction["left"], retraction["left_count"]) == (record["left"], len(record["left"]))
    assert pending["kept"] == len(record["left"]) > 0
    assert body["registry"]["newer"] == 0
    assert [(one["entry"], one["state"]) for one in body["receipts"]] == [(1, "valid")]
    assert receipt["state"] == "valid"
    assert "Artist 1" in text
    since = lineage_words(lineage)
    for one in body["checkpoints"]:
        assert one["left"] == len(record["left"])
        assert f"saw {one['seen']:,} of them" in since
    assert any(one["seen"] for one in body["checkpoints"])
    assert str(own) not in page.text
    spoil(own / "run" / "receipts" / "entry-00000001.json")
    with client_for(own, tmp_path / "cache") as client:
        assert client.get("/api/runs/run/rights").json()["receipts"][0]["state"] == "invalid"
        assert "signature invalid" in client.get("/runs/run/rights/receipts/1").text


def lineage_words(lineage):
    (branch,) = [one for one in lineage["branches"] if one["title"] == "Opt-outs since"]
    return " ".join(node["detail"] for node in branch["nodes"])


def spoil(path):
    body = json.loads(path.read_text())
    body["receipt"]["request"]["value"] = "somebody else"
    path.write_text(json.dumps(body))


def test_the_report_tells_the_same_of_training_pictures_and_rates(root, monkeypatch):
    from dashboards.report import render_report
    from pipelines.run.directory import open_run

    monkeypatch.setenv("ASSAY_TRUST", str(root.parent / "keys" / "root.pem"))
    run = open_run(str(root / "run"))
    page = render_report(run).decode()
    facts = json.loads((root / "model" / "step-00000002" / "assay.json").read_text())
    told = page[page.index('<section id="training"') : page.index('<section id="unsaid"')]
    assert facts["checkpoint"][:16] in told
    assert told.count("ours, intact") == 2
    assert told.count("data:image/webp;base64,") == 2
    assert "not measured: <bdi>made up &lt;b&gt;</bdi>" in told
    assert len(re.findall(r"<tr>.*?NSFW</th>", told)) == 1
    assert all(f'<th scope="row">{stage}</th>' in told for stage in ("ingest", "score", "decide", "balance"))
    assert "<script" not in page
    assert "\u202e" not in page
    assert str(root) not in page
    assert render_report(run).decode() == page
    # nobody's pictures without anchors, and none of another run
    monkeypatch.delenv("ASSAY_TRUST")
    assert "ours, intact" not in render_report(run).decode()
    other = render_report(open_run(str(root / "plain"))).decode()
    assert facts["checkpoint"][:16] not in other
    assert "No pictures made by a checkpoint of this run" in other


def test_the_report_stays_small_beside_many_trainings_pictures_and_metrics(root, tmp_path):
    from PIL import Image

    from dashboards.report import render_report
    from pipelines.run.directory import open_run

    shutil.copytree(root, tmp_path / "runs")
    small = len(render_report(open_run(str(tmp_path / "runs" / "run"))))
    lines = [f"denoiser,{step},m{metric},{step * metric}" for metric in range(300) for step in range(300)]
    (tmp_path / "runs" / "model" / "metrics.csv").write_text("stage,step,metric,value\n" + "\n".join(lines))
    for number in range(9):
        shutil.copytree(root / "out", tmp_path / "runs" / f"out{number}")
        shutil.copytree(tmp_path / "runs" / "model", tmp_path / "runs" / f"model{number}")
    for number in range(40):
        Image.effect_noise((256, 256), 90).convert("RGB").save(tmp_path / "runs" / "out" / f"q{number}.png")
    page = render_report(open_run(str(tmp_path / "runs" / "run")))
    assert len(page) < small + 1_500_000
    assert b"more folders of pictures are not shown" in page
    assert b"more trainings on this run are not shown" in page


def test_a_broken_record_is_a_sentence_of_the_report(root, tmp_path):
    from dashboards.report import render_report
    from pipelines.run.directory import open_run

    shutil.copytree(root, tmp_path / "runs")
    record = next((tmp_path / "runs" / "run" / "trainings").glob("*.json"))
    record.write_text("{")
    page = render_report(open_run(str(tmp_path / "runs" / "run"))).decode()
    assert "This could not be read:" in page
    assert str(tmp_path) not in page
