"""`assay train` and the gate as a whole: broken chains stop it before a file is written, a waiver lets it start."""

import json
import sqlite3
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tiny import YAML
from training_runs import copy_run, make_run, opened

from filters.optout.entries import Draft, Kind
from pipelines.commands.main import invoke
from pipelines.jobs.apply import apply
from pipelines.jobs.retract import Keys
from pipelines.registry.store import open_registry
from training.checkpoints import checkpoints, read_facts

SHORT = ["autoencoder.kind=pixels", "loop.steps=1"]


def command(folder, out):
    """The arguments of the shortest training on the run of `folder`."""
    config = folder / "train.yaml"
    config.write_text(YAML)
    settings = [part for one in SHORT for part in ("--set", one)]
    return ["train", str(config), "--data", str(folder / "run"), "--out", str(out), *settings]


@pytest.fixture
def applied(dataset, tmp_path) -> Path:
    """A run to which an opt-out of one artist was applied: its second version, by the registry's first entry."""
    own = copy_run(dataset, tmp_path / "own")
    with open_registry(str(own / "registry.sqlite")) as registry:
        registry.append([Draft(Kind.CREATOR, "Artist 1")])
    apply(opened(own), None, Keys(Ed25519PrivateKey.generate()))
    return own


def _registry(folder: Path) -> None:
    """Change the applied entry behind the registry's back; its hash stays as it was."""
    connection = sqlite3.connect(folder / "registry.sqlite", isolation_level=None)
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    assert connection.execute("UPDATE optout_entries SET value = 'Artist 2' WHERE seq = 1").rowcount == 1
    connection.close()


def _cut_registry(folder: Path) -> None:
    """Take the applied entry away."""
    connection = sqlite3.connect(folder / "registry.sqlite", isolation_level=None)
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    assert connection.execute("DELETE FROM optout_entries").rowcount == 1
    connection.close()


def _version(folder: Path) -> None:
    """Change what the version before is kept as."""
    (kept,) = (folder / "run" / "history").glob("*.json")
    body = json.loads(kept.read_text())
    body["content"]["counts"] = {}
    kept.write_text(json.dumps(body))


def _record(folder: Path) -> None:
    """Let the record of the retraction name another version before it."""
    (kept,) = (folder / "run" / "retractions").glob("*.json")
    kept.write_text(kept.read_text().replace(json.loads(kept.read_text())["before"], "0" * 64))


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (_registry, "REGISTRY_BROKEN"),
        (_cut_registry, "REGISTRY_OTHER"),
        (_version, "VERSION_CHANGED"),
        (_record, "CHAIN_BROKEN"),
    ],
)
def test_a_broken_chain_stops_a_training_before_anything_is_written(applied, tmp_path, capsys, spoil, code):
    spoil(applied)
    assert invoke(command(applied, tmp_path / "model")) == 3
    error = capsys.readouterr().err
    assert code in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "model").exists()


def test_whole_chains_let_it_start(applied, tmp_path):
    assert invoke(command(applied, tmp_path / "model")) == 0


def test_a_failed_gate_stops_a_training_until_somebody_waives_it(tmp_path, capsys):
    gates = {"named": {"coverage": {"group": "gender_terms", "min": 0.9}}}
    groups = {"gender_terms": {"kind": "terms", "lexicon": "gender_terms"}}
    own = make_run(tmp_path / "own", samples=20, audit={"groups": groups}, gates=gates)
    capsys.readouterr()
    assert invoke(command(own, tmp_path / "model")) == 3
    error = capsys.readouterr().err
    assert "GATE_FAILED" in error
    assert "named" in error
    assert not (tmp_path / "model").exists()
    who = ["--by", "Ada", "--why", "a test of twenty drawings"]
    assert invoke(["waive", str(own / "run"), "named", *who]) == 0
    assert invoke(command(own, tmp_path / "model")) == 0
    content = json.loads((own / "run" / "manifest.json").read_text())["content_hash"]
    assert read_facts(checkpoints(tmp_path / "model")[-1][1])["datasets"] == [content]
