"""What was made from scores that are no longer those of the run is made again, or asked for in one line."""

import io

import pyarrow.parquet as pq
from making import picture, sample, write_recipe, write_tar
from PIL import Image

import pipelines.jobs.finish
from pipelines.commands.main import invoke
from pipelines.run.directory import open_run
from pipelines.run.manifest import read_manifest


def assay(*words):
    return invoke([str(word) for word in words])


def cropped(number, margin):
    with Image.open(io.BytesIO(picture(number))) as image:
        inner = image.convert("RGB").crop((margin, margin, image.width - margin, image.height - margin))
        buffer = io.BytesIO()
        inner.resize(image.size).save(buffer, "PNG")
    return buffer.getvalue()


def reasons(folder):
    run = open_run(str(folder))
    return {
        row["key"]: ledger["primary_reason"]
        for part in run.parts("ledger")
        for row, ledger in zip(
            run.table("samples", part, ["key"]).to_pylist(),
            run.table("ledger", part, ["primary_reason"]).to_pylist(),
            strict=True,
        )
    }


def test_duplicates_are_looked_for_again_once_spared_scores_are_there(tmp_path, capsys):
    """Two alike pictures, which the cascade had spared their embeddings when the duplicates were looked for."""
    words = "a drawing of a thing with a long caption " * 6
    alike = [{**sample(5, words), "s00005.png": cropped(40, 0)}, {**sample(6, words), "s00006.png": cropped(40, 3)}]
    write_tar(tmp_path / "in.tar", *(sample(number) for number in range(5)), *alike)
    sections = {
        "scorers": ["size", "hashes", "caption", "similarity"],
        "cascade": True,
        "duplicates": {"phash_distance": None, "pdq_distance": None, "cosine": 0.9},
    }
    strict = {"caption_characters": {"high": 100}, "similarity": {"low": -1}}
    recipe = write_recipe(tmp_path, tmp_path / "in.tar", rules=strict, **sections)
    assert assay("run", recipe, "--out", tmp_path / "old", "--runner", "plain") == 0
    new, loose = tmp_path / "new", ("--set", "rules.caption_characters.high=1000")
    assert assay("replay", tmp_path / "old", "--out", new, *loose) == 2
    assert assay("score", new, "--missing", "--runner", "plain") == 0
    capsys.readouterr()
    assert assay("decide", new) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("assay: ")]
    assert line.endswith(f"found among other scores; run assay dedup {new}, then assay decide {new}")
    assert assay("dedup", new, "--runner", "plain") == 0
    assert assay("decide", new) == 0
    recipe = write_recipe(
        tmp_path, tmp_path / "in.tar", rules={**strict, "caption_characters": {"high": 1000}}, **sections
    )
    assert assay("run", recipe, "--out", tmp_path / "fresh", "--runner", "plain") == 0
    assert reasons(new) == reasons(tmp_path / "fresh")
    assert "SEMANTIC_DUPLICATE" in reasons(new).values()


def test_sidecars_have_the_columns_of_the_scores_that_the_run_ends_with(tmp_path, monkeypatch):
    write_tar(tmp_path / "in.tar", *(sample(number) for number in range(6)))
    recipe = write_recipe(tmp_path, tmp_path / "in.tar", scorers=["size", "hashes", "caption"])

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pipelines.jobs.finish, "finish", interrupted)
        assert assay("run", recipe, "--out", tmp_path / "run", "--runner", "plain") == 130
    recipe = write_recipe(tmp_path, tmp_path / "in.tar", scorers=["size", "hashes", "caption", "technical"])
    for name in ("run", "fresh"):
        assert assay("run", recipe, "--out", tmp_path / name, "--runner", "plain") == 0
    columns = [pq.read_schema(tmp_path / name / "shards" / "shard-00000.parquet").names for name in ("run", "fresh")]
    assert columns[0] == columns[1]
    assert "sharpness" in columns[0]
    hashes = {read_manifest(open_run(str(tmp_path / name)))["content_hash"] for name in ("run", "fresh")}
    assert len(hashes) == 1
