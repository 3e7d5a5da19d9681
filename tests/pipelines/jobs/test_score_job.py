"""What a scored run holds beside the scores: the evidence, and what a smaller precision cost."""

import io
import json

import pytest
import torch
from making import write_recipe, write_tar
from PIL import Image, ImageDraw, ImageFont
from safetensors.torch import save_file

from filters.encoders.precision import MIN_COSINE, is_rounded
from filters.encoders.torchvision_fix import ensure_torchvision
from pipelines.commands.main import invoke
from pipelines.run.directory import open_run
from pipelines.run.manifest import read_manifest, verify
from pipelines.run.schema import EVIDENCE

CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
}


def stamped(number: int, text: str) -> dict[str, bytes]:
    """A sample whose picture is 400 x 300 (every third 60 x 45), shaded, with white letters on it."""
    size = (60, 45) if number % 3 == 2 else (400, 300)
    image = Image.linear_gradient("L").resize(size).point(lambda level: 40 + level // 3).convert("RGB")
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).text((size[0] // 8, size[1] // 3), text, 190, ImageFont.load_default(size[0] // 8))
    image.paste((255, 255, 255 - number), mask=mask)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return {f"s{number:03d}.png": buffer.getvalue(), f"s{number:03d}.txt": f"grey sky {number}".encode()}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with a tiny CLIP whose weights are made here."""
    ensure_torchvision()
    import open_clip

    folder = tmp_path_factory.mktemp("model")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG, "preprocess_cfg": {}}))
    torch.manual_seed(3)
    made = open_clip.CLIP(**CONFIG)
    save_file(made.state_dict(), folder / "open_clip_model.safetensors")
    return f"file:{folder}"


@pytest.fixture(scope="module")
def make(model, tmp_path_factory):
    """A function that runs a recipe over two shards of stamped pictures."""
    folder = tmp_path_factory.mktemp("job")
    for shard in range(2):
        texts = ["shutterstock", "", "freepik"]
        write_tar(folder / "in" / f"{shard}.tar", *(stamped(6 * shard + n, texts[n % 3]) for n in range(6)))

    def run(name: str, precision: str = "fp32", **sections: object):
        similarity = {"model": f"{model}?precision={precision}"}
        rules = {"min_side": {"low": 64}, "watermark": {"high": 0.95}}
        scorers = ["size", "watermark", "similarity"]
        sections = {"scorers": scorers, "rules": rules, "similarity": similarity, **sections}
        recipe = write_recipe(folder, folder / "in", **sections)
        assert invoke(["run", str(recipe), "--out", str(folder / name), "--runner", "plain"]) == 0
        return open_run(str(folder / name))

    return run


@pytest.fixture(scope="module")
def rounded(make):
    return make("bf16", "bf16")


def rows(run, artefact):
    return [row for table in run.tables(artefact) for row in table.to_pylist()]


def evidence(run):
    tables = [run.table("evidence", index) for index in run.parts("scores")]
    for table in tables:
        assert table.schema.names == EVIDENCE.names
        assert table.schema.metadata == EVIDENCE.metadata
        assert table.cast(EVIDENCE).schema.equals(EVIDENCE)
    return [row for table in tables for row in table.to_pylist()]


def test_the_lines_that_were_read_are_stored_and_vouched_for(rounded):
    found = evidence(rounded)
    uids = [row["uid"] for row in rows(rounded, "scores")]
    agencies = [row for row in found if row["kind"] == "agency" and row["text"].lower().startswith("shutterst")]
    assert {row["uid"] for row in agencies} == {uids[0], uids[3], uids[6], uids[9]}
    for row in agencies:
        left, top, right, bottom = row["box"]
        assert row["scorer"] == "watermark"
        assert row["confidence"] > 0.75
        assert 30 < left < 70 < 250 < right <= 400
        assert 80 < top < 115 < 130 < bottom < 190
    assert [uids.index(row["uid"]) for row in found] == sorted(uids.index(row["uid"]) for row in found)
    files = read_manifest(rounded)["files"]
    assert {"evidence/part-00000.parquet", "evidence/part-00001.parquet"} <= set(files)
    assert verify(rounded) == []


def test_what_the_precision_costs_stands_in_the_marker_and_the_manifest(rounded):
    facts = [rounded.marker("scores", index).facts for index in rounded.parts("scores")]
    assert facts[0]["precision"]["precision"] == "bf16"
    assert facts[0]["precision"]["model"] == facts[0]["models"]["similarity"]
    assert MIN_COSINE < facts[0]["precision"]["picture_min"] < 1
    assert "precision" not in facts[1]  # once a run
    body = read_manifest(rounded)
    assert body["provenance"]["precision"] == facts[0]["precision"]
    assert "precision" not in body["content"]


def test_nothing_is_said_of_a_precision_that_rounds_nothing(make):
    run = make("fp32", scorers=["size", "similarity"], rules={"min_side": {"low": 64}})
    assert "precision" not in run.marker("scores", 0).facts
    assert read_manifest(run)["provenance"]["precision"] is None
    assert not run.store.exists("evidence/part-00000.parquet")  # no scorer gives any


def test_only_smaller_precisions_are_rounded(model):
    assert not is_rounded("builtin:mini")
    assert not is_rounded(f"{model}?precision=fp32")
    assert is_rounded(f"{model}?precision=int8")
    assert is_rounded("open-clip:ViT-B-32/openai") == torch.cuda.is_available()


def test_completing_a_cascade_adds_the_evidence_that_it_left_out(make, rounded, tmp_path):
    spared = make("cascade", "bf16", cascade=True)
    assert len(evidence(spared)) < len(evidence(rounded))
    out = str(tmp_path / "new")
    assert invoke(["replay", spared.store.url, "--out", out, "--set", "rules.min_side.low=8"]) == 2
    assert invoke(["score", out, "--missing", "--runner", "plain"]) == 0
    assert evidence(open_run(out)) == evidence(rounded)
    assert evidence(spared) != evidence(rounded)  # the run that it came from is as it was
