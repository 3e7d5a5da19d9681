"""Retraction takes a sample out of everything that holds it, lets the next best in, and touches nothing else."""

import hashlib
import io
import json
import shutil
import tarfile
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from making import picture, sample, write_recipe, write_tar
from PIL import Image

from pipelines.commands.main import invoke
from pipelines.jobs.finish import run_counts
from pipelines.jobs.retract import Keys, Match, retract
from pipelines.registry.store import Snapshot
from pipelines.retraction.receipts import verify_receipt
from pipelines.retraction.versions import chain_problems
from pipelines.retraction.words import receipt_words
from pipelines.run.directory import open_run
from pipelines.run.manifest import read_manifest, verify
from pipelines.run.parts import PartWriter, part_name
from pipelines.run.trainings import Training, record_training

KEYS = Keys(Ed25519PrivateKey.generate())
SNAPSHOT = Snapshot(1, "00" * 32, datetime(2026, 11, 21, tzinfo=timezone.utc))


def smaller(data: bytes, size: tuple[int, int] = (72, 60)) -> bytes:
    """The same picture at another size: a near-duplicate that ranks below it."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).resize(size, Image.Resampling.LANCZOS).save(buffer, "PNG")
    return buffer.getvalue()


def copy_of(original: int, seed: int, caption: str, size: tuple[int, int] = (72, 60)) -> dict[str, bytes]:
    members = sample(seed, caption, creator=f"artist {original % 3}")
    return {
        name: smaller(picture(original), size) if name.endswith(".png") else data for name, data in members.items()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """40 samples in 4 parts and shards of 4; number 39 is a smaller copy of number 5, number 38 one of number 6."""
    folder = tmp_path_factory.mktemp("made")
    samples = [sample(i) for i in range(38)]
    samples += [copy_of(6, 38, "a copy of six"), copy_of(5, 39, "a copy of five")]
    for part in range(4):
        write_tar(folder / "in" / f"{part}.tar", *samples[part * 10 : part * 10 + 10])
    recipe = write_recipe(folder, folder / "in", shards={"samples": 4}, balance={"by": "creator", "cap": 12})
    assert invoke(["run", str(recipe), "--out", str(folder / "run"), "--runner", "plain"]) == 0
    return folder


@pytest.fixture
def run(made, tmp_path):
    """A copy of the run, with its own copy of the input."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    for recipe in (tmp_path / "recipe.yaml", tmp_path / "run" / "recipe.yaml"):
        recipe.write_text(recipe.read_text().replace(str(made), str(tmp_path)))
    return open_run(str(tmp_path / "run"))


def named(run, *positions: int, **fields: object) -> list[Match]:
    uids = [uid for table in run.tables("samples", ["uid"]) for uid in table.column("uid").to_pylist()]
    row = {"entry": 1, "kind": "creator", "method": "creator", "outcome": "deny", "distance": None, "detail": "named"}
    return [Match(position, {**row, "uid": uids[position], **fields}) for position in positions]


def apply(run, matches, **request: object):
    requests = [{"entry": 1, "kind": "creator", "value": "artist 2", **request}]
    retract(run, matches, requests, SNAPSHOT, KEYS)
    return open_run(run.store.url)


def ledger(run) -> list[dict[str, object]]:
    return [row for table in run.tables("ledger") for row in table.to_pylist()]


def receipt_of(run, entry: int = 1) -> dict[str, object]:
    return json.loads(run.store.read(f"receipts/entry-{entry:08d}.json"))["receipt"]


def files(run) -> dict[str, str]:
    root = Path(run.store.root)
    paths = [p for p in root.rglob("*") if p.is_file() and p.name != ".lock"]
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def shard_pictures(run) -> dict[str, bytes]:
    found = {}
    for name in run.store.list("shards"):
        if name.endswith(".tar"):
            with tarfile.open(fileobj=run.store.open(name)) as archive:
                for member in archive:
                    if member.name.endswith(".png"):
                        found[member.name[:-4]] = archive.extractfile(member).read()
    return found


