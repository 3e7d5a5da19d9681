"""Dedup over a run: edges, clusters, evidence; the same however it is cut, killed or added to."""

import numpy as np
import pyarrow.compute as pc
import pytest
from dedup_runs import add, ledger, make, near, row, uid
from making import sample, write_recipe, write_tar

from filters.duplicates import METHODS
from filters.duplicates_turns import turned
from filters.errors import BadInput
from pipelines.commands.main import invoke
from pipelines.engine import PLAIN, Engine
from pipelines.jobs import dedup_search
from pipelines.jobs.dedup import CLUSTERS_FILE, EDGES_FILE, Scale, dedup
from pipelines.run.directory import open_run
from pipelines.run.parts import read_marker, read_table

EVERY_UNIT_APART = Scale(rows=0)


def read(run):
    """Edges and clusters as plain rows."""
    return tuple(read_table(run.store, name).to_pylist() for name in (EDGES_FILE, CLUSTERS_FILE))


def flipped(pdq):
    words = np.frombuffer(pdq, dtype=np.uint64).reshape(1, 4)
    return turned(words, (0, 0, 1)).tobytes()


def mixed(start=0):
    """40 rows with one pair of every kind: 1 bytes, 2 pixels, 3 hashes, 4 PDQ, 5 flip, 6 embedding of 0."""
    rows = [row(number) for number in range(start, start + 40)]
    base = rows[0]
    rows[1] |= {"sha256": base["sha256"]}
    rows[2] |= {"pixels": base["pixels"]}
    rows[3] |= {"phash": base["phash"] ^ 0b101}
    rows[4] |= {"pdq": bytes([base["pdq"][0] ^ 0xFF, *base["pdq"][1:]])}
    rows[5] |= {"pdq": flipped(base["pdq"])}
    rows[6] |= {"image": base["image"] + 0.05}
    rows[7] |= {"pdq": base["pdq"], "pdq_quality": 49}
    return rows


def test_each_method_finds_its_pair_and_no_other(tmp_path):
    run = make(tmp_path / "run", [mixed()[:20], mixed()[20:]], cosine=0.97)
    marker = dedup(run)
    # 4 is like the flipped one too
    assert marker.facts["edges"] == {name: 2 if name == "pdq_dihedral" else 1 for name in METHODS}
    assert marker.rows == 7


def look(*lab):
    """A layout of one colour: half the luma, a, b."""
    return np.tile(np.array(lab, dtype=np.int8), 16).tobytes()


def test_hashes_of_other_colours_are_no_duplicates_but_a_grey_copy_is_one(tmp_path):
    base = row(0, width=500, colours=look(50, 60, 40))
    others = [(50, 50, 45), (50, -60, 40), (50, 0, 0), (90, 0, 0)]
    alike = {"phash": base["phash"] ^ 1, "pdq": base["pdq"]}
    rows = [base, *(row(number, **alike, colours=look(*lab)) for number, lab in enumerate(others, 1))]
    rows[2]["pdq"] = flipped(base["pdq"])
    found = ledger(deduplicated(make(tmp_path / "a", [rows])))
    assert [found[uid(n)]["decision"] for n in range(5)] == ["kept", "dropped", "kept", "dropped", "kept"]
    assert found[uid(3)]["duplicate_of"] == uid(0)
    blind = ledger(deduplicated(make(tmp_path / "b", [rows], colour_distance=None)))
    assert sum(one["decision"] == "kept" for one in blind.values()) == 1


def test_evidence_names_the_kept_one_method_and_distance(tmp_path):
    rows = mixed()
    for one in rows[1:]:
        one["width"] = 50  # so that row 0 stays
    rows[3]["pdq"] = bytes(byte ^ 0xFF for byte in rows[0]["pdq"][:5]) + rows[0]["pdq"][5:]  # 40 bits: not PDQ's own
    found = ledger(deduplicated(make(tmp_path / "run", [rows], cosine=0.97)))
    expected = {
        1: ("EXACT_DUPLICATE", "sha256", 0.0),
        2: ("EXACT_DUPLICATE", "pixels", 0.0),
        3: ("NEAR_DUPLICATE", "phash", 2.0),
        4: ("NEAR_DUPLICATE", "pdq", 8.0),
        5: ("NEAR_DUPLICATE", "pdq_dihedral", 0.0),
    }
    for number, (reason, method, distance) in expected.items():
        one = found[uid(number)]
        assert (one["primary_reason"], one["duplicate_of"]) == (reason, uid(0))
        assert (one["duplicate_method"], one["duplicate_distance"]) == (method, distance)
    alike = found[uid(6)]
    assert (alike["primary_reason"], alike["duplicate_method"]) == ("SEMANTIC_DUPLICATE", "embedding")
    assert 0 < alike["duplicate_distance"] < 0.03
    assert all(found[uid(number)]["decision"] == "kept" for number in (0, *range(7, 40)))


