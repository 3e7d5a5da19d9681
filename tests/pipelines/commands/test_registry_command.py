"""`assay optout …` keeps a registry: what it prints, and its exit codes."""

from __future__ import annotations

import hashlib
import json
import sqlite3

import numpy as np
import pytest
from PIL import Image

from pipelines.commands import main
from pipelines.registry import open_registry
from pipelines.registry.reviews import Pair, queue


@pytest.fixture
def assay(monkeypatch, capsys):
    """A function that runs `assay optout …` and returns exit code, standard output and standard error."""
    monkeypatch.setitem(main.COMMANDS, "optout", ("pipelines.commands.registry:registry_app", "Opt-outs."))

    def run(*arguments):
        code = main.invoke(["optout", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def path(assay, tmp_path):
    assert assay("init", tmp_path / "r.sqlite")[0] == 0
    return tmp_path / "r.sqlite"


def printed(result):
    assert result[0] == 0, result
    return json.loads(result[1])


def test_a_registry_is_made_once(assay, tmp_path):
    made = printed(assay("init", tmp_path / "r.sqlite", "--json"))
    assert made["seq"] == 0
    assert len(made["hash"]) == 64
    code, out, err = assay("init", tmp_path / "r.sqlite")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1


def test_entries_of_every_kind_are_added_and_listed(assay, path):
    added = printed(
        assay(
            *("add", path, "--url", "https://x.org/1", "--url-prefix", "https://x.org/g", "--domain", "x.org"),
            *("--creator", "Jane Doe", "--alias", "J. D.", "--sha256", "a" * 64, "--pdq", "b" * 64),
            *("--requester", "Jane", "--basis", "form", "--note", "by mail", "--json"),
        )
    )
    assert (added["first"], added["last"], added["added"]) == (1, 6, 6)
    listed = printed(assay("list", path, "--json"))
    assert {entry["kind"] for entry in listed["entries"]} == {
        *("url", "url_prefix", "domain", "creator", "sha256", "pdq")
    }
    assert all(entry["requester"] == "Jane" for entry in listed["entries"])
    assert listed["hash"] == added["hash"]
    assert [
        entry["seq"] for entry in printed(assay("list", path, "--since", "4", "--limit", "1", "--json"))["entries"]
    ] == [5]
    assert "Jane Doe | J. D." in assay("list", path)[1]


def test_a_picture_is_added_by_its_hashes_and_not_kept(assay, path, tmp_path):
    rng = np.random.default_rng(1)
    image = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize((300, 300))
    image.save(tmp_path / "work.png")
    Image.new("RGB", (90, 90), "white").save(tmp_path / "blank.png")
    printed(assay("add", path, "--image", tmp_path / "work.png", "--image", tmp_path / "blank.png", "--json"))
    entries = printed(assay("list", path, "--json"))["entries"]
    assert [entry["kind"] for entry in entries] == ["sha256", "pdq", "sha256"]
    assert entries[0]["value"] == hashlib.sha256((tmp_path / "work.png").read_bytes()).hexdigest()
    assert len(entries[1]["keys"]) == 8
    assert assay("add", path, "--image", path)[0] == 2


@pytest.mark.e2e
def test_a_picture_is_added_as_an_embedding_of_an_encoder(assay, path, tmp_path):
    Image.effect_noise((80, 80), 50).convert("RGB").save(tmp_path / "work.png")
    printed(assay("add", path, "--image", tmp_path / "work.png", "--model", "builtin:mini", "--json"))
    kinds = [entry["kind"] for entry in printed(assay("list", path, "--json"))["entries"]]
    assert kinds[-1] == "embedding"


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "--domain", "co.uk"),
        ("add", "--url", "nothing"),
        ("add", "--alias", "x"),
        ("add",),
        ("add", "--sha256", "xyz"),
        ("add", "--image", "/nothing/there.png"),
        ("import", "/nothing/there.csv"),
        ("review", "--id", "5"),
        ("review", "--id", "5", "--verdict", "same", "--reviewer", "Ana"),
        ("grant", "--key", "/nothing", "--licensor", "A", "--licensee", "B", "--domain", "x.org"),
        ("grant", "--licensor", "A"),
        ("list", "--since", "-1"),
        ("list", "--since", "9" * 30),
        ("review", "--id", "9" * 30, "--verdict", "same", "--reviewer", "Ana"),
        ("add", "--creator", "Jane\udcff Doe"),
    ],
)
def test_bad_input_is_exit_code_2_and_changes_nothing(assay, path, arguments):
    code, out, err = assay(arguments[0], path, *arguments[1:])
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    assert printed(assay("verify", path, "--json"))["seq"] == 0


