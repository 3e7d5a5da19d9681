from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from openclipart_debs import GPL, PUBLIC_DOMAIN, build_deb, build_debs, contents, png, records, svg
from typer.testing import CliRunner

from filters.errors import BadInput
from pipelines.commands.corpus import app
from pipelines.sources import openclipart as module
from pipelines.sources.openclipart import make_keys, write_corpus

NAMES = ("openclipart-png", "openclipart-svg")
pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed")


def test_records_say_what_the_packages_say(tmp_path: Path, debs: list[Path]) -> None:
    summary = write_corpus(tmp_path / "out", debs)
    found = records(tmp_path / "out")

    assert list(found) == ["animals--cat", "animals--link", "plain", "tools--chip_v_2_01"]
    cat = found["animals--cat"]
    assert cat.pop("png") == png(1)
    assert cat == {
        "caption": " Кот — 猫 &amp; café\n",
        "title": " Кот — 猫 &amp; café\n",
        "description": None,
        "keywords": ["pet", "house cat"],
        "creator": "Zoë Ångström",
        "licence": PUBLIC_DOMAIN,
        "rights": "CopyLeft",
        "date": "23-07-05",
        "name": "cat.png",
        "folder": "animals",
        "url": "openclipart:animals/cat.png",
        "link_to": None,
        "source": dict.fromkeys(NAMES, "1:0.18-19"),
    }
    chip = found["tools--chip_v_2_01"]
    assert (chip["caption"], chip["title"], chip["licence"]) == ("a chip", None, GPL)
    assert (found["plain"]["caption"], found["plain"]["licence"]) == ("", None)
    link = found["animals--link"]
    assert (link["png"], link["link_to"], link["url"]) == (png(3), "plain.png", "openclipart:animals/link.png")

    assert (summary["samples"], summary["links"], summary["creators"]) == (4, 1, 1)
    assert (summary["empty_captions"], summary["without_licence"]) == (2, 2)
    assert summary["licences"] == {PUBLIC_DOMAIN: 1, GPL: 1}
    assert (summary["refused"], summary["metadata_errors"]) == ([], {})
    assert summary == json.loads((tmp_path / "out" / "corpus.json").read_text())


def test_the_same_packages_give_the_same_bytes(tmp_path: Path, debs: list[Path]) -> None:
    write_corpus(tmp_path / "a", debs, shard_size=3)
    previous = os.umask(0o077)
    try:
        write_corpus(tmp_path / "b", debs[::-1], shard_size=3)
    finally:
        os.umask(previous)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    with tarfile.open(tmp_path / "a" / "openclipart-00000.tar") as tar:
        facts = {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode, m.isreg()) for m in tar.getmembers()}
    assert facts == {(0, 0, 0, "", "", 0o644, True)}


def test_limit_takes_the_first_names(tmp_path: Path, debs: list[Path]) -> None:
    summary = write_corpus(tmp_path / "out", debs, shard_size=1, limit=2)
    assert [shard["samples"] for shard in summary["shards"]] == [1, 1]
    assert list(records(tmp_path / "out")) == ["animals--cat", "animals--link"]


def test_links_out_of_the_package_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(png(7))
    out_of = Path("../" * 20 + str(secret).lstrip("/"))
    pngs: dict[str, bytes | Path] = {"good.png": png(1), "a.png": secret, "b.png": out_of, "c.png": Path("gone.png")}
    pngs |= {"d.png": Path("/"), "e.png": Path("e.png"), "f.png": Path("/dev/zero"), "folder.png/good.png": png(2)}
    svgs: dict[str, bytes | Path] = {"good.svg": tmp_path / "secret.svg"}
    (tmp_path / "secret.svg").write_bytes(svg("the secret"))

    summary = write_corpus(tmp_path / "out", build_debs(tmp_path / "debs", pngs, svgs))

    assert [entry["name"] for entry in summary["refused"]] == ["a.png", "b.png", "c.png", "d.png", "e.png", "f.png"]
    found = records(tmp_path / "out")
    assert list(found) == ["folder_png--good", "good"]
    assert found["good"]["metadata_error"] == "the SVG is a link that leaves the packages or ends nowhere"
    assert found["good"]["caption"] == ""


