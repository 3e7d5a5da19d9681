"""Nothing is trained on that is not cleared; what is retracted while a training runs leaves it and is recorded."""

import json
import random
import shutil
import sys
import time
from decimal import Decimal
from fractions import Fraction
from itertools import islice, product
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

sys.path.insert(0, str(Path(__file__).parent / "data"))
sys.path.insert(0, str(Path(__file__).parents[1] / "pipelines"))

from training_runs import copy_run, make_run, opened, restate, same, shards_of, small

from filters.errors import BadInput, GateRefused
from filters.optout.entries import Draft, Kind
from pipelines.commands.main import invoke
from pipelines.jobs.apply import apply
from pipelines.jobs.retract import Keys
from pipelines.registry.store import create_registry, open_registry
from training.checkpoints import read_facts, write_checkpoint
from training.data.attribution import largest_remainder
from training.data.exposure import Exposure
from training.data.loader import Batches
from training.gate import clear, follow, record_checkpoint, removals

KEYS = Keys(Ed25519PrivateKey.generate())


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("gated"))


@pytest.fixture
def own(made, tmp_path) -> Path:
    return copy_run(made, tmp_path / "own")


def add(folder: Path, *drafts: Draft) -> None:
    with open_registry(str(folder / "registry.sqlite")) as registry:
        registry.append(drafts)


def of_artist(folder: Path, *numbers: int) -> set[str]:
    """The uids in the shards by these artists."""
    rows = [row for table in opened(folder).tables("samples", ["uid", "creator"]) for row in table.to_pylist()]
    kept = _kept(folder)
    return {row["uid"] for row in rows if row["creator"] in {f"Artist {n}" for n in numbers}} & kept


def after(batches: Batches, count: int) -> set[str]:
    """What the next batches show."""
    return {uid for batch in islice(batches, count) for uid in batch.uids}


def test_a_cleared_dataset_passes_and_a_training_without_news_goes_on(own, tmp_path):
    gate = clear(opened(own), tmp_path)
    with Batches(shards_of(own), small(), folder=tmp_path) as batches:
        after(batches, 3)
        assert gate.recheck(batches, 3) is None
    assert removals(tmp_path) == []


def _unapplied(folder: Path) -> None:
    add(folder, Draft(Kind.CREATOR, "artist 1"))


def _changed(folder: Path) -> None:
    with (folder / "run" / "shards" / "shard-00000.tar").open("ab") as stream:
        stream.write(b"x")


def _gate_failed(folder: Path) -> None:
    from pipelines.run.manifest import content_hash

    path = folder / "run" / "manifest.json"
    body = json.loads(path.read_text())
    body["content"]["gates"] = [{"name": "four_fifths", "passed": False}]
    body["content_hash"] = content_hash(body["content"])
    path.write_text(json.dumps(body))


def _stale(folder: Path) -> None:
    path = folder / "run" / "registry.json"
    body = json.loads(path.read_text())
    path.write_text(json.dumps({**body, "at": "2020-01-01T00:00:00+00:00"}))
    restate(folder / "run", "registry.json")


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (_unapplied, "UNAPPLIED_ENTRY"),
        (_changed, "FILE_CHANGED"),
        (_gate_failed, "GATE_FAILED"),
        (_stale, "REGISTRY_OLD"),
    ],
)
def test_what_the_check_finds_wrong_is_refused_before_anything_else(own, tmp_path, spoil, code):
    spoil(own)
    with pytest.raises(GateRefused, match=code) as error:
        clear(opened(own), tmp_path)
    assert error.value.exit_code == 3


def test_a_new_entry_of_the_registry_takes_its_samples_out_of_the_next_batch(own, tmp_path):
    gate = clear(opened(own), tmp_path)
    with Batches(shards_of(own), small(), folder=tmp_path) as batches:
        assert after(batches, 8) & of_artist(own, 1)
        add(own, Draft(Kind.CREATOR, "Artist 1", requester="herself"))
        removal = gate.recheck(batches, 8)
        assert set(removal.uids) == of_artist(own, 1)
        assert removal.entries == (1,)
        assert not after(batches, 20) & of_artist(own, 1)
        assert gate.recheck(batches, 28) is None
    (record,) = removals(tmp_path)
    assert (record["at_step"], record["entries"], set(record["removed"])) == (8, [1], of_artist(own, 1))