@pytest.mark.parametrize(("confirm", "decision"), [(62, "kept"), (None, "dropped")])
def test_whom_phash_takes_for_one_picture_is_dropped_only_if_pdq_does_not_object(tmp_path, confirm, decision):
    rows = mixed()
    for one in rows[1:]:
        one["width"] = 50
    found = ledger(deduplicated(make(tmp_path / "run", [rows], confirm_distance=confirm)))
    assert found[uid(3)]["decision"] == decision
    assert found[uid(4)]["decision"] == "dropped"  # by PDQ itself


def deduplicated(run):
    dedup(run)
    return run


@pytest.mark.parametrize("engine", [Engine(PLAIN), Engine()], ids=["plain", "beam"])
def test_units_of_any_engine_find_the_same(tmp_path, engine):
    first, other = (make(tmp_path / name, [mixed()[:15], mixed()[15:]], cosine=0.97) for name in "ab")
    dedup(first)
    dedup(other, engine, EVERY_UNIT_APART)
    assert read(first) == read(other)
    assert other.store.list("duplicates/work") == []


def test_killed_between_units_it_goes_on_and_ends_with_the_same(tmp_path, monkeypatch):
    whole, killed = (make(tmp_path / name, [mixed()], cosine=0.97) for name in "ab")
    dedup(whole)
    real, done = dedup_search.SearchUnits._found, []

    def stops(self, unit):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(unit)
        return real(self, unit)

    monkeypatch.setattr(dedup_search.SearchUnits, "_found", stops)
    with pytest.raises(KeyboardInterrupt):
        dedup(killed)
    assert not killed.store.exists(EDGES_FILE)
    again = []
    monkeypatch.setattr(dedup_search.SearchUnits, "_found", lambda self, unit: again.append(unit) or real(self, unit))
    dedup(killed)
    assert read(killed) == read(whole)
    assert not set(again) & set(done)


def test_added_parts_are_compared_with_all_and_the_old_not_again(tmp_path, monkeypatch):
    rows = [*mixed(), *mixed(100)]
    for old, new in ((0, 60), (9, 61), (10, 62), (11, 63)):
        for name in ("sha256", "phash", "pdq", "image")[: 1 + new % 4]:
            rows[new][name] = rows[old][name]
    rows[70] |= {"pdq": flipped(rows[12]["pdq"])}
    rows[71] |= {"pdq": flipped(rows[70]["pdq"])}
    parts = [rows[:30], rows[30:50], rows[50:]]
    scratch = make(tmp_path / "scratch", parts, cosine=0.97)
    dedup(scratch)
    grown = make(tmp_path / "grown", parts[:2], cosine=0.97)
    dedup(grown)
    add(grown, parts[2:], start=2)
    marker = dedup(grown)
    assert marker.facts["since"] == 50
    assert read(grown) == read(scratch)
    assert dedup(grown).facts == marker.facts
    # another bound, or another first part, starts from scratch
    other = make(tmp_path / "grown", [], cosine=0.9)
    assert dedup(other).facts["since"] == 0


@pytest.mark.parametrize("cosine", [None, 0.9])
def test_odd_inputs_give_clear_results(tmp_path, cosine):
    same = [row(number, seed=1) for number in range(30)]
    run = make(tmp_path / "same", [same], cosine=cosine)
    assert dedup(run).facts["clusters"] == 1
    assert sum(one["decision"] == "kept" for one in ledger(run).values()) == 1
    single = make(tmp_path / "single", [[row(1)]], cosine=cosine)
    assert dedup(single).facts["clusters"] == 0
    assert ledger(single)[uid(1)]["decision"] == "kept"
    nothing = {"sha256": None, "phash": None, "pdq": None, "pdq_quality": None, "pixels": None, "image": None}
    blank = make(tmp_path / "blank", [[row(number, **nothing) for number in range(5)]], cosine=cosine)
    assert dedup(blank).rows == 0
    broken = make(tmp_path / "nan", [[row(n, image=np.full(32, np.nan)) for n in range(5)]], cosine=cosine)
    assert dedup(broken).rows == 0
    with pytest.raises(BadInput, match="run assay score first"):
        dedup(make(tmp_path / "empty", [], cosine=cosine))
    none = make(tmp_path / "none", [[], []], cosine=cosine)
    assert dedup(none).rows == 0
    assert ledger(none) == {}
    # embeddings that are all alike but not equal, and nothing else agrees
    random = np.random.default_rng(0)
    alike = [row(n, image=np.arange(32) + random.normal(size=32) * 0.1) for n in range(200)]
    run = make(tmp_path / "alike", [alike], cosine=cosine)
    assert dedup(run).facts["clusters"] == (0 if cosine is None else 1)