def test_a_file_name_that_is_no_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 x.png")
    write_corpus(tmp_path / "out", build_debs(tmp_path / "debs", {name: png(1)}, {"caf.svg": svg()}))
    [(key, record)] = records(tmp_path / "out").items()
    assert (key, record["name"], record["url"]) == ("caf__x", "caf\ufffd x.png", "openclipart:caf%E9%20x.png")


def test_keys_are_unique_readable_and_have_no_dot() -> None:
    keys = make_keys(["a/b.c.png", "a--b_c.png", "a/x.png", ".png", "très long.png"])
    assert len(set(keys.values())) == 5
    assert not any("." in key or "/" in key or not key for key in keys.values())
    assert keys["a/x.png"] == "a--x"
    assert keys["a/b.c.png"].startswith("a--b_c-")
    assert keys["très long.png"] == "très_long"
    assert make_keys(["a--b_c.png", "a/b.c.png"])["a/b.c.png"] == keys["a/b.c.png"]


def test_a_long_name_survives(tmp_path: Path) -> None:
    name = "/".join(["folder" * 10] * 3) + "/" + "n" * 200
    write_corpus(
        tmp_path / "out", build_debs(tmp_path / "debs", {f"{name}.png": png(1)}, {f"{name}.svg": svg("long")})
    )
    assert [record["caption"] for record in records(tmp_path / "out").values()] == ["long"]


def test_a_finished_corpus_is_checked_and_left_alone(tmp_path: Path, debs: list[Path]) -> None:
    out = tmp_path / "out"
    summary = write_corpus(out, debs)
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert write_corpus(out, debs) == summary
    for deb in debs:
        deb.unlink()
    assert write_corpus(out) == summary
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


def test_an_interrupted_run_is_finished_by_the_next(
    tmp_path: Path, debs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, calls = tmp_path / "out", Counter[str]()

    def interrupted(path: Path) -> dict[str, Any]:
        calls["read"] += 1
        if calls["read"] == 4:
            raise KeyboardInterrupt
        return real(path)

    real = module.read_rdf
    monkeypatch.setattr(module, "read_rdf", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_corpus(out, debs, shard_size=1)
    assert sorted(contents(out)) == [f"openclipart-0000{i}.tar" for i in range(3)]

    # What a killed process leaves, and a shard of a run with other settings.
    (out / ".tmp-1-abc-openclipart-00003.tar").write_bytes(b"half")
    (out / ".unpacked-abc" / "usr").mkdir(parents=True)
    (out / "openclipart-00000.tar").write_bytes(b"other")
    write_corpus(out, debs, shard_size=2)
    write_corpus(tmp_path / "straight", debs, shard_size=2)
    assert contents(out) == contents(tmp_path / "straight")


def test_two_at_once_write_one_corpus(tmp_path: Path, debs: list[Path]) -> None:
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(write_corpus, tmp_path / "out", debs) for _ in range(2)]
    assert jobs[0].result() == jobs[1].result()
    assert sorted(contents(tmp_path / "out")) == ["corpus.json", "openclipart-00000.tar"]


def finished_with(change: Callable[[Path], object]) -> Callable[[Path, list[Path]], None]:
    def prepare(out: Path, debs: list[Path]) -> None:
        write_corpus(out, debs)
        change(out)

    return prepare


def flip_a_byte(out: Path) -> None:
    shard = out / "openclipart-00000.tar"
    data = bytearray(shard.read_bytes())
    data[600] ^= 1
    shard.write_bytes(data)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda out, debs: out.write_text("x"), "is not a folder"),
        (lambda out, debs: (out.mkdir(), (out / "notes.txt").touch()), "holds other files ('notes.txt')"),
        (finished_with(flip_a_byte), "the shards are not those"),
        (finished_with(lambda out: (out / "openclipart-00000.tar").unlink()), "the shards are not those"),
        (finished_with(lambda out: (out / "openclipart-00001.tar").touch()), "the shards are not those"),
        (finished_with(lambda out: (out / "corpus.json").write_text("{")), "is damaged"),
        (finished_with(lambda out: (out / "corpus.json").write_text("[]")), "is damaged"),
        (lambda out, debs: write_corpus(out, debs, shard_size=2), "of other packages or another shard size"),
    ],
    ids=["file", "foreign", "changed", "lost", "extra", "cut", "list", "settings"],
)
def test_a_folder_that_holds_something_else_is_refused(
    tmp_path: Path, debs: list[Path], prepare: Callable[[Path, list[Path]], object], message: str
) -> None:
    out = tmp_path / "out"
    prepare(out, debs)
    before = contents(out) if out.is_dir() else None
    with pytest.raises(BadInput) as caught:
        write_corpus(out, debs)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert before is None or contents(out) == before