@pytest.mark.parametrize("told_before", [False, True])
def test_a_retraction_while_training_takes_its_samples_out_and_keeps_the_rest_in_order(own, tmp_path, told_before):
    gone, config = of_artist(own, 2), small(weighting="loss", prefetch=2)
    with Batches(shards_of(own), config) as batches:
        wanted = [batch.uids for batch in islice(batches, 14)]
    gate = clear(opened(own), tmp_path)
    with Batches(shards_of(own), config, folder=tmp_path) as batches:
        found = [batch.uids for batch in islice(batches, 3)]
        add(own, Draft(Kind.CREATOR, "artist 2"))
        if told_before:
            assert set(gate.recheck(batches, 3).uids) == gone
        record = apply(opened(own), None, KEYS)
        assert set(record["left"]) == gone
        removal = gate.recheck(batches, 3)
        assert (removal.uids == ()) == told_before
        rest = list(islice(batches, 11))
        assert all(
            (batch.view, batch.planned) == (rest[0].view, len(batch.uids)) for batch in rest if batch.epoch == 0
        )
        assert {batch.view for batch in rest if batch.epoch == 1} == {batches.view.name} != {rest[0].view}
        assert batches.unreadable == {}
    of_first = [batch.uids for batch in rest if batch.epoch == 0]
    assert found == wanted[:3]
    assert of_first == [[uid for uid in uids if uid not in gone] for uids in wanted[3 : 3 + len(of_first)]]
    assert not gone & {uid for batch in rest for uid in batch.uids}
    (line,) = removals(tmp_path)
    assert (set(line["removed"]), line["entries"], line["at_step"]) == (gone, [1], 3)


def test_a_retraction_that_the_loader_meets_before_the_gate_looks_is_recorded_too(own, tmp_path):
    gone = of_artist(own, 0)
    gate = clear(opened(own), tmp_path)
    with Batches(shards_of(own), small(), folder=tmp_path) as batches:
        after(batches, 1)
        before = batches.shards.content
        add(own, Draft(Kind.CREATOR, "artist 0"))
        apply(opened(own), None, KEYS)
        # what was decoded ahead may still come, until a picture is not where it was
        while batches.shards.content == before:
            after(batches, 1)
        assert not after(batches, 12) & gone
        removal = gate.recheck(batches, 20)
        assert set(removal.uids) == gone
        assert not after(batches, 12) & gone
        assert batches.unreadable == {}


def test_resumed_after_a_retraction_it_is_the_training_that_was_never_stopped(own, tmp_path):
    config = small(crop="random")
    gate = clear(opened(own), tmp_path)
    gone = of_artist(own, 3)
    with Batches(shards_of(own), config, folder=tmp_path) as batches:
        cursor = list(islice(batches, 4))[-1].cursor
        add(own, Draft(Kind.CREATOR, "artist 3"))
        apply(opened(own), None, KEYS)
        assert set(gate.recheck(batches, 4).uids) == gone
        wanted = list(islice(batches, 14))
    gate = clear(opened(own), tmp_path)
    with Batches(shards_of(own), config, cursor=cursor, folder=tmp_path) as batches:
        assert gate.recheck(batches, 4) is None, "what left is on record already"
        found = list(islice(batches, 14))
    assert all(same(a, b) for a, b in zip(wanted, found, strict=True))
    assert len({batch.epoch for batch in found}) == 3
    assert not gone & {uid for batch in found for uid in batch.uids}
    assert [set(record["removed"]) for record in removals(tmp_path)] == [gone]


def test_other_processes_follow_what_the_gate_s_process_found(own, tmp_path):
    gate = clear(opened(own), tmp_path)
    config = small()
    places = [(0, 2), (1, 2)]
    main, other = (Batches(shards_of(own), config, *place, folder=tmp_path) for place in places)
    with main, other:
        after(main, 2), after(other, 2)
        gone = of_artist(own, 1, 4)
        add(own, Draft(Kind.CREATOR, "artist 1"))
        apply(opened(own), None, KEYS)
        add(own, Draft(Kind.CREATOR, "artist 4"))
        removal = gate.recheck(main, 2)
        assert set(removal.uids) == gone
        assert removal.entries == (1, 2)
        follow(other, removal)
        for a, b in zip(islice(main, 12), islice(other, 12), strict=True):
            assert a.cursor == b.cursor
            assert not gone & {*a.uids, *b.uids}
        # a version that takes out nothing is gone on with by all processes too
        add(own, Draft(Kind.CREATOR, "nobody"))
        apply(opened(own), None, KEYS)
        removal = gate.recheck(main, 14)
        assert removal.uids == ()
        follow(other, removal)
        assert gate.recheck(main, 14) is None
        for a, b in zip(islice(main, 12), islice(other, 12), strict=True):
            assert a.cursor == b.cursor
    assert [record["at_step"] for record in removals(tmp_path)] == [2]