@pytest.mark.parametrize("command", ["add", "import", "export", "list", "verify", "review"])
def test_a_registry_that_is_not_there_is_one_line(assay, tmp_path, command):
    more = {"add": ("--domain", "x.org"), "import": (tmp_path / "x.csv",)}.get(command, ())
    code, out, err = assay(command, tmp_path / "missing", *more)
    assert (code, out) == (2, "")
    assert "assay optout init" in err
    assert len(err.splitlines()) == 1


def test_csv_goes_out_and_in(assay, path, tmp_path):
    assay("add", path, "--domain", "x.org", "--creator", "Jane Doe")
    assert assay("export", path, "--out", tmp_path / "out.csv")[0] == 0
    assert assay("export", path, "--out", tmp_path / "out.csv")[0] == 2
    lines = assay("export", path, "--json")[1].splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["domain", "creator"]
    assert assay("export", path)[1].splitlines()[0].startswith("seq,kind,value")
    assert printed(assay("import", path, tmp_path / "out.csv", "--json"))["last"] == 4
    (tmp_path / "bad.csv").write_text("kind,value\ndomain,y.org\ndomain,com\n")
    code, _, err = assay("import", path, tmp_path / "bad.csv")
    assert code == 2
    assert "bad.csv:3" in err
    assert printed(assay("verify", path, "--json"))["seq"] == 4


def test_an_export_that_fails_leaves_no_file(assay, path, tmp_path):
    assay("add", path, "--domain", "x.org", "--domain", "y.org")
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER optout_entries_no_update")
        connection.execute("UPDATE optout_entries SET aliases = '{' WHERE seq = 2")
    before = sorted(tmp_path.iterdir())
    for more in ((), ("--json",)):
        code, _, err = assay("export", path, "--out", tmp_path / "out.csv", *more)
        assert (code, len(err.splitlines())) == (2, 1)
        assert sorted(tmp_path.iterdir()) == before
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    assert assay("export", path, "--out", tmp_path / "link")[0] == 2
    assert (tmp_path / "link").is_symlink()


def test_a_star_in_an_address_is_said_to_be_no_wildcard(assay, path):
    code, out, err = assay("add", path, "--url-prefix", "https://x.org/img*")
    assert (code, out) == (2, "")
    assert "no wildcard" in err
    assert "stands for itself" in assay("add", path, "--url", "https://x.org/*.jpg")[2]
    assert assay("add", path, "--url", "https://x.org/1.jpg", "--url-prefix", "https://x.org/img/*")[2] == ""


def test_verify_says_no_with_exit_code_3(assay, path):
    assay("add", path, "--domain", "x.org", "--domain", "y.org")
    good = printed(assay("verify", path, "--json"))
    assert good["ok"]
    assert assay("verify", path, "--snapshot", good["hash"])[0] == 0
    assert assay("verify", path, "--snapshot", "0" * 64)[0] == 3
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER optout_entries_no_update")
        connection.execute("UPDATE optout_entries SET note = 'x' WHERE seq = 1")
    code, out, _ = assay("verify", path, "--json")
    assert code == 3
    assert [problem["code"] for problem in json.loads(out)["problems"]] == ["ENTRY_CHANGED"]
    code, out, err = assay("verify", path)
    assert (code, out) == (3, "")
    assert "ENTRY_CHANGED" in err


def test_pairs_are_shown_and_judged(assay, path):
    with open_registry(str(path)) as registry:
        queue(registry, [Pair(1, "a" * 64, "u" * 32, 0.93), Pair(2, "b" * 64, "v" * 32, 0.91)])
    assert [item["id"] for item in printed(assay("review", path, "--json"))] == [1, 2]
    judged = printed(assay("review", path, "--id", "1", "--verdict", "different", "--reviewer", "Ana", "--json"))
    assert [(item["verdict"], item["reviewer"]) for item in judged] == [("different", "Ana")]
    assert [item["id"] for item in printed(assay("review", path, "--json"))] == [2]
    assert [item["verdict"] for item in printed(assay("review", path, "--all", "--json"))] == ["different", None]
    assert "to judge" in assay("review", path)[1]


def test_a_grant_is_signed_and_appended(assay, path, tmp_path):
    assert main.invoke(["keygen", "--out", str(tmp_path / "key")]) == 0
    settings = ("--key", tmp_path / "key", "--licensor", "Jane Doe", "--licensee", "Us", "--terms", "CC0")
    assay("grant", path, *settings, "--domain", "x.org", "--creator", "Jane Doe", "--expires", "2030-01-01")
    entry = printed(assay("list", path, "--json"))["entries"][0]
    assert (entry["kind"], entry["keys"]) == ("grant", ["domain:x.org", "creator:jane doe"])
    assert assay("grant", path, *settings)[0] == 2
    assert assay("grant", path, *settings, "--domain", "x.org", "--expires", "soon")[0] == 2
