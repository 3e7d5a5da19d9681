"""The job end to end on small real input, as a user runs it: by its commands."""

import json
import subprocess
import sys

import pytest
import webdataset
from making import picture, sample, write_recipe, write_tar

from pipelines.commands.main import invoke
from pipelines.run.directory import open_run


def assay(*arguments):
    """Run the command line in this process; return its exit code."""
    return invoke([str(a) for a in arguments])


def output(capsys, *arguments):
    assert assay(*arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def recipe(tmp_path):
    samples = [sample(i) for i in range(20)]
    samples += [sample(3, key="copy"), sample(4, caption="another text", key="other-text")]
    samples += [
        sample(30, licence="GPL"),
        sample(31, licence=None),
        {**sample(1, key="bad"), "bad.png": picture(1)[:300]},
    ]
    write_tar(tmp_path / "in" / "a.tar", *samples[:13])
    write_tar(tmp_path / "in" / "b.tar", *samples[13:])
    return write_recipe(
        tmp_path,
        tmp_path / "in",
        licences={"allow": ["CC0"]},
        rules={"min_side": {"low": 32}},
        balance={"by": "creator", "cap": 5},
        shards={"samples": 4},
    )


def test_counts_add_up_from_input_to_shards(recipe, tmp_path, capsys):
    status = output(capsys, "run", recipe, "--out", tmp_path / "run")
    assert status["samples"] == 25
    dropped = status["dropped"]
    assert dropped == {
        "DECODE_ERROR": 1,
        "LICENCE_MISSING": 1,
        "LICENCE_NOT_ALLOWED": 1,
        "SAME_SAMPLE": 1,
        "EXACT_DUPLICATE": 1,
        "BALANCE_CAP": 5,
    }
    assert status["kept"] == 25 - sum(dropped.values()) == 15
    assert status["balanced"] is True
    assert status["stage"] == "done"


def test_shards_hold_the_original_bytes_and_webdataset_reads_them(recipe, tmp_path, capsys):
    output(capsys, "run", recipe, "--out", tmp_path / "run")
    tars = sorted(str(path) for path in (tmp_path / "run" / "shards").glob("*.tar"))
    assert len(tars) == 4
    read = list(webdataset.WebDataset(tars, shardshuffle=False))
    originals = {picture(i) for i in range(32)}
    assert len(read) == 15
    assert all(item["png"] in originals and item["txt"] for item in read)
    sidecars = [open_run(str(tmp_path / "run")).store.path(f"shards/shard-0000{i}.parquet") for i in range(4)]
    import pyarrow.parquet as pq

    keys = [key for path in sidecars for key in pq.read_table(path).column("key").to_pylist()]
    assert keys == [item["__key__"] for item in read]


def test_running_again_changes_nothing_and_does_nothing(recipe, tmp_path, capsys):
    first = output(capsys, "run", recipe, "--out", tmp_path / "run")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*.parquet")}
    second = output(capsys, "run", recipe, "--out", tmp_path / "run")
    assert first["content_hash"] == second["content_hash"]
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*.parquet")} == before


def test_place_and_runner_do_not_change_the_content(recipe, tmp_path, capsys):
    beam = output(capsys, "run", recipe, "--out", tmp_path / "run")
    moved = tmp_path / "elsewhere" / "deep"
    moved.parent.mkdir()
    (tmp_path / "in").rename(moved)
    plain = output(
        capsys, "run", recipe, "--out", tmp_path / "run2", "--runner", "plain", "--set", f"input.path={moved}"
    )
    assert plain["content_hash"] == beam["content_hash"]


def test_every_stage_is_a_command_and_gives_the_same_dataset(recipe, tmp_path, capsys):
    whole = output(capsys, "run", recipe, "--out", tmp_path / "run")
    steps = tmp_path / "steps"
    assert output(capsys, "ingest", recipe, "--out", steps, "--runner", "plain")["samples"] == 25
    assert output(capsys, "score", steps, "--runner", "plain")["samples"] == 25
    assert output(capsys, "dedup", steps)["clusters"] == 2
    assert output(capsys, "decide", steps)["kept"] == 15
    assert output(capsys, "balance", steps, "--runner", "plain")["content_hash"] == whole["content_hash"]


def test_replay_decides_again_without_models(recipe, tmp_path, capsys):
    whole = output(capsys, "run", recipe, "--out", tmp_path / "run")
    same = output(capsys, "replay", tmp_path / "run", "--out", tmp_path / "same")
    assert (same["kept"], same["dropped"]) == (whole["kept"], whole["dropped"])
    new = output(capsys, "replay", tmp_path / "run", "--out", tmp_path / "new", "--set", "balance.cap=2")
    assert (new["kept"], new["dropped"]["BALANCE_CAP"]) == (6, 14)
    finished = output(capsys, "balance", tmp_path / "new", "--runner", "plain")
    assert finished["balanced"] is True
    parent = json.loads((tmp_path / "new" / "manifest.json").read_text())["content"]["parent"]
    assert parent == whole["content_hash"]


def test_replay_refuses_what_would_need_models(recipe, tmp_path, capsys):
    output(capsys, "run", recipe, "--out", tmp_path / "run")
    assert assay("replay", tmp_path / "run", "--out", tmp_path / "n", "--set", "limits.max_pixels=5") == 2
    assert "cannot be replayed" in capsys.readouterr().err


def test_the_manifest_is_signed_and_every_change_is_found(recipe, tmp_path, capsys):
    assert assay("keygen", "--out", tmp_path / "key.pem") == 0
    assert (tmp_path / "key.pem").stat().st_mode & 0o077 == 0
    capsys.readouterr()
    output(capsys, "run", recipe, "--out", tmp_path / "run", "--key", tmp_path / "key.pem")
    verify = ("manifest", "verify", tmp_path / "run", "--public-key", tmp_path / "key.pem.pub")
    assert output(capsys, *verify)["signature"] == "trusted"
    shard = tmp_path / "run" / "shards" / "shard-00000.tar"
    data = shard.read_bytes()
    shard.write_bytes(data[:-1] + b"x")
    assert assay(*verify) == 3
    assert "FILE_CHANGED shards/shard-00000.tar" in capsys.readouterr().err
    shard.write_bytes(data)
    assert assay(*verify) == 0
    manifest = tmp_path / "run" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"kept": 15', '"kept": 16'))
    assert assay(*verify) == 3
    found = capsys.readouterr().err
    assert "CONTENT_HASH" in found
    assert "SIGNATURE_INVALID" in found


def test_another_key_is_not_trusted(recipe, tmp_path, capsys):
    for name in ("a.pem", "b.pem"):
        assay("keygen", "--out", tmp_path / name)
    assert assay("keygen", "--out", tmp_path / "a.pem") == 2
    capsys.readouterr()
    output(capsys, "run", recipe, "--out", tmp_path / "run", "--key", tmp_path / "a.pem")
    assert assay("manifest", "verify", tmp_path / "run", "--public-key", tmp_path / "b.pem.pub") == 3
    assert "WRONG_KEY" in capsys.readouterr().err


def test_help_needs_neither_torch_nor_beam():
    code = (
        "import sys; from pipelines.commands.main import invoke; invoke(['--help']); "
        "print(sorted({'torch', 'apache_beam', 'onnxruntime', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for name in ("corpus", "run", "replay", "status", "report", "doctor"):
        assert f" {name} " in done.stdout


def test_a_run_can_live_on_any_file_system(recipe, tmp_path, capsys):
    local = output(capsys, "run", recipe, "--out", tmp_path / "run")
    memory = output(capsys, "run", recipe, "--out", f"memory://{tmp_path.name}/run")
    assert memory["content_hash"] == local["content_hash"]
    assert output(capsys, "manifest", "verify", f"memory://{tmp_path.name}/run")["ok"] is True


def test_a_folder_and_a_parquet_file_run_end_to_end(tmp_path, capsys):
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "files").mkdir()
    for i in range(6):
        for name, data in sample(i).items():
            (tmp_path / "files" / name).write_bytes(data)
    rows = [{"image": picture(i), "caption": f"drawing number {i} of a thing", "key": f"k{i}"} for i in range(6)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    for kind, path in (("folder", tmp_path / "files"), ("parquet", tmp_path / "rows.parquet")):
        recipe = write_recipe(tmp_path, path, kind)
        status = output(capsys, "run", recipe, "--out", tmp_path / kind, "--runner", "plain")
        assert (status["samples"], status["kept"], status["balanced"]) == (6, 6, True)


def test_a_corrupted_part_is_found_and_made_again(recipe, tmp_path, capsys):
    first = output(capsys, "run", recipe, "--out", tmp_path / "run")
    part = tmp_path / "run" / "scores" / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-10])
    assert output(capsys, "run", recipe, "--out", tmp_path / "run")["content_hash"] == first["content_hash"]
    assert output(capsys, "manifest", "verify", tmp_path / "run")["ok"] is True
