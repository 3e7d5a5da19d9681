"""`assay verify` and `assay keys` from the outside: inputs, exit codes, text, the way back to a dataset."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hallmarking import CHECKPOINT, encode, key_of, some_facts

from pipelines.commands.main import invoke
from pipelines.run.directory import MANIFEST, create_run
from pipelines.run.manifest import content_hash
from pipelines.run.recipe import parse_recipe
from pipelines.run.trainings import Training, record_training
from training.hallmark.chains import development_chain
from training.hallmark.claim import ClaimConfig, Fingerprint, definition
from training.hallmark.credentials import Sealer


@pytest.fixture
def root(chain, tmp_path):
    (tmp_path / "root.pem").write_bytes(chain.root)
    return str(tmp_path / "root.pem")


def signed(key, photo, dataset):
    manifest = definition("0" * 32, some_facts(dataset=dataset), (), Fingerprint("f" * 64, 100), ClaimConfig())
    return Sealer(key).seal(encode(photo), "image/png", manifest).data


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["absent.png"], "no such file"),
        (["{folder}"], "no pictures"),
        (["{file}", "--trust", "absent.pem"], "cannot be read"),
        (["{file}", "--trust", "{file}"], "no certificates"),
        (["{file}", "--registry", "absent.sqlite"], "no register"),
        (["{file}", "--watermark-key", "{file}"], "watermark key"),
        (["{file}", "--run", "{folder}"], "no such run"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(arguments, words, tmp_path, issued, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.png").write_bytes(issued.data)
    given = [one.format(folder=tmp_path / "empty", file=tmp_path / "a.png") for one in arguments]
    assert invoke(["verify", *given]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.splitlines()) == 1


def test_a_folder_is_searched_and_one_bad_file_decides(issued, other_photo, root, tmp_path, capsys):
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "b.PNG").write_bytes(issued.data)
    (folder / "notes.txt").write_text("no picture")
    assert invoke(["verify", str(folder), "--trust", root]) == 0
    (folder / "a.png").write_bytes(encode(other_photo))
    assert invoke(["verify", str(folder), "--trust", root, "--json"]) == 3
    out = capsys.readouterr().out
    reports = json.loads(out[out.index("[\n") :])
    assert [(Path(one["file"]).name, one["credential"]) for one in reports] == [("a.png", "none"), ("b.PNG", "ours")]


def test_a_file_that_is_no_picture_is_told_so(root, tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(b"hello")
    assert invoke(["verify", str(tmp_path / "a.png"), "--trust", root]) == 3
    assert "not a picture" in capsys.readouterr().out


def test_text_names_what_there_is_and_hides_control_characters(issued, root, tmp_path, capsys):
    (tmp_path / "a\x1b[31m.png").write_bytes(issued.data)
    assert invoke(["verify", str(tmp_path / "a\x1b[31m.png"), "--trust", root]) == 0
    out = capsys.readouterr().out
    assert "ok: credential ours; mark not looked for" in out
    assert f"checkpoint sha256:{CHECKPOINT}" in out
    assert "development key" in out
    assert "\x1b" not in out


def test_the_environment_may_name_what_to_hold_against(issued, root, tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(issued.data)
    assert invoke(["verify", str(tmp_path / "a.png")]) == 3
    monkeypatch.setenv("ASSAY_TRUST", root)
    assert invoke(["verify", str(tmp_path / "a.png")]) == 0


def test_dataset_and_checkpoint_are_looked_up_in_a_run(signing_key, photo, root, tmp_path, capsys):
    run = create_run(
        str(tmp_path / "run"), parse_recipe("{name: cats, input: {kind: folder, path: nowhere}}", "x", [])
    )
    content = {"format": 1, "parent": None}
    digest = content_hash(content)
    run.store.write(MANIFEST, json.dumps({"content": content, "content_hash": digest}).encode())
    picture = tmp_path / "a.png"
    command = ["verify", str(picture), "--trust", root, "--run", str(tmp_path / "run"), "--json"]

    def report():
        code = invoke(command)
        return code, json.loads(capsys.readouterr().out)[0]

    picture.write_bytes(signed(signing_key, photo, "e" * 64))
    code, found = report()
    assert code == 3
    assert "is no version of" in found["problems"][0]

    picture.write_bytes(signed(signing_key, photo, digest))
    code, found = report()
    assert code == 3
    assert "no record that checkpoint" in found["problems"][0]

    record_training(run.store, Training(CHECKPOINT, "checkpoint", digest, "2026-11-21T00:00:00+00:00"))
    code, found = report()
    assert (code, found["problems"]) == (0, [])
    assert any("is cats, its present version" in note for note in found["notes"])

    # A later retraction: the picture's dataset is an earlier version now.
    run.store.write("retractions/1.json", json.dumps({"before": digest, "after": "f" * 64, "came": []}).encode())
    run.store.write(MANIFEST, json.dumps({"content": content, "content_hash": "f" * 64}).encode())
    code, found = report()
    assert code == 0
    assert any("1 retraction(s) have been applied since" in note for note in found["notes"])


def test_verifying_needs_neither_torch_nor_beam(issued, posthoc, root, tmp_path):
    (tmp_path / "a.png").write_bytes(issued.data)
    (tmp_path / "w.key").write_text(posthoc.key.secret.hex())
    script = (
        "import sys\n"
        "for name in ('torch', 'diffusers', 'transformers', 'accelerate', 'apache_beam'): sys.modules[name] = None\n"
        "from training.hallmark.command_verify import verify\n"
        "from pathlib import Path\n"
        "verify([sys.argv[1]], trust=Path(sys.argv[2]), watermark_key=Path(sys.argv[3]), registry=None, words=4)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a.png"), root, str(tmp_path / "w.key")],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "ok: credential ours; mark found" in done.stdout


def test_keys_init_says_loudly_what_it_is_not_for_and_its_chain_signs(tmp_path, photo, capsys):
    assert invoke(["keys", "init", str(tmp_path / "k")]) == 0
    shown = capsys.readouterr()
    assert "NOT FOR RELEASE" in shown.err
    assert {path.name for path in (tmp_path / "k").iterdir()} == {"key.pem", "chain.pem", "root.pem", "watermark.key"}
    assert (tmp_path / "k" / "key.pem").stat().st_mode & 0o777 == 0o600
    assert invoke(["keys", "init", str(tmp_path / "k")]) == 2
    from training.hallmark.keys import key_from_files

    key = key_from_files(tmp_path / "k" / "key.pem", tmp_path / "k" / "chain.pem")
    (tmp_path / "a.png").write_bytes(signed(key, photo, "e" * 64))
    assert invoke(["verify", str(tmp_path / "a.png"), "--trust", str(tmp_path / "k" / "root.pem")]) == 0


def test_keys_csr_makes_a_request(tmp_path):
    command = ["keys", "csr", str(tmp_path / "k"), "--organisation", "Example", "--name", "pictures"]
    assert invoke(command) == 0
    assert (tmp_path / "k" / "request.csr").read_bytes().startswith(b"-----BEGIN CERTIFICATE REQUEST")
    assert invoke(command) == 2
    assert invoke([*command[:2], str(tmp_path / "l"), *command[3:], "--algorithm", "rot13"]) == 2


def test_two_chains_of_one_name_are_told_apart(photo, tmp_path, root):
    (tmp_path / "o").mkdir()
    (tmp_path / "a.png").write_bytes(signed(key_of(development_chain("es256"), tmp_path / "o"), photo, "e" * 64))
    assert invoke(["verify", str(tmp_path / "a.png"), "--trust", root]) == 3