def test_processes_go_on_alike_where_one_alone_has_met_a_new_version_before_the_gate_looks(own, tmp_path):
    gate, shards = clear(opened(own), tmp_path), shards_of(own)
    ahead, config = small(weighting="loss", prefetch=16, workers=1), small(weighting="loss")
    main, other = (Batches(shards, one, rank, 2, folder=tmp_path) for rank, one in enumerate((ahead, config)))
    with main, other:
        after(main, 2), after(other, 2)
        time.sleep(2)  # all that the main one shows below is decoded before anything changes
        add(own, Draft(Kind.CREATOR, "artist 1"))
        apply(opened(own), None, KEYS)
        assert other._changed(), "as where a picture of its share is not where it was"
        for a, b in zip(islice(main, 8), islice(other, 8), strict=True):
            assert a.cursor == b.cursor
        assert b.epoch == 1
        follow(other, gate.recheck(main, 10))
        for a, b in zip(islice(main, 8), islice(other, 8), strict=True):
            assert a.cursor == b.cursor
        assert main.view.content == other.view.content == shards_of(own).content


def test_a_registry_that_cannot_be_asked_or_is_another_one_stops_the_training(own, tmp_path):
    gate = clear(opened(own), tmp_path)
    registry = own / "registry.sqlite"
    with Batches(shards_of(own), small()) as batches:
        registry.rename(own / "away.sqlite")
        with pytest.raises(GateRefused, match="cannot be asked"):
            gate.recheck(batches, 1)
        create_registry(str(registry)).close()
        with pytest.raises(GateRefused, match="not the registry"):
            gate.recheck(batches, 1)


def test_a_dataset_that_was_replaced_by_another_one_stops_the_training(own, tmp_path):
    gate = clear(opened(own), tmp_path)
    other = make_run(tmp_path / "other", samples=30)
    with Batches(shards_of(own), small(), folder=tmp_path) as batches:
        after(batches, 1)
        (own / "run").rename(own / "before")
        (other / "run").rename(own / "run")
        with pytest.raises(GateRefused, match="does not follow from the one trained on"):
            gate.recheck(batches, 1)