def test_who_stays_follows_the_recipe(tmp_path):
    base = row(0)
    rows = [base, row(1, sha256=base["sha256"], licence="CC-BY"), row(2, sha256=base["sha256"], licence=None)]
    rows[0]["licence"] = None
    assert ledger(deduplicated(make(tmp_path / "a", [rows], keep=["licence", "uid"])))[uid(1)]["decision"] == "kept"
    for one, date in zip(rows, ("2004-01-01", "19 08 2005", "2003-05-06"), strict=True):
        one["metadata"] = f'{{"date": "{date}"}}'
    assert ledger(deduplicated(make(tmp_path / "b", [rows], keep=["date"])))[uid(2)]["decision"] == "kept"


def test_representation_keeps_the_rarer_group(tmp_path):
    rows = [row(number, concept="many") for number in range(5)]
    base = row(10, concept="many", width=500)
    rows += [base, row(11, sha256=base["sha256"], concept="few")]
    run = deduplicated(make(tmp_path / "a", [rows], representation="concept"))
    assert ledger(run)[uid(11)]["decision"] == "kept"
    with pytest.raises(BadInput, match="no column 'colour'"):
        ledger(deduplicated(make(tmp_path / "b", [rows], representation="colour")))


def test_an_opted_out_picture_represents_nobody_and_flags_who_is_like_it(tmp_path):
    base = row(0, width=500, denied=True)
    rows = [base, near(base, 3, uid=uid(1), key="k1"), row(2), row(3, denied=True)]
    found = ledger(deduplicated(make(tmp_path / "a", [rows])))
    assert found[uid(0)]["primary_reason"] == "OPTED_OUT"
    assert found[uid(1)]["decision"] == "kept"
    assert found[uid(1)]["alike_opt_out"] == uid(0)
    assert {one["uid"] for one in found.values() if one["alike_opt_out"]} == {uid(1)}


@pytest.mark.parametrize(("thin", "left"), [({"target": 12}, 12), ({"epsilon": 0.2}, 11)])
def test_thinning_has_its_own_reason_and_names_who_stays(tmp_path, thin, left):
    base = row(50)["image"]
    rows = [row(number) for number in range(10)]
    rows += [row(number, image=base + np.eye(32)[number % 32] * 0.8) for number in range(10, 20)]
    found = ledger(deduplicated(make(tmp_path / "a", [rows], thin=thin)))
    kept = {key for key, one in found.items() if one["decision"] == "kept"}
    assert len(kept) == left
    gone = [one for one in found.values() if one["decision"] == "dropped"]
    assert {one["primary_reason"] for one in gone} == {"THINNED"}
    for one in gone:
        assert one["duplicate_of"] in kept
        assert one["duplicate_method"] == "embedding"
        assert one["cluster"] is None


def test_edges_are_sorted_and_stay_within_their_bounds(tmp_path):
    run = deduplicated(make(tmp_path / "a", [mixed()], cosine=0.97, phash_distance=4))
    table = read_table(run.store, EDGES_FILE)
    assert pc.all(pc.less(table.column("a"), table.column("b"))).as_py()


def test_shards_added_to_a_finished_dataset_are_compared_with_it(tmp_path):
    write_tar(tmp_path / "in" / "0.tar", *(sample(number) for number in range(6)))
    write_tar(tmp_path / "in" / "1.tar", *(sample(number) for number in range(6, 12)))
    scorers = ["size", "hashes", "pdq", "pixels", "caption"]
    recipe = write_recipe(tmp_path, tmp_path / "in", scorers=scorers)
    command = ["run", str(recipe), "--out", str(tmp_path / "run"), "--runner", "plain"]
    assert invoke(command) == 0
    again = {name.replace("s00003", "again"): data for name, data in sample(3).items()}
    again["again.txt"] = b"the third drawing once more"
    write_tar(tmp_path / "in" / "2.tar", sample(20), again)
    assert invoke(command) == 0
    run = open_run(str(tmp_path / "run"))
    marker = read_marker(run.store, "duplicates/all")
    assert marker.facts["since"] == 12
    rows = [one for table in run.tables("ledger") for one in table.to_pylist()]
    pair = [one for one in rows if one["cluster"] == 3]
    assert sorted(one["decision"] for one in pair) == ["dropped", "kept"]
    assert invoke(["manifest", "verify", str(tmp_path / "run")]) == 0
