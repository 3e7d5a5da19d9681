"""`assay generate --diversify` and `--fair-axis` from the outside: credential and log say what was changed."""

import io
import json

import c2pa
from test_generate_command import asked, refused  # noqa: F401

from filters.optout.entries import Draft, Kind
from pipelines.commands.main import invoke
from pipelines.registry.store import open_registry
from training.hallmark.claim import LABEL
from training.sampling import fair_fitting
from training.sampling.diversify import LOG, diversifier_of


def signed(path):
    """The sampler's settings in a picture's credential."""
    store = json.loads(c2pa.Reader("image/png", io.BytesIO(path.read_bytes())).json())
    manifest = store["manifests"][store["active_manifest"]]
    (found,) = [one["data"] for one in manifest["assertions"] if one["label"].startswith(LABEL)]
    return found["parameters"]


def test_a_changed_prompt_is_in_credential_and_log_and_the_folder_belongs_to_the_axes(asked, tmp_path, capsys):  # noqa: F811
    arguments = asked("--mark", "noise", "--count", 2, "--diversify", "people", prompts=("a doctor", "a balloon"))
    assert invoke([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["diversified"]["changed"] == 2
    assert told["diversified"]["pictures"] == 4
    out = tmp_path / "out"
    lines = {body["file"]: body for body in map(json.loads, (out / LOG).read_text().splitlines())}
    assert set(lines) == {"p00000-s0.png", "p00000-s1.png"}
    for name in ("p00000-s0.png", "p00000-s1.png", "p00001-s0.png"):
        parameters = signed(out / name)
        assert parameters["diversify"].startswith("people@")
        if name not in lines:
            assert parameters["diversified"] == "nothing"
            continue
        assert lines[name]["asked"]["hash"] == parameters["asked_prompt_sha256"]
        drawn = dict(diversifier_of("people").change("a doctor", lines[name]["seed"]).drawn)
        assert lines[name]["drawn"] == drawn
        assert parameters["diversified"] == ",".join(f"{axis}={value}" for axis, value in drawn.items())
    assert invoke(arguments) == 0
    assert len((out / LOG).read_text().splitlines()) == 2, "what is there is not made and not logged again"
    plain = asked("--mark", "noise", "--count", 2, prompts=("a doctor", "a balloon"))
    assert invoke(plain) == 2
    assert "other settings" in capsys.readouterr().err.replace("another checkpoint or settings", "other settings")


def test_a_change_hides_no_name_from_the_guard(asked, looks_dataset, tmp_path, capsys):  # noqa: F811
    from training_runs import copy_run

    own = copy_run(looks_dataset, tmp_path / "own")
    with open_registry(str(own / "registry.sqlite")) as registry:
        registry.append([Draft(Kind.CREATOR, "jane baker")])
    more = ("--mark", "noise", "--diversify", "people", "--registry", own / "registry.sqlite")
    # "baker" is an occupation: the changed prompt has words inside the name
    assert diversifier_of("people").change("a castle by jane baker", 0).drawn
    assert invoke(asked(*more, prompts=("a castle by jane baker",))) == 3
    assert [body["code"] for body in refused(tmp_path / "out")] == ["NAMED_CREATOR"]


def test_guided_pictures_say_so_and_too_few_to_learn_from_are_refused(asked, tmp_path, capsys, monkeypatch):  # noqa: F811
    arguments = asked("--mark", "noise", "--count", 2, "--fair-axis", "brightness", "--fair-scale", "2")
    assert invoke(arguments) == 2
    error = capsys.readouterr().err
    assert "at least 200 are needed" in error
    monkeypatch.setattr(fair_fitting, "FEWEST", 10)
    monkeypatch.setattr(fair_fitting, "LEAST_R2", -100.0)
    assert invoke(arguments) == 0
    parameters = [signed(tmp_path / "out" / f"p00000-s{seed}.png") for seed in (0, 1)]
    assert all(one["fair_axis"].startswith("brightness@") for one in parameters)
    assert {one["fair_scale"] for one in parameters} == {2.0}
    assert {one["fair_value"] for one in parameters} <= {"dark", "bright"}
    for more, words in (
        (("--fair-axis", "height"), "no such direction"),
        (("--fair-axis", "brightness", "--fair-scale", "0"), "--fair-scale 0"),
    ):
        assert invoke(asked("--mark", "noise", *more)) == 2
        assert words in capsys.readouterr().err
