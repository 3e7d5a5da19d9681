"""`assay doctor`: every scorer says where it was measured; the precision check reads real pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from filters.encoders import precision
from filters.errors import BadInput
from filters.registry import DEFAULT, SCORERS
from pipelines.commands.doctor import _captioned
from pipelines.commands.main import app
from pipelines.commands.measured import measured

PROBE = Path(precision.__file__).parent / "probe"


def test_every_scorer_says_where_it_was_measured():
    assert "nowhere" not in {measured(name, "builtin:mini") for name in SCORERS}
    assert "mini.md" in measured("similarity", "builtin:mini")
    assert "assay evaluate retrieval" in measured("similarity", "open-clip:ViT-B-32/openai")


def test_pictures_with_captions_are_read_from_a_folder(tmp_path):
    shutil.copy(PROBE / "lamp.png", tmp_path)
    (tmp_path / "lamp.txt").write_text("a lamp\n")
    shutil.copy(PROBE / "beer.png", tmp_path)  # no caption
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "broken.txt").write_text("broken")
    pictures, captions = _captioned(tmp_path)
    assert captions == ["a lamp"]
    assert pictures[0].mode == "RGB"
    with pytest.raises(BadInput, match=r"NAME\.txt"):
        _captioned(tmp_path / "nothing")


def test_doctor_prints_models_checksums_and_precision():
    done = CliRunner().invoke(app, ["doctor", "--runner", "plain", "--json"])
    found = json.loads(done.stdout)
    checks = {check["name"]: check for check in found["checks"]}
    assert done.exit_code == 0, [check for check in found["checks"] if not check["ok"]]
    assert "@sha256:" in checks["scorer similarity"]["detail"]
    assert all(checks[f"scorer {name}"]["measured"] for name in DEFAULT)
    assert checks["precision"]["detail"] == "fp32, nothing is rounded"