def test_the_sample_is_gone_from_everything_and_the_rest_is_untouched(run):
    target = next(i for i, row in enumerate(ledger(run)) if row["decision"] == "kept" and row["cluster"] is None)
    uid, before = ledger(run)[target]["uid"], files(run)
    pictures = shard_pictures(run)
    new = apply(run, named(run, target))
    row = ledger(new)[target]
    assert (row["decision"], row["primary_reason"], row["shard"]) == ("dropped", "REGISTRY_OPT_OUT", None)
    assert set(shard_pictures(new)) == set(pictures) - {uid}
    assert verify(new) == []
    assert run_counts(new).balanced
    scores = new.table("scores", target // 10).to_pylist()[target % 10]
    assert all(scores[name] is None for name in scores if name not in ("uid", "skipped"))
    with tarfile.open(fileobj=new.store.open(part_name("thumbnails", target // 10, ".tar"))) as archive:
        assert uid not in {name[:-5] for name in archive.getnames()}
    after = files(new)
    changed = {name for name in before if after.get(name) != before[name]}
    touched = {f"{kind}/part-{target // 10:05d}" for kind in ("scores", "ledger", "thumbnails")}
    assert {name.split(".")[0] for name in changed if name.startswith(("scores", "ledger", "thumb"))} == touched
    assert len({name for name in changed if name.startswith("shards/shard") and name.endswith(".tar")}) == 1


def test_the_next_best_of_its_duplicates_follows_in_the_same_shard(run):
    rows = ledger(run)
    assert (rows[39]["duplicate_of"], rows[39]["primary_reason"]) == (rows[5]["uid"], "NEAR_DUPLICATE")
    new = apply(run, named(run, 5))
    follower = ledger(new)[39]
    assert (follower["decision"], follower["duplicate_of"]) == ("kept", None)
    assert follower["shard"] == rows[5]["shard"]
    assert shard_pictures(new)[follower["uid"]] == smaller(picture(5))
    sidecar = new.store.read(f"shards/shard-{follower['shard']:05d}.parquet")
    assert follower["uid"] in pq.read_table(io.BytesIO(sidecar)).column("uid").to_pylist()
    assert read_manifest(new)["content"]["counts"]["kept"] == run_counts(new).kept


def test_who_stays_as_a_duplicate_of_what_left_is_flagged_as_by_a_run_with_that_registry(run, tmp_path):
    uids = [row["uid"] for row in ledger(run)]
    new = apply(run, named(run, 5, 38))
    flags = {at: row["alike_opt_out"] for at, row in enumerate(ledger(new)) if row["alike_opt_out"]}
    # 39 follows 5; 6 stays, and its duplicate 38, dropped before, has opted out
    assert flags == {39: uids[5], 6: uids[38]}
    assert verify(new) == []
    # who is flagged and leaves later has no flag any more, nor has anyone by a look-alike that is gone
    last = apply(new, named(new, 39, entry=2), entry=2)
    assert {at for at, row in enumerate(ledger(last)) if row["alike_opt_out"]} == {6}


def test_a_follower_that_opted_out_too_does_not_follow(run):
    new = apply(run, named(run, 5, 39))
    assert {ledger(new)[i]["decision"] for i in (5, 39)} == {"dropped"}
    assert len(shard_pictures(new)) == sum(row["decision"] == "kept" for row in ledger(new))


def test_a_follower_whose_input_is_gone_stays_out_and_the_receipt_says_so(run, tmp_path):
    (tmp_path / "in" / "3.tar").unlink()
    new = apply(run, named(run, 5))
    assert ledger(new)[39]["decision"] == "dropped"
    receipt = json.loads(new.store.read("receipts/entry-00000001.json"))["receipt"]
    assert receipt["followers_not_readable"] == [ledger(new)[39]["uid"]]
    assert run_counts(new).balanced
    assert verify(new) == []


def test_where_the_best_follower_cannot_be_read_the_next_follows(tmp_path):
    """5 has a copy whose input is gone, and two smaller ones; under the cap there is room for one of them."""
    samples = [*(sample(i) for i in range(10)), copy_of(5, 12, "third", (76, 63)), copy_of(5, 13, "fourth")]
    write_tar(tmp_path / "in" / "0.tar", *samples)
    write_tar(tmp_path / "in" / "1.tar", copy_of(5, 11, "second", (80, 66)))
    recipe = write_recipe(tmp_path, tmp_path / "in", balance={"by": "creator", "cap": 3})
    assert invoke(["run", str(recipe), "--out", str(tmp_path / "run"), "--runner", "plain"]) == 0
    run = open_run(str(tmp_path / "run"))
    rows = ledger(run)
    uids = [row["uid"] for row in rows]
    assert [row["duplicate_of"] for row in rows[10:]] == [uids[5]] * 3
    (tmp_path / "in" / "1.tar").unlink()
    new = apply(run, named(run, 5))
    after = ledger(new)
    assert [(row["decision"], row["duplicate_of"]) for row in after[10:]] == [
        ("kept", None),
        ("dropped", uids[10]),
        ("dropped", uids[5]),
    ]
    receipt = receipt_of(new)
    assert receipt["matched"][0]["followed_by"] == [uids[10]]
    assert receipt["followers_not_readable"] == [uids[12]]
    assert shard_pictures(new)[uids[10]] == smaller(picture(5), (76, 63))
    assert read_manifest(new)["content"]["counts"]["kept"] == run_counts(new).kept
    assert (run_counts(new).balanced, verify(new)) == (True, [])


def test_where_no_follower_can_be_read_all_stay_as_they_were(tmp_path):
    samples = [copy_of(5, 11, "second", (80, 66)), copy_of(5, 12, "third", (76, 63)), copy_of(5, 13, "fourth")]
    write_tar(tmp_path / "in" / "0.tar", *(sample(i) for i in range(10)))
    write_tar(tmp_path / "in" / "1.tar", *samples)
    recipe = write_recipe(tmp_path, tmp_path / "in")
    assert invoke(["run", str(recipe), "--out", str(tmp_path / "run"), "--runner", "plain"]) == 0
    run = open_run(str(tmp_path / "run"))
    rows = ledger(run)
    (tmp_path / "in" / "1.tar").unlink()
    new = apply(run, named(run, 5))
    assert ledger(new)[10:] == rows[10:]
    assert receipt_of(new)["followers_not_readable"] == [row["uid"] for row in rows[10:]]


def test_it_decides_as_a_run_with_the_same_registry_would(run, tmp_path):
    """Without caps, retraction and a decision from scratch keep the same samples."""
    recipe = run.store.read("recipe.yaml").decode()
    assert "cap: 12" in recipe
    assert invoke(["replay", run.store.url, "--set", "balance=null", "--out", str(tmp_path / "free")]) == 0
    assert invoke(["balance", str(tmp_path / "free"), "--runner", "plain"]) == 0
    free = open_run(str(tmp_path / "free"))
    new = apply(free, named(free, 5, 6, 11, 20))
    assert invoke(["replay", str(tmp_path / "free"), "--out", str(tmp_path / "again")]) == 0
    again = open_run(str(tmp_path / "again"))
    assert [row["decision"] for row in ledger(again)] == [row["decision"] for row in ledger(new)]


def test_a_match_that_the_recipe_sets_aside_or_a_grant_covers_removes_nothing(run):
    kept = [i for i, row in enumerate(ledger(run)) if row["decision"] == "kept"][:2]
    grant = named(run, kept[0], outcome="grant", kind="grant")
    new = apply(run, [*grant, *named(run, kept[0])])
    assert ledger(new)[kept[0]]["decision"] == "kept"


def test_each_version_names_the_one_before_and_a_receipt_names_all_that_held_the_sample(run):
    first = read_manifest(run)["content_hash"]
    record_training(run.store, Training("ab" * 32, "model.safetensors", first, "2026-11-20T00:00:00Z"))
    rows = [i for i, row in enumerate(ledger(run)) if row["decision"] == "kept" and row["cluster"] is None]
    second = apply(run, named(run, rows[0]))
    middle = read_manifest(second)["content_hash"]
    third = apply(second, named(second, rows[1], entry=2), entry=2)
    assert read_manifest(third)["content"]["parent"] == middle
    assert read_manifest(second)["content_hash"] != first
    assert chain_problems(third) == []
    receipt = json.loads(third.store.read("receipts/entry-00000002.json"))["receipt"]
    assert receipt["matched"][0]["dataset_versions_that_held_it"] == [first, middle]
    assert [c["checkpoint"] for c in receipt["checkpoints_trained_on_a_version_that_held_one"]] == ["ab" * 32]
    third.store.delete(f"history/{first}.json")
    assert [problem.code for problem in chain_problems(third)] == ["VERSION_MISSING"]


def test_a_receipt_is_signed_and_a_changed_one_is_found_out(run):
    new = apply(run, named(run, 5))
    data = new.store.read("receipts/entry-00000001.json")
    public = KEYS.receipts.public_key()
    assert verify_receipt(data, "r", public) == ("trusted", [])
    assert verify_receipt(data, "r", Ed25519PrivateKey.generate().public_key())[0] == "invalid"
    changed = data.replace(b'"before": "kept"', b'"before": "lost"')
    assert changed != data
    assert verify_receipt(changed, "r", public)[0] == "invalid"


def test_a_request_that_matches_nothing_has_its_receipt_too(run):
    new = apply(run, [])
    receipt = json.loads(new.store.read("receipts/entry-00000001.json"))["receipt"]
    assert receipt["matched"] == []
    assert verify(new) == []


def test_the_stages_refuse_to_bring_back_what_was_taken_out(run, tmp_path, capsys):
    new = apply(run, named(run, 5))
    before = ledger(new)
    for stage in ("decide", "balance", "score", "dedup"):
        assert invoke([stage, run.store.url]) == 2
        assert "optout apply" in capsys.readouterr().err
    assert invoke(["run", str(tmp_path / "recipe.yaml"), "--out", run.store.url]) == 0
    assert ledger(new) == before


def add_latents(run, part: int, uids: list[str]) -> None:
    writer = PartWriter(run.store, f"latents/part-{part:05d}", "made by a test")
    schema = pa.schema([("uid", pa.string()), ("latent", pa.list_(pa.float16()))], metadata={"schema_version": "1.0"})
    rows = [{"uid": uid, "latent": np.zeros(4, np.float16)} for uid in uids]
    writer.add_table(f"latents/part-{part:05d}.parquet", pa.Table.from_pylist(rows, schema=schema))
    writer.commit(len(uids))


def test_latents_and_duplicates_forget_the_sample(run):
    uids = [row["uid"] for row in ledger(run)]
    add_latents(run, 0, uids[:8])
    new = apply(run, named(run, 5))
    left = pq.read_table(io.BytesIO(new.store.read("latents/part-00000.parquet")))
    assert left.column("uid").to_pylist() == [*uids[:5], *uids[6:8]]
    clusters = pq.read_table(io.BytesIO(new.store.read("duplicates/clusters.parquet")))
    assert 5 not in clusters.column("position").to_pylist()


def test_a_receipt_names_the_files_that_held_the_very_sample(run):
    rows = ledger(run)
    uids = [row["uid"] for row in rows]
    add_latents(run, 0, uids[:8])
    add_latents(run, 1, uids[8:16])
    first, second = (next(i for i in part if rows[i]["decision"] == "kept") for part in (range(8), range(10, 16)))
    new = apply(run, named(run, first, second))
    for found in receipt_of(new)["matched"]:
        at = uids.index(found["uid"])
        part, shard = f"part-{at // 10:05d}", f"shards/shard-{rows[at]['shard']:05d}"
        wanted = {f"scores/{part}.parquet", f"thumbnails/{part}.tar", f"{shard}.parquet", f"{shard}.tar"}
        assert set(found["removed_from"]) == {*wanted, f"latents/part-{at // 8:05d}.parquet"}


def test_a_receipt_tells_what_an_earlier_retraction_took_out_and_who_had_seen_it(run):
    first = read_manifest(run)["content_hash"]
    record_training(run.store, Training("ab" * 32, "model.safetensors", first, "2026-11-20T00:00:00Z"))
    rows = [i for i, row in enumerate(ledger(run)) if row["decision"] == "kept" and row["cluster"] is None]
    second = apply(run, named(run, rows[0]))
    record_training(run.store, Training("cd" * 32, "later", read_manifest(second)["content_hash"], "2026-11-21"))
    third = apply(second, named(second, rows[0], entry=2), entry=2, created_at="2026-11-22")
    (found,) = receipt_of(third, 2)["matched"]
    assert found["before"] == f"taken out earlier, at {receipt_of(third)['at']}"
    assert found["dataset_versions_that_held_it"] == [first]
    assert found["removed_from"] == []
    seen = receipt_of(third, 2)["checkpoints_trained_on_a_version_that_held_one"]
    assert [training["checkpoint"] for training in seen] == ["ab" * 32]
    words = receipt_words(json.loads(third.store.read("receipts/entry-00000002.json")))
    assert "1 sample(s) matched; 0 of them had been kept and are out of the shards now; 1 had been taken out" in words
    assert "removed from nowhere" in words


def test_a_sample_that_was_never_kept_was_in_no_version(run):
    (found,) = receipt_of(apply(run, named(run, 39)))["matched"]
    assert (found["before"], found["dataset_versions_that_held_it"]) == ("dropped", [])
    assert found["removed_from"] == ["scores/part-00003.parquet", "thumbnails/part-00003.tar"]


def test_a_receipt_names_no_follower_of_anothers_sample(run, tmp_path):
    (tmp_path / "in" / "3.tar").unlink()
    requests = [{"entry": entry, "kind": "creator", "value": "artist 2"} for entry in (1, 2)]
    retract(run, [*named(run, 5), *named(run, 13, entry=2)], requests, SNAPSHOT, KEYS)
    new = open_run(run.store.url)
    assert receipt_of(new, 1)["followers_not_readable"] == [ledger(new)[39]["uid"]]
    assert receipt_of(new, 2)["followers_not_readable"] == []
