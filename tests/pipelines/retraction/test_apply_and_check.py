"""A registry that grows: the check refuses until its entries are applied, and then finds nothing."""

import json
import shutil
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from making import picture, sample, write_recipe, write_tar

from filters.errors import BadInput, GateRefused
from filters.optout.entries import Draft, Kind
from filters.optout.grants import sign_grant
from pipelines.commands.main import invoke
from pipelines.jobs.apply import apply
from pipelines.jobs.check import check, require_clear
from pipelines.jobs.match import pinned
from pipelines.jobs.retract import Keys
from pipelines.registry.store import create_registry, open_registry
from pipelines.run.directory import open_run
from pipelines.run.manifest import read_manifest, verify
from pipelines.run.signing import generate

KEYS = Keys(Ed25519PrivateKey.generate())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """30 samples by three artists, from three hosts; entry 1 of the registry opts artist 0 out beforehand."""
    folder = tmp_path_factory.mktemp("made")
    public = generate(folder / "grants.pem")
    for part in range(3):
        numbers = range(part * 10, part * 10 + 10)
        members = [sample(i, url=f"https://www.host{i % 3}.example.org/a/{i}.png") for i in numbers]
        write_tar(folder / "in" / f"{part}.tar", *members)
    with create_registry(str(folder / "registry.sqlite")) as registry:
        registry.append([Draft(Kind.CREATOR, "0, Artist", requester="the artist")])
    rights = {"registry": str(folder / "registry.sqlite"), "grant_keys": [str(public)]}
    scorers = ["size", "hashes", "caption", "technical", "pdq"]
    recipe = write_recipe(folder, folder / "in", shards={"samples": 5}, rights=rights, scorers=scorers)
    assert invoke(["run", str(recipe), "--out", str(folder / "run"), "--runner", "plain"]) == 0
    return folder