@pytest.fixture
def trained(own, tmp_path, monkeypatch):
    """A run with one checkpoint: 10 batches, then a retraction of artist 2, then 5 more."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    gate, exposure = clear(opened(own), tmp_path / "training"), Exposure()
    folder = tmp_path / "training"
    with Batches(shards_of(own), small(), folder=folder) as batches:
        for batch in islice(batches, 10):
            exposure.add(batch, batches.view)
        add(own, Draft(Kind.CREATOR, "artist 2"))
        apply(opened(own), None, KEYS)
        gate.recheck(batches, 10)
        for batch in islice(batches, 15):
            exposure.add(batch, batches.view)
    checkpoint, facts = write_checkpoint(folder, 25, lambda place: exposure.save(place, folder), {})
    record_checkpoint(opened(own), facts["checkpoint"], checkpoint, exposure)
    return own, checkpoint, exposure


def test_lineage_names_decision_versions_and_checkpoints(trained, capsys):
    own, checkpoint, exposure = trained
    run = str(own / "run")
    assert len(exposure.views) == 2
    counts = exposure.counts()
    kept, gone = sorted(of_artist(own, 1))[0], next(uid for uid in sorted(counts) if uid not in _kept(own))
    assert invoke(["lineage", kept, "--run", run, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["decision"]["decision"] == "kept"
    assert found["decision"]["shard"].startswith("shards/shard-")
    assert len(found["versions"]) == 2
    (seen,) = found["checkpoints"]
    assert (seen["exposures"], seen["path"], seen["checkpoint"]) == (
        counts[kept],
        str(checkpoint),
        read_facts(checkpoint)["checkpoint"],
    )
    assert invoke(["lineage", gone, "--run", run, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["decision"]["reasons"] == ["REGISTRY_OPT_OUT"]
    assert len(found["versions"]) == 1
    assert found["retractions"][0]["entries"] == [1]
    assert found["checkpoints"][0]["exposures"] == counts[gone]
    # the record in the run does not need the checkpoint's files
    shutil.rmtree(checkpoint)
    assert invoke(["lineage", gone, "--run", run]) == 0
    out = capsys.readouterr().out
    assert f"seen      {counts[gone]} time(s) by" in out
    assert "taken out" in out
    for name in (own / "run" / "exposures").glob("*.parquet"):
        name.unlink()
    assert invoke(["lineage", kept, "--run", run]) == 0
    assert "unknown: its exposure log is gone" in capsys.readouterr().out
    assert invoke(["lineage", "ab" * 16, "--run", run]) == 2
    assert invoke(["lineage", "x", "--run", run]) == 2


def _kept(folder: Path) -> set[str]:
    shards = shards_of(folder)
    return set(shards.uids(range(len(shards))))


def test_attribution_adds_up_to_the_pool_and_follows_the_rule(trained, capsys):
    own, checkpoint, exposure = trained
    counts = exposure.counts()
    for pool, rule in product(["1000", "0.01", "99999.99", "1.234"], ["exposure", "works"]):
        assert invoke(["attribution", str(checkpoint), "--pool", pool, "--rule", rule, "--json"]) == 0
        body = json.loads(capsys.readouterr().out)
        rows = body["creators"]
        assert sum(Decimal(row["amount"]) for row in rows) == Decimal(pool) == Decimal(body["pool"])
        assert {row["creator"] for row in rows} == {f"Artist {number}" for number in range(5)}
        assert sum(row["exposures"] for row in rows) == sum(counts.values()) == body["exposures"]
        assert sum(row["works"] for row in rows) == len(counts)
        assert sum(row["share"] for row in rows) == pytest.approx(1)
        unit = Decimal(1).scaleb(-max(2, -Decimal(pool).as_tuple().exponent))
        for row in rows:
            assert abs(Decimal(row["amount"]) - Decimal(pool) * Decimal(row["share"])) < unit
        mine = next(row for row in rows if row["creator"] == "Artist 3")
        assert mine["exposures"] == sum(counts.get(uid, 0) for uid in of_artist(own, 3))
        assert mine["works"] == len(set(counts) & of_artist(own, 3))


def _changed_log(checkpoint: Path) -> str:
    (checkpoint / "exposure.parquet").write_bytes((checkpoint / "exposure.parquet").read_bytes() + b" ")
    return "exposure.parquet is missing or was changed"


def _other_identity(checkpoint: Path) -> str:
    text = (checkpoint / "assay.json").read_text()
    (checkpoint / "assay.json").write_text(text.replace(read_facts(checkpoint)["checkpoint"], "0" * 64))
    return "do not give the identity"


@pytest.mark.parametrize("spoil", [_changed_log, _other_identity])
def test_the_log_of_a_checkpoint_that_is_not_what_it_states_counts_nowhere(trained, capsys, spoil):
    own, checkpoint, exposure = trained
    words, kept = spoil(checkpoint), next(iter(exposure.counts()))
    assert invoke(["attribution", str(checkpoint), "--pool", "10"]) == 2
    assert words in capsys.readouterr().err
    for name in (own / "run" / "exposures").glob("*.parquet"):
        name.unlink()
    assert invoke(["lineage", kept, "--run", str(own / "run")]) == 0
    assert "unknown: its exposure log is gone" in capsys.readouterr().out


def test_shares_are_the_largest_remainders():
    assert largest_remainder([1, 1, 1], 100) == [34, 33, 33]
    assert largest_remainder([50, 30, 20], 7) == [4, 2, 1]
    assert largest_remainder([0, 5], 3) == [0, 3]
    draw = random.Random(0)
    for _ in range(300):
        weights = [draw.choice([0, 1, 7, 10**9]) for _ in range(draw.randint(1, 40))] + [1]
        units = draw.choice([0, 1, 99, 10**15 + 1])
        parts = largest_remainder(weights, units)
        assert sum(parts) == units
        assert all(abs(Fraction(w * units, sum(weights)) - p) < 1 for w, p in zip(weights, parts, strict=True))


def test_attribution_refuses_another_run_and_impossible_pools(trained, tmp_path, capsys):
    _, checkpoint, _ = trained
    other = make_run(tmp_path / "other", samples=30)
    assert invoke(["attribution", str(checkpoint), "--pool", "10", "--run", str(other / "run")]) == 2
    assert "another dataset" in capsys.readouterr().err
    for pool in ("0", "-5", "nan", "1e400", "x", "1e5", "1.00000000001", "inf"):
        assert invoke(["attribution", str(checkpoint), f"--pool={pool}"]) == 2
        assert "--pool" in capsys.readouterr().err
    assert invoke(["attribution", str(tmp_path), "--pool", "10"]) == 2
    assert "not a checkpoint of assay train" in capsys.readouterr().err
    assert invoke(["attribution", str(checkpoint), "--pool", "10", "--limit", "2"]) == 0
    assert "3 more creators" in capsys.readouterr().out


def test_a_receipt_of_a_later_retraction_names_the_checkpoint(trained):
    own, checkpoint, _ = trained
    add(own, Draft(Kind.CREATOR, "artist 4"))
    record = apply(opened(own), None, KEYS)
    receipt = json.loads((own / "run" / record["receipts"][0]).read_text())["receipt"]
    (named,) = receipt["checkpoints_trained_on_a_version_that_held_one"]
    assert named["path"] == str(checkpoint)


def test_a_broken_log_of_removals_is_said_so(tmp_path):
    (tmp_path / "removed.jsonl").write_text("{}\nnot json\n")
    with pytest.raises(BadInput, match=r"removed.jsonl"):
        removals(tmp_path)
