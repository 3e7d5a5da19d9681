"""Where a run cannot be, and who holds its lock how long, is one clear line; strangers' folders stay as they are."""

import errno
import fcntl
import json
import os
import re
import socket
import time

import pytest

from filters.errors import BadInput
from pipelines.run.directory import locked_place
from pipelines.run.lock import locked
from pipelines.run.storage import Store


def refused(url):
    with pytest.raises(BadInput) as told, locked_place(url):
        pass
    (line,) = str(told.value).splitlines()
    return line


@pytest.mark.parametrize(
    ("place", "why"),
    [("file/run", "Not a directory"), ("x" * 300, "File name too long"), ("loop/run", "symbolic links")],
)
def test_a_place_where_no_folder_can_be(tmp_path, place, why):
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "loop").symlink_to("loop")
    assert re.search(
        rf"{place[:50]}.*: cannot be a run's folder \(.*{why}.*\); use another path", refused(f"{tmp_path}/{place}")
    )


def test_a_place_below_proc_and_an_empty_one(tmp_path):
    assert "cannot be a run's folder (No such file or directory)" in refused("/proc/nope/run")
    assert "an empty path: give the folder or URL" in refused("")


def test_a_strangers_folder_or_file_is_left_as_it_is(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"a cat")
    assert "exists and is no run (no recipe.yaml); use another --out" in refused(str(tmp_path / "photos"))
    assert "exists and is no run" in refused(str(tmp_path / "photos" / "cat.png"))
    assert os.listdir(tmp_path / "photos") == ["cat.png"]
    with locked_place(str(tmp_path / "new")):
        assert os.listdir(tmp_path / "new") == [".lock"]


def test_a_lock_that_is_a_link_empties_no_file_elsewhere(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "precious")
    assert "cannot be a run's folder" in refused(str(tmp_path / "run"))
    assert (tmp_path / "precious").read_text() == "kept"


def held(folder, text):
    """The line about a lock that someone else holds, in whose file `text` stands."""
    folder.mkdir(exist_ok=True)
    (folder / ".lock").write_text(text)
    with (folder / ".lock").open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        line = refused(str(folder))
    return re.search(r"another job works here \((.*)\); wait for it or stop it", line)[1]


def test_the_line_names_the_owner_and_how_long_it_has_worked(tmp_path):
    body = {"pid": 4711, "host": "far", "since": time.time() - 3600}
    assert re.fullmatch(r"process 4711 on far, for 36\d\d s", held(tmp_path / "a", json.dumps(body)))
    body["since"] += 10**6  # the clock was set back since
    assert held(tmp_path / "a", json.dumps(body)) == "process 4711 on far, for 0 s"
    body["host"] = "\x1b[2Jfar"
    assert held(tmp_path / "a", json.dumps(body)) == "process 4711 on [2Jfar, for 0 s"
    for text in ("", "[]", '{"pid": 1, "host": "x", "since": "noon"}', '{"pid": 1, "host": "x", "since": null}'):
        assert held(tmp_path / "a", text) == "owner unknown"
    with locked(Store(str(tmp_path / "b"))):
        before = time.time()
        (said,) = re.findall(
            rf"process {os.getpid()} on {re.escape(socket.gethostname())}, for (-?\d+) s", refused(str(tmp_path / "b"))
        )
        assert 0 <= int(said) <= 1 + time.time() - before


@pytest.mark.timeout(60)
def test_a_lock_that_is_a_pipe_is_told_and_not_waited_for(tmp_path):
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run" / ".lock")
    with (
        pytest.raises(BadInput, match=r"run/\.lock: is no plain file; remove it"),
        locked(Store(str(tmp_path / "run"))),
    ):
        pass


def test_a_disk_that_cannot_lock_is_told_in_one_line(tmp_path, monkeypatch):
    def refuses(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuses)
    with pytest.raises(BadInput, match=r"cannot lock a file \(No locks available\)"), locked(Store(str(tmp_path))):
        pass


def test_a_lock_of_any_bytes_is_one_that_somebody_left(tmp_path):
    (tmp_path / ".lock").write_bytes(b"\xff\xfe")
    (tmp_path / "x.parquet.tmp-1-a").write_bytes(b"left")
    with locked(Store(str(tmp_path))):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
    assert (tmp_path / ".lock").read_bytes() == b""