@pytest.fixture
def run(made, tmp_path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    for recipe in (tmp_path / "recipe.yaml", tmp_path / "run" / "recipe.yaml"):
        recipe.write_text(recipe.read_text().replace(str(made), str(tmp_path)))
    # the copy's recipe names other paths
    opened = open_run(str(tmp_path / "run"))
    body = read_manifest(opened)
    data = opened.store.read("recipe.yaml")
    body["files"]["recipe.yaml"] = {"size": len(data), "sha256": __import__("hashlib").sha256(data).hexdigest()}
    opened.store.write("manifest.json", json.dumps(body).encode())
    return opened


def add(run, *drafts: Draft) -> None:
    with open_registry(str(run.recipe.rights.registry)) as registry:
        registry.append(drafts)


def decisions(run) -> dict[str, list[str]]:
    keys = [key for table in run.tables("samples", ["key"]) for key in table.column("key").to_pylist()]
    rows = [row for table in run.tables("ledger") for row in table.to_pylist()]
    return {key: row["reasons"] for key, row in zip(keys, rows, strict=True)}


def codes(run, **settings: object) -> list[str]:
    return [problem.code for problem in check(run, **settings).problems]


def test_what_was_opted_out_before_the_run_is_not_in_it(run):
    found = decisions(run)
    assert {found[f"s{i:05d}"] == ["REGISTRY_OPT_OUT"] for i in range(0, 30, 3)} == {True}
    assert sum(not reasons for reasons in found.values()) == 20
    assert pinned(run).seq == 1
    assert check(run).ok


@pytest.mark.parametrize(
    ("draft", "gone"),
    [
        (Draft(Kind.CREATOR, "ARTIST 1"), list(range(1, 30, 3))),
        (Draft(Kind.DOMAIN, "host1.example.org"), list(range(1, 30, 3))),
        (Draft(Kind.URL, "https://www.host2.example.org/a/5.png"), [5]),
        (Draft(Kind.URL_PREFIX, "https://www.host2.example.org/a/"), list(range(2, 30, 3))),
    ],
)
def test_each_kind_of_entry_is_applied_and_only_then_is_the_check_content(run, draft, gone):
    add(run, draft)
    assert codes(run) == ["UNAPPLIED_ENTRY"]
    with pytest.raises(GateRefused, match="UNAPPLIED_ENTRY"):
        require_clear(run)
    record = apply(run, None, KEYS)
    assert len(record["left"]) == len(gone)
    new = open_run(run.store.url)
    assert [key for key, found in decisions(new).items() if "REGISTRY_OPT_OUT" in found and int(key[1:]) % 3] == [
        f"s{i:05d}" for i in gone
    ]
    assert check(new).ok
    assert verify(new) == []


def test_a_picture_is_found_by_its_hash_and_by_its_looks(run):
    import hashlib
    import io

    from PIL import Image

    from filters.scorers.pdq import pdq_hash

    exact = hashlib.sha256(picture(4)).hexdigest()
    mirrored = Image.open(io.BytesIO(picture(8))).convert("RGB").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    code, quality = pdq_hash(mirrored)
    assert quality >= 50
    add(run, Draft(Kind.SHA256, exact), Draft(Kind.PDQ, code.hex()))
    apply(run, None, KEYS)
    found = decisions(open_run(run.store.url))
    assert found["s00004"] == ["REGISTRY_OPT_OUT"]
    assert found["s00008"] == ["LOOK_ALIKE"]
    assert check(open_run(run.store.url)).ok


def test_a_signed_grant_keeps_the_sample_and_an_unsigned_one_does_not(run, tmp_path):
    from pipelines.run.signing import load_private

    trusted = load_private(tmp_path / "grants.pem")
    covers = [(Kind.CREATOR, "artist 1")]
    papers = {"licensor": "Artist 1", "licensee": "us"}
    add(run, Draft(Kind.CREATOR, "artist 1"), Draft(Kind.GRANT, sign_grant(covers, trusted, **papers)))
    other = sign_grant([(Kind.CREATOR, "artist 2")], Ed25519PrivateKey.generate(), **papers)
    add(run, Draft(Kind.CREATOR, "artist 2"), Draft(Kind.GRANT, other))
    record = apply(run, None, KEYS)
    assert len(record["left"]) == 10
    found = decisions(open_run(run.store.url))
    assert found["s00001"] == []
    assert found["s00002"] == ["REGISTRY_OPT_OUT"]
    assert check(open_run(run.store.url)).ok


def test_nothing_new_changes_the_date_and_not_the_content(run):
    before = read_manifest(run)
    record = apply(run, None, KEYS)
    assert record["after"] == before["content_hash"]
    assert read_manifest(run)["content_hash"] == before["content_hash"]
    assert check(run).ok


def test_an_old_consultation_another_registry_and_none_are_refused(run, tmp_path):
    later = datetime.now(timezone.utc) + timedelta(days=31)
    assert codes(run, now=later) == ["REGISTRY_OLD"]
    create_registry(str(tmp_path / "other.sqlite")).close()
    assert codes(run, registry=str(tmp_path / "other.sqlite")) == ["REGISTRY_OTHER"]
    with pytest.raises(BadInput, match="not the registry"):
        apply(run, str(tmp_path / "other.sqlite"), KEYS)
    run.store.delete("registry.json")
    assert "NO_REGISTRY" in codes(run)


def test_the_check_does_not_believe_the_ledger(run, tmp_path):
    """A kept sample that a match denies, whose evidence is lost, or that no ledger row knows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = tmp_path / "run" / "matches" / "part-00000.parquet"
    table = pq.read_table(name)
    victim = next(r["uid"] for r in run.table("ledger", 0).to_pylist() if r["decision"] == "kept")
    row = {**table.to_pylist()[0], "uid": victim}
    pq.write_table(pa.concat_tables([table, pa.Table.from_pylist([row], schema=table.schema)]), name)
    assert codes(run) == ["FILE_CHANGED", "DENIED_BUT_KEPT"]
    signals = tmp_path / "run" / "signals" / "part-00001.parquet"
    signals.rename(tmp_path / "gone")
    assert codes(run) == ["FILE_CHANGED", "FILE_MISSING", "DENIED_BUT_KEPT", "EVIDENCE_MISSING"]


def test_through_the_command_line_as_a_user_would(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    registry, folder = str(tmp_path / "registry.sqlite"), str(tmp_path / "run")
    assert invoke(["check", folder]) == 0
    assert invoke(["optout", "add", registry, "--creator", "Artist 2"]) == 0
    assert invoke(["check", folder]) == 3
    assert "UNAPPLIED_ENTRY" in capsys.readouterr().err
    assert invoke(["check", folder, "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["problems"][0]["code"] == "UNAPPLIED_ENTRY"
    assert invoke(["optout", "apply", folder, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    receipt = f"{folder}/{record['receipts'][0]}"
    assert invoke(["optout", "receipt", "show", receipt]) == 0
    assert "10 sample(s) matched" in capsys.readouterr().out
    public = str(tmp_path / "config" / "assay" / "operator.pem.pub")
    assert invoke(["optout", "receipt", "verify", receipt, "--public-key", public]) == 0
    assert invoke(["check", folder]) == 0
    assert invoke(["manifest", "verify", folder]) == 0


KILL = """
import os, sys
count, stop = 0, int(sys.argv[1])
real = {name: getattr(os, name) for name in ("replace", "fsync")}
def counted(name):
    def call(*arguments, **settings):
        global count
        count += 1
        if count == stop:
            os._exit(9)
        return real[name](*arguments, **settings)
    return call
for name in real:
    setattr(os, name, counted(name))
from pipelines.commands.main import invoke
code = invoke(["optout", "apply", sys.argv[2], "--key", sys.argv[3]])
print(count)
sys.exit(code)
"""


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_killed_at_any_write_it_is_the_old_dataset_or_the_new_one(run, tmp_path):
    generate(tmp_path / "key.pem")
    add(run, Draft(Kind.CREATOR, "artist 1"))
    old = read_manifest(run)["content_hash"]
    ends, stop = set(), 1
    while True:
        folder = tmp_path / f"killed-{stop}"
        shutil.copytree(tmp_path / "run", folder)
        command = [sys.executable, "-c", KILL, str(stop), str(folder), str(tmp_path / "key.pem")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = open_run(str(folder))
        assert verify(found) == []
        same = read_manifest(found)["content_hash"] == old
        ends.add(same)
        assert codes(found) == (["UNAPPLIED_ENTRY"] if same else [])
        kept = sum(not reasons for reasons in decisions(found).values())
        assert kept == (20 if same else 10)
        if done.returncode == 0:
            break
        shutil.rmtree(folder)
        stop += 7
    assert ends == {True, False}
    assert stop > 20


def test_a_manifest_written_anew_passes_only_where_nobody_says_who_must_have_signed(run, tmp_path, capsys):
    key, public = tmp_path / "key.pem", generate(tmp_path / "key.pem")
    other = generate(tmp_path / "other.pem")
    recipe = str(tmp_path / "recipe.yaml")
    assert invoke(["run", recipe, "--out", str(tmp_path / "signed"), "--runner", "plain", "--key", str(key)]) == 0

    def refused(*options):
        capsys.readouterr()
        code = invoke(["check", str(tmp_path / "signed"), "--json", *map(str, options)])
        return code, [problem["code"] for problem in json.loads(capsys.readouterr().out)["problems"]]

    assert refused("--public-key", public) == (0, [])
    assert refused("--public-key", other) == (3, ["WRONG_KEY"])
    manifest = tmp_path / "signed" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b" ")
    assert refused() == (3, ["SIGNATURE_INVALID"])
    (tmp_path / "signed" / "manifest.sig").unlink()
    assert refused() == (0, [])
    assert refused("--public-key", public) == (3, ["NOT_SIGNED"])
    config = Path(__file__).parents[3] / "examples" / "train" / "demo.yaml"
    train = ["train", str(config), "--data", str(tmp_path / "signed"), "--out", str(tmp_path / "model")]
    assert invoke([*train, "--public-key", str(public)]) == 3
    assert "NOT_SIGNED" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()
