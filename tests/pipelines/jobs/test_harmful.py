"""A picture on a hash list leaves a count and nothing else, in any artefact of the run."""

import hashlib
import io
import json

import pytest
from making import picture, sample, write_recipe, write_tar
from PIL import Image

from filters.scorers.pdq import pdq_hash
from pipelines.commands.main import invoke
from pipelines.run.directory import open_run


def everything(folder) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.mark.parametrize("kind", ["md5", "sha256", "pdq"])
def test_nothing_of_a_listed_picture_is_kept_and_the_counts_add_up(tmp_path, capsys, kind):
    listed = sample(3, "a caption to forget", creator="somebody to forget", url="https://forget.example.org/x.png")
    write_tar(tmp_path / "in" / "0.tar", *(sample(i) for i in range(3)), listed, sample(4))
    data = picture(3)
    if kind == "pdq":
        code, quality = pdq_hash(Image.open(io.BytesIO(data)).convert("RGB"))
        assert quality >= 50
        line = code.hex()
    else:
        line = hashlib.new(kind, data).hexdigest()
    (tmp_path / "list.csv").write_text(f"type,hash\n{kind},{line}\n")
    recipe = write_recipe(tmp_path, tmp_path / "in", rights={"harmful": [str(tmp_path / "list.csv")]})
    out = tmp_path / "run"
    assert invoke(["run", str(recipe), "--out", str(out), "--runner", "plain", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["samples"], found["kept"], found["dropped"]) == (5, 4, {"KNOWN_HARMFUL": 1})
    for name in ("samples", "scores", "ledger", "matches", "signals"):
        for table in open_run(str(out)).tables(name):
            assert "forget" not in str(table.to_pylist())
    kept = everything(out)
    sha256 = hashlib.sha256(data).hexdigest().encode()
    assert data not in kept
    assert sha256 not in kept
    assert b"forget" not in kept
    assert listed["s00003.png"][40:80] not in kept


def test_a_list_that_cannot_be_read_stops_the_run_in_one_line(tmp_path, capsys):
    write_tar(tmp_path / "in" / "0.tar", sample(0))
    (tmp_path / "list.csv").write_text("type,hash\nmd5,not a hash\n")
    recipe = write_recipe(tmp_path, tmp_path / "in", rights={"harmful": [str(tmp_path / "list.csv")]})
    assert invoke(["run", str(recipe), "--out", str(tmp_path / "run"), "--runner", "plain"]) == 2
    assert "list.csv:2" in capsys.readouterr().err.splitlines()[-1]
