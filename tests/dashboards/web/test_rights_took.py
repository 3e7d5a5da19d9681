"""What left a run after a checkpoint was trained on it, over real retractions."""

import io
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "pipelines"))

from making import picture, sample, write_recipe, write_tar
from PIL import Image
from run_making import make_run, sample_rows
from web_clients import client_for
from web_real_run import encoded

from filters.optout.entries import Draft, Kind
from pipelines.commands.main import invoke
from pipelines.registry.store import create_registry, open_registry
from pipelines.run.directory import open_run
from pipelines.run.manifest import read_manifest
from pipelines.run.trainings import Training, record_training


def address(number):
    return f"https://host.example.org/{number}.png"


def smaller(data):
    return encoded(Image.open(io.BytesIO(data)).resize((80, 66), Image.Resampling.LANCZOS))


def test_what_came_in_after_a_training_is_not_among_what_left_since(tmp_path):
    """Two copies of a picture: the better one is opted out, so the other one comes in; then that one leaves too."""
    samples = [sample(number, url=address(number)) for number in range(8)]
    copy = sample(8, url=address(8))
    samples.append({name: smaller(picture(5)) if name.endswith(".png") else data for name, data in copy.items()})
    write_tar(tmp_path / "in" / "0.tar", *samples)
    registry = str(tmp_path / "registry.sqlite")
    with create_registry(registry) as entries:
        entries.append([Draft(Kind.URL, "https://nowhere.example.org/x")])
    recipe = write_recipe(
        tmp_path, tmp_path / "in", rights={"registry": registry}, scorers=["size", "hashes", "caption", "pdq"]
    )
    folder = tmp_path / "runs" / "run"
    assert invoke(["run", str(recipe), "--out", str(folder), "--runner", "plain"]) == 0
    run = open_run(str(folder))
    first = read_manifest(run)["content_hash"]
    record_training(run.store, Training("ab" * 32, "model.safetensors", first, "2026-11-20T00:00:00Z"))
    for number in (5, 8):
        with open_registry(registry) as entries:
            entries.append([Draft(Kind.URL, address(number))])
        assert invoke(["optout", "apply", str(folder)]) == 0
    with client_for(tmp_path / "runs", tmp_path / "cache") as client:
        body = client.get("/api/runs/run/rights").json()
    assert [(one["left_count"], one["came"]) for one in body["retractions"]] == [(1, 0), (1, 1)]
    assert [one["left"] for one in body["checkpoints"]] == [1]


def test_who_left_is_counted_over_all_retractions_and_not_over_those_that_are_listed(tmp_path):
    make_run(tmp_path / "runs" / "made", sample_rows(20))
    store = open_run(str(tmp_path / "runs" / "made")).store
    for number in range(1, 71):
        body = {"at": "2026-11-20T00:00:00Z", "entries": [number], "left": [f"{number:032x}"], "came": []}
        store.write(f"retractions/{number:05d}.json", json.dumps({**body, "before": "a", "after": "b"}).encode())
    with client_for(tmp_path / "runs", tmp_path / "cache") as client:
        body = client.get("/api/runs/made/rights").json()
        page = client.get("/runs/made/rights").text
    assert (body["retractions_total"], body["left_since"], len(body["retractions"])) == (70, 70, 60)
    assert '<dd data-testid="left-since">70</dd><dd class="note">70 retractions</dd>' in page
    assert "the last 60 are listed" in page
