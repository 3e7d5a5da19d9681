"""`assay train` with method lora on a cleared run, and `assay generate --adapter`, from the outside."""

import json
from pathlib import Path

import pytest

from pipelines.commands.main import invoke
from training.checkpoints import checkpoints, read_facts

LORA = """
version: 1
name: tiny adapter
method: {{kind: lora, base: '{base}', rank: 2}}
data: {{batch: 8, workers: 0, buckets: {{resolution: 64, max_aspect: 1}}}}
loop: {{steps: 2, device: cpu, threads: 1}}
logs: {{tensorboard: false}}
checkpoints: {{every: 2, keep: 1}}
"""


@pytest.fixture(scope="module")
def adapter(pixel_training, subject, tmp_path_factory):
    """A training's folder of an adapter on the pixel checkpoint, made by the command."""
    folder = tmp_path_factory.mktemp("adapter")
    (folder / "lora.yaml").write_text(LORA.format(base=pixel_training))
    assert (
        invoke(["train", str(folder / "lora.yaml"), "--data", str(subject / "run"), "--out", str(folder / "a")]) == 0
    )
    return folder / "a"


def command(checkpoint, adapter, out, keys, *more):
    named = ["generate", str(checkpoint), "--adapter", str(adapter), "--prompt", "a drawing", "--out", str(out)]
    return [*named, "--keys", str(keys), "--steps", "2", "--device", "cpu", "--mark", "noise", *map(str, more)]


def test_lineage_and_attribution_name_an_adapter_as_any_checkpoint(adapter, subject, capsys):
    path = checkpoints(adapter)[-1][1]
    facts = read_facts(path)
    capsys.readouterr()
    assert invoke(["attribution", str(path), "--pool", "10.00", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["exposures"] == facts["samples"] == 16
    assert invoke(["attribution", str(adapter), "--pool", "10.00", "--json"]) == 0  # the newest one of the folder
    assert json.loads(capsys.readouterr().out) == found
    assert invoke(["lineage", str(adapter), "--run", str(subject / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["checkpoint"]["sha256"] == facts["checkpoint"]
    from training.data.exposure import load_exposure

    uid = next(iter(load_exposure(path).counts()))
    assert invoke(["lineage", uid, "--run", str(subject / "run"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert facts["checkpoint"] in {one["checkpoint"] for one in told["checkpoints"]}


def test_a_picture_names_base_and_adapter_and_both_datasets(
    adapter, subject, pixel_training, looks_dataset, keys, tmp_path, capsys
):
    out = tmp_path / "out"
    runs = ["--run", looks_dataset / "run", "--adapter-run", subject / "run"]
    assert invoke(command(pixel_training, adapter, out, keys, *runs, "--json")) == 0
    written = json.loads(capsys.readouterr().out)["written"]
    import c2pa

    with Path(written[0]["file"]).open("rb") as stream, c2pa.Reader("image/png", stream) as reader:
        manifest = json.loads(reader.json())
    active = manifest["manifests"][manifest["active_manifest"]]
    named = {one["instance_id"] for one in active["ingredients"]}
    facts, base = read_facts(checkpoints(adapter)[-1][1]), read_facts(checkpoints(pixel_training)[-1][1])
    for one in (facts, base):
        assert f"sha256:{one['checkpoint']}" in named
        assert f"sha256:{one['datasets'][-1]}" in named
    own = next(one["data"] for one in active["assertions"] if one["label"].startswith("org.assay-data.hallmark"))
    assert own["parameters"]["adapter"] == facts["checkpoint"]
    assert own["parameters"]["adapter_looks"] == "compared"
    assert (out / "seen-adapter.json").is_file()
    assert json.loads((out / "generation.json").read_text())["adapter"]

    trust = ["--trust", str(keys / "root.pem")]
    capsys.readouterr()
    assert invoke(["verify", written[0]["file"], "--run", str(looks_dataset / "run"), *trust]) == 0
    told = capsys.readouterr().out
    assert f"with model {facts['name']} step 2, checkpoint sha256:{facts['checkpoint']}" in told
    assert f"dataset {facts['datasets'][-1][:16]}… is another than this run's" in told
    ways = {}
    for name, run, code in (("base", looks_dataset, 0), ("adapter", subject, 3)):
        command_line = ["lineage", written[0]["file"], "--run", str(run / "run"), *trust]
        assert invoke([*command_line, "--json"]) == code
        ways[name] = json.loads(capsys.readouterr().out)
        assert invoke(command_line) == code
        assert f"with model {facts['checkpoint']}" in capsys.readouterr().out
    (elsewhere,), (here,) = ways["base"]["parts"], ways["adapter"]["parts"]
    assert (ways["base"]["found"], elsewhere["found"], ways["adapter"]["found"], here["found"]) == (
        True,
        False,
        False,
        True,
    )
    assert here["checkpoint"]["sha256"] == elsewhere["checkpoint"]["sha256"] == facts["checkpoint"]
    assert here["checkpoint"]["exposures"] == facts["samples"]
    assert (elsewhere["checkpoint"]["exposures"], len(elsewhere["missing"])) == (None, 2)


def test_the_adapters_dataset_is_asked_for_unless_guards_are_waived(
    adapter, subject, pixel_training, looks_dataset, keys, tmp_path, capsys
):
    run = ["--run", looks_dataset / "run"]
    assert invoke(command(pixel_training, adapter, tmp_path / "a", keys, *run)) == 2
    assert "--adapter-run" in capsys.readouterr().err
    wrong = [*run, "--adapter-run", looks_dataset / "run"]
    assert invoke(command(pixel_training, adapter, tmp_path / "b", keys, *wrong)) == 2
    assert "the adapter was not trained on this dataset" in capsys.readouterr().err
    assert invoke(command(pixel_training, adapter, tmp_path / "c", keys, *run, "--fewer-guards")) == 0


def test_an_adapter_of_another_base_writes_nothing(adapter, trained, keys, tmp_path, capsys):
    assert invoke(command(trained("latent"), adapter, tmp_path / "out", keys, "--fewer-guards")) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "generate with that base" in error
    assert not list((tmp_path / "out").glob("*.png"))
