"""Commands that show what others wrote: no control character reaches the terminal; `| head` ends quietly."""

import json
import shutil
import subprocess

import pytest
from making import assay_command, sample, write_recipe, write_tar

from pipelines.commands.main import invoke

ESCAPE = "\x1b]0;owned\x07"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    write_tar(folder / "in" / "a.tar", *(sample(i) for i in range(3)))
    recipe = write_recipe(folder, folder / "in")
    assert invoke(["run", str(recipe), "--out", str(folder / "run"), "--runner", "plain"]) == 0
    return folder / "run"


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def change(run, make):
    path = run / "manifest.json"
    body = json.loads(path.read_text())
    make(body)
    path.write_text(json.dumps(body))


def clean(text):
    return text and all(line.isprintable() for line in text.splitlines())


def test_a_problem_that_names_a_strangers_file_is_one_clean_line(run, capsys):
    change(run, lambda body: body["files"].update({f"x{ESCAPE}\u2028assay: all is well": {"size": 1, "sha256": "0"}}))
    capsys.readouterr()
    assert invoke(["manifest", "verify", str(run)]) == 3
    told = capsys.readouterr().err
    assert clean(told)
    assert told.count("\n") == 1
    assert "FILE_MISSING" in told


def test_status_shows_gates_of_a_stranger_cleanly(run, capsys):
    gate = {"name": f"g{ESCAPE}", "state": "passed\nassay: forged", "words": "\x9b2J[red]w[/red]", "waiver": None}
    change(run, lambda body: body["content"].update(gates=[gate]))
    capsys.readouterr()
    assert invoke(["status", str(run)]) == 0
    told = capsys.readouterr().out
    assert clean(told)
    assert "[red]w[/red]" in told
    assert not any(line.startswith("assay:") for line in told.splitlines())


def test_a_receipt_of_a_stranger_is_shown_cleanly_or_refused(tmp_path, capsys):
    request = {"kind": "creator", "value": "x", "entry": 1, "created_at": f"26{ESCAPE}", "aliases": []}
    matched = {"uid": "\x1b[5m", "before": "kept", "detail": "d\nforged", "removed_from": ["\x9b"], "followed_by": []}
    body = {"format": 1, "request": request, "dataset": {"name": "n", "before": "a\x1b[1m", "after": "b"}}
    body |= {"at": "\x1b[31mred", "matched": [matched], "not_in_our_hands": "-\u202e"}
    body["checkpoints_trained_on_a_version_that_held_one"] = []
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps({"receipt": body, "signature": {"signature": "", "key_id": "\x1b[5mk"}}))
    assert invoke(["optout", "receipt", "show", str(path)]) == 0
    told = capsys.readouterr().out
    assert clean(told)
    assert "forged" not in [line.split()[0] for line in told.splitlines()]
    del body["matched"]
    path.write_text(json.dumps({"receipt": body, "signature": {"signature": "", "key_id": ""}}))
    assert invoke(["optout", "receipt", "show", str(path)]) == 2
    assert "not a receipt" in capsys.readouterr().err


def unread(*arguments):
    """Run a command whose output nobody reads; return its exit code and what it said on standard error."""
    with subprocess.Popen(assay_command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as one:
        one.stdout.close()
        error = one.stderr.read()
        return one.wait(60), error


def test_a_reader_who_leaves_early_changes_no_exit_code(run):
    assert unread("status", run) == (0, "")
    assert unread("status", run, "--json") == (0, "")
    change(run, lambda body: body["files"].update(nowhere={"size": 1, "sha256": "0"}))
    assert unread("manifest", "verify", run, "--json") == (3, "")