def test_other_packages_are_not_mixed_into_a_finished_corpus(tmp_path: Path, debs: list[Path]) -> None:
    write_corpus(tmp_path / "out", debs)
    others = build_debs(tmp_path / "others", {"y.png": png(1)}, {"y.svg": svg("y")})
    with pytest.raises(BadInput, match="of other packages"):
        write_corpus(tmp_path / "out", others)


def test_wrong_packages_are_refused_in_one_line(tmp_path: Path, debs: list[Path]) -> None:
    other = build_deb(tmp_path, "cowsay", {"usr/games/cowsay": b"moo"})
    text = tmp_path / "text.deb"
    text.write_text("no archive")
    cut = tmp_path / "cut.deb"
    cut.write_bytes(debs[0].read_bytes()[:-400])
    bare = build_deb(tmp_path, "openclipart-png", {"usr/share/doc/x": b"x"})
    cases: dict[str, list[Path]] = {
        "is the package cowsay; needed: openclipart-png and openclipart-svg": [debs[0], other],
        "text.deb is not a Debian package": [text, debs[1]],
        "no file given for the package openclipart-svg": [debs[0]],
        "a second time": [debs[0], debs[0]],
        "no such file": [debs[0], tmp_path / "none.deb"],
        "cannot unpack": [cut, debs[1]],
        "holds no PNG": [bare, debs[1]],
    }
    for message, files in cases.items():
        with pytest.raises(BadInput) as caught:
            write_corpus(tmp_path / "out", files)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists() or not contents(tmp_path / "out")


@pytest.mark.parametrize("arguments", [{"shard_size": 0}, {"limit": 0}])
def test_impossible_arguments_are_refused(tmp_path: Path, debs: list[Path], arguments: dict[str, int]) -> None:
    with pytest.raises(BadInput, match="at least 1"):
        write_corpus(tmp_path / "out", debs, **arguments)


def test_the_command_prints_the_summary(tmp_path: Path, debs: list[Path]) -> None:
    command = ["openclipart", "--out", str(tmp_path / "out"), "--deb", str(debs[0]), "--deb", str(debs[1])]
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {"out": str(tmp_path / "out"), **write_corpus(tmp_path / "out")}
    again = CliRunner().invoke(app, command)
    assert "4 samples (1 links) in 1 shards, 1 artists, 2 without licence" in again.stdout


def test_the_command_lets_bad_input_through(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["openclipart", "--out", str(tmp_path / "out"), "--deb", str(tmp_path / "none.deb")]
    )
    assert isinstance(done.exception, BadInput)


def test_the_real_corpus(openclipart: Path) -> None:
    summary = json.loads((openclipart / "corpus.json").read_text())
    assert (summary["samples"], summary["links"], summary["without_licence"]) == (8121, 1221, 61)
    # 528 with the empty name, which the 61 without licence have.
    assert summary["creators"] == 527
    assert summary["licences"][GPL] == 4
    assert (summary["empty_captions"], summary["refused"], summary["metadata_errors"]) == (61, [], {})

    found = records(openclipart)
    assert len(found) == 8121
    assert len({record["url"] for record in found.values()}) == 8121
    assert sum(record["title"] is None for record in found.values()) == 62
    assert Counter(record["creator"] for record in found.values()).most_common(1) == [("codifiedivining", 1375)]
    # Their metadata stands behind Adobe Illustrator's entities.
    assert found["office--floppy_frederic_moser_01"]["creator"] == "Frédéric Moser"
    assert all(record["png"].startswith(b"\x89PNG\r\n\x1a\n") for record in found.values())
