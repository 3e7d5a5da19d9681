"""The operator's key: made once, whole, by whichever process comes first."""

import json
import os
import signal
import subprocess
import sys

import pytest

from filters.errors import BadInput
from pipelines.run.signing import generate, key_id, load_private, load_public, operator_key

#: Forks a child for each folder and piece of code that it is given: the child runs the code, waits for the others, and
#: asks for the key.
ASK = """
import json, os, signal, sys, time
from filters.errors import BadInput
from pipelines.run.signing import key_id, operator_key
wait, go = os.pipe()
def child(folder, code, say):
    os.close(go); os.read(wait, 1)
    os.environ["XDG_CONFIG_HOME"] = folder
    exec(code, globals())
    try:
        os.write(say, key_id(operator_key().public_key()).encode())
    except BadInput as error:
        os.write(say, f"refused: {error}".encode())
    os._exit(0)
children = []
for folder, code in json.load(sys.stdin):
    told, say = os.pipe()
    pid = os.fork()
    if not pid:
        child(folder, code, say)
    os.close(say)
    children.append((pid, told))
os.close(go)
ends = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid, _ in children]
print(json.dumps([(end, os.read(told, 9999).decode()) for end, (_, told) in zip(ends, children)]))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "assay"


def asked(*children):
    """Exit code and answer of children that ask at once, each in its folder and with its code run before."""
    words = [(str(folder.parent), code) for folder, code in children]
    done = subprocess.run([sys.executable, "-c", ASK], input=json.dumps(words), text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def operator_id() -> str:
    return key_id(operator_key().public_key())


def test_processes_that_ask_at_once_get_the_same_key(folder):
    """Two are slow between a file's opening and its content: so others would come to see half of it."""
    slow = "real = os.fdopen\ndef late(*a): time.sleep(0.2); return real(*a)\nos.fdopen = late"
    told = asked((folder, slow), (folder, slow), (folder, "time.sleep(0.1)"), (folder, ""))
    assert told == [[0, operator_id()]] * 4
    assert key_id(load_public(folder / "operator.pem.pub")) == operator_id()
    assert sorted(os.listdir(folder)) == ["operator.pem", "operator.pem.pub"]
    assert (folder / "operator.pem").stat().st_mode & 0o777 == 0o600


def test_a_maker_that_is_killed_leaves_no_half_key(tmp_path, monkeypatch):
    calls = ("fdopen", "fsync", "link", "unlink")
    folders = [tmp_path / call / "assay" for call in calls]
    # Python 3.10's Path.unlink keeps an os.unlink of its own
    kill = "from pathlib import Path\nos.%s = Path.unlink = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)"
    told = asked(*[(folder, kill % call) for folder, call in zip(folders, calls, strict=True)])
    assert told == [[-signal.SIGKILL, ""]] * 4
    for folder in folders:
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
        monkeypatch.setenv("XDG_CONFIG_HOME", str(folder.parent))
        first = operator_id()
        assert operator_id() == first == key_id(load_public(folder / "operator.pem.pub"))


def test_a_public_half_that_was_not_written_is_made_again(folder):
    first = operator_id()
    (folder / "operator.pem.pub").unlink()
    assert operator_id() == first == key_id(load_public(folder / "operator.pem.pub"))


def test_a_public_half_alone_is_neither_replaced_nor_given_another_key(folder):
    operator_id()
    (folder / "operator.pem").unlink()
    before = (folder / "operator.pem.pub").read_bytes()
    with pytest.raises(BadInput, match="its private key is gone; put it back"):
        operator_key()
    assert (folder / "operator.pem.pub").read_bytes() == before
    assert not (folder / "operator.pem").exists()


def test_a_folder_that_cannot_be_written_is_one_line(folder):
    folder.parent.mkdir()
    folder.write_text("no folder")
    with pytest.raises(BadInput, match=r"operator\.pem: cannot be written \(.*\); name a key with --key"):
        operator_key()


def test_a_key_that_was_asked_for_by_name_is_never_replaced(tmp_path):
    public = generate(tmp_path / "my.pem")
    assert key_id(load_public(public)) == key_id(load_private(tmp_path / "my.pem").public_key())
    with pytest.raises(BadInput, match="there is a key already"):
        generate(tmp_path / "my.pem")
    (tmp_path / "my.pem").unlink()
    with pytest.raises(BadInput, match="there is a key already"):
        generate(tmp_path / "my.pem")
    assert not (tmp_path / "my.pem").exists()
