"""The balance leaves out and weighs as the recipe says, of those whom nothing else dropped, in every layout alike."""

import json
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from making import assay_command, sample, write_recipe, write_tar

from filters.errors import BadInput
from pipelines.commands.main import invoke
from pipelines.jobs.decide_balance import STATEMENT, read_statement
from pipelines.run.directory import open_run
from pipelines.run.manifest import verify
from pipelines.run.parts import read_table

PLACES = {"Africa": "Kenya", "Asia": "Japan", "Europe": "France"}
REGIONS = ["Africa"] * 8 + ["Asia"] * 10 + ["Europe"] * 42 + [""] * 40
GENDERS = ["woman"] * 12 + ["man"] * 48 + [""] * 40


def planted() -> list[dict[str, bytes]]:
    """100 pictures: 8 of Africa, 10 of Asia, 42 of Europe; 12 of women, 48 of men; two of Africa are not licensed."""
    order = np.random.default_rng(6).permutation(100)
    found = []
    for i in range(100):
        region, gender = REGIONS[i], GENDERS[order[i]]
        words = [f"drawing {i} of a", gender or "thing", f"in {PLACES[region]}" if region else ""]
        licence = "no" if i < 2 else "CC0"
        found.append(sample(i, " ".join(words).strip(), licence=licence, creator=f"artist {i % 4}"))
    return found


def recipe_over(folder: Path, **sections: object) -> Path:
    sections = {"licences": {"allow": ["CC0"]}, "duplicates": None, "shards": {"samples": 30}, **sections}
    return write_recipe(folder, folder / "in", scorers=["size", "caption"], **sections)


def run_of(folder: Path, parts: int, reverse: bool = False) -> Path:
    samples = planted()[::-1] if reverse else planted()
    size = -(-len(samples) // parts)
    for part in range(parts):
        write_tar(folder / "in" / f"{part}.tar", *samples[part * size : part * size + size])
    assert invoke(["run", str(recipe_over(folder)), "--out", str(folder / "run"), "--runner", "plain"]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """The planted samples in 3 parts, not balanced."""
    return run_of(tmp_path_factory.mktemp("planted"), 3)


def replayed(base: Path, out: Path, balance: object, *settings: str):
    overrides = [f"balance={json.dumps(balance)}", *settings]
    code = invoke(["replay", str(base), "--out", str(out), *(w for o in overrides for w in ("--set", o))])
    assert code == 0
    return open_run(str(out))


def rows(run) -> list[dict[str, object]]:
    found = [row for table in run.tables("ledger") for row in table.to_pylist()]
    groups = [row for table in run.tables("groups") for row in table.to_pylist()]
    return [{**groups[i], **row} for i, row in enumerate(found)]


def kept(run, group: str) -> Counter[str]:
    return Counter(row[group][0] for row in rows(run) if row["decision"] == "kept" and row[group])


def statement(run) -> dict[str, object]:
    return json.loads(run.store.read(STATEMENT))


def weighted(run, group: str, value: str) -> float:
    mass = Counter()
    for row in rows(run):
        if row["decision"] == "kept" and row[group]:
            mass[row[group][0]] += row["weight"]
    return mass[value] / sum(mass.values())


QUOTAS = {"quotas": {"region": {"min": {"Africa": 0.2, "Asia": 0.2}}}}
PARITY = {"quotas": {"gender_terms": {"parity": ["feminine", "masculine"], "max_drop": 0.8}}}
BOTH = {
    "quotas": {
        "region": {"min": {"Africa": 0.2, "Asia": 0.2}, "max_drop": 0.9},
        "gender_terms": {"parity": ["feminine", "masculine"], "max_drop": 0.9},
    }
}
RAKE = {
    "rake": {
        "margins": {"region": {"Africa": 0.25, "Asia": 0.25}, "gender_terms": {"feminine": 0.5, "masculine": 0.5}}
    }
}


def test_a_quota_leaves_out_of_the_over_full_value_alone(base, tmp_path):
    run = replayed(base, tmp_path / "new", QUOTAS)
    # six licensed ones of Africa are a fifth of 30
    assert kept(run, "region") == {"Africa": 6, "Asia": 10, "Europe": 14}
    found = rows(run)
    assert {row["region"][0] for row in found if row["primary_reason"] == "BALANCE_QUOTA"} == {"Europe"}
    assert sum(row["primary_reason"] == "BALANCE_QUOTA" for row in found) == 28
    assert all(row["decision"] == "kept" for row in found if not row["region"])
    assert {row["weight"] for row in found if row["decision"] == "kept"} == {1.0}


def test_who_has_no_rights_fills_no_quota(base, tmp_path):
    run = replayed(base, tmp_path / "new", QUOTAS)
    unlicensed = [row for row in rows(run) if row["primary_reason"] == "LICENCE_NOT_ALLOWED"]
    assert [row["region"] for row in unlicensed] == [["Africa"]] * 2
    assert all(row["reasons"] == ["LICENCE_NOT_ALLOWED"] for row in unlicensed)
    table = statement(run)["margins"][0]["values"]
    assert next(row for row in table if row["value"] == "Africa")["before"]["count"] == 6


def test_quotas_on_two_groups_hold_both(base, tmp_path):
    run = replayed(base, tmp_path / "new", BOTH)
    regions, genders = kept(run, "region"), kept(run, "gender_terms")
    assert genders["feminine"] == genders["masculine"] > 0
    assert min(regions["Africa"], regions["Asia"]) >= 0.2 * sum(regions.values())
    step = statement(run)["steps"][0]
    assert step["settled"]
    assert all(quota["reached"] for quota in step["quotas"])
    assert step["dropped"] == sum(row["primary_reason"] == "BALANCE_QUOTA" for row in rows(run))


def test_a_quota_that_costs_more_than_allowed_says_how_far_it_came(base, tmp_path):
    run = replayed(base, tmp_path / "new", {"quotas": {"region": {"min": {"Africa": 0.5}, "max_drop": 0.25}}})
    (quota,) = statement(run)["steps"][0]["quotas"]
    left = kept(run, "region")
    assert sum(left.values()) == 58 - 14
    assert (quota["reached"], quota["dropped"]) == (False, 14)
    assert quota["short"] == {"Africa": pytest.approx(6 / 44)}


def test_raking_reaches_its_margins_by_weights_and_drops_nobody(base, tmp_path):
    run = replayed(base, tmp_path / "new", RAKE)
    assert statement(run)["weights"]["converged"]
    assert weighted(run, "region", "Africa") == pytest.approx(0.25, abs=1e-5)
    assert weighted(run, "region", "Asia") == pytest.approx(0.25, abs=1e-5)
    assert weighted(run, "gender_terms", "feminine") == pytest.approx(0.5, abs=1e-5)
    weights = np.array([row["weight"] for row in rows(run) if row["decision"] == "kept"])
    assert len(weights) == 98
    assert weights.mean() == pytest.approx(1, abs=1e-5)
    stated = statement(run)["weights"]
    assert stated["ess"] == pytest.approx(weights.sum() ** 2 / (weights**2).sum(), rel=1e-5)
    assert stated["design_effect"] == pytest.approx(98 / stated["ess"])
    assert stated["high"] == pytest.approx(weights.max(), abs=1e-6)
    assert all(row["weight"] is None for row in rows(run) if row["decision"] == "dropped")


def test_moments_hold_within_labels(base, tmp_path):
    asked = {"targets": {"gender_terms": {"feminine": 0.5, "masculine": 0.5}}, "labels": ["region"], "least": 20}
    asked |= {"representation": 0.0, "association": 0.0}
    run = replayed(base, tmp_path / "new", {"moments": asked})
    assert weighted(run, "gender_terms", "feminine") == pytest.approx(0.5, abs=1e-3)
    pairs = statement(run)["moments"]
    assert {pair["label"] for pair in pairs} == {"Europe"}
    assert all(pair["weighted"] == pytest.approx(0.5, abs=1e-3) for pair in pairs)
    assert any(abs(pair["before"] - 0.5) > 0.1 for pair in pairs)


def test_factors_and_temperature_weigh(base, tmp_path):
    run = replayed(base, tmp_path / "one", {"by_group": {"region": {"Africa": 2.0}}})
    by_region = {row["region"][0]: row["weight"] for row in rows(run) if row["decision"] == "kept" and row["region"]}
    assert by_region["Africa"] == pytest.approx(2 * by_region["Europe"], rel=1e-5)
    run = replayed(base, tmp_path / "two", {"temperature": {"group": "region", "tau": 0.5}})
    mass = {value: weighted(run, "region", value) for value in PLACES}
    assert mass["Europe"] / mass["Africa"] == pytest.approx((42 / 6) ** 0.5, rel=1e-4)
    run = replayed(base, tmp_path / "three", {"temperature": {"group": "region", "tau": 0.0, "keep": 0.5}})
    assert kept(run, "region") == {"Africa": 6, "Asia": 10, "Europe": 13}
    assert Counter(row["primary_reason"] for row in rows(run))["BALANCE_TEMPERATURE"] == 29


def test_caps_on_concepts_spare_the_rare_and_the_unmatched(base, tmp_path):
    asked = {"group": "region", "t": 10}
    run = replayed(base, tmp_path / "one", {"concepts": asked})
    left = kept(run, "region")
    assert (left["Africa"], left["Asia"]) == (6, 10)
    assert 2 <= left["Europe"] <= 20
    assert sum(row["decision"] == "kept" and not row["region"] for row in rows(run)) == 40
    run = replayed(base, tmp_path / "two", {"concepts": {**asked, "unmatched": "drop"}})
    assert kept(run, "region") == left
    assert sum(row["primary_reason"] == "BALANCE_CONCEPT" and not row["region"] for row in rows(run)) == 40


def test_a_rule_has_other_bounds_for_a_group(base, tmp_path):
    strict = "rules={caption_characters: {low: 30}}"
    lenient = "rules={caption_characters: {low: 30, by_group: {region: {Africa: {low: 1}, Asia: {low: 1000}}}}}"
    one = replayed(base, tmp_path / "one", None, strict)
    other = replayed(base, tmp_path / "two", None, lenient)
    short = {row["uid"] for row in rows(one) if row["primary_reason"] == "CAPTION_LENGTH"}
    assert any(row["region"] == ["Africa"] for row in rows(one) if row["uid"] in short)
    for before, after in zip(rows(one), rows(other), strict=True):
        length = "CAPTION_LENGTH" in after["reasons"]
        expected = {("Africa",): False, ("Asia",): True}.get(
            tuple(before["region"]), "CAPTION_LENGTH" in before["reasons"]
        )
        assert length == expected
    described = other.marker("ledger", 0).facts["rules"][-1]
    assert described["by_group"] == {"region": {"Africa": {"low": 1.0}, "Asia": {"low": 1000.0}}}


@pytest.mark.parametrize(
    "balance",
    [
        BOTH,
        RAKE,
        RAKE | {"by_group": {"region": {"Asia": 1.3}}},
        {"concepts": {"group": "region", "t": 10}},
        {"by": "creator", "cap": 9},
    ],
)
def test_neither_parts_nor_their_order_change_who_stays_and_what_it_weighs(base, tmp_path, balance):
    other = run_of(tmp_path, 7, reverse=True)
    one, two = replayed(base, tmp_path / "one", balance), replayed(other, tmp_path / "two", balance)
    found = [
        {row["uid"]: (row["decision"], row["primary_reason"], row["weight"]) for row in rows(r)} for r in (one, two)
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 100
    same = [{k: v for k, v in statement(run).items() if k != "of"} for run in (one, two)]
    assert same[0] == same[1]


def test_another_seed_chooses_others(base, tmp_path):
    chosen = []
    for seed in (0, 1):
        run = replayed(base, tmp_path / str(seed), {**QUOTAS, "seed": seed})
        chosen.append({row["uid"] for row in rows(run) if row["decision"] == "kept"})
    assert len(chosen[0]) == len(chosen[1])
    assert chosen[0] != chosen[1]


def test_decide_killed_before_its_last_write_resumes_to_the_same_bytes(base, tmp_path):
    whole = replayed(base, tmp_path / "whole", BOTH | RAKE)
    killer = (
        "import os, signal, sys; import pipelines.jobs.decide as job\n"
        "job.write_statement = lambda *rest: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from pipelines.commands.main import main; main()"
    )
    out = tmp_path / "killed"
    settings = ["--set", f"balance={json.dumps(BOTH | RAKE)}"]
    process = subprocess.run([sys.executable, "-c", killer, "replay", base, "--out", out, *settings], check=False)
    assert process.returncode == -9
    assert not (out / STATEMENT).exists()
    (out / "ledger" / "part-00001.done.json").unlink()
    assert invoke(["decide", str(out)]) == 0
    for name in ("ledger/part-00000.parquet", "ledger/part-00001.parquet", STATEMENT):
        assert (out / name).read_bytes() == (Path(whole.store.root) / name).read_bytes()


def test_a_replay_reads_neither_models_nor_pictures_and_its_shards_carry_the_weights(base, tmp_path):
    shutil.copytree(base.parent, tmp_path / "own")
    own = tmp_path / "own" / "run"
    text = (own / "recipe.yaml").read_text().replace(str(base.parent), str(tmp_path / "own"))
    (own / "recipe.yaml").write_text(text)
    hidden = tmp_path / "own" / "hidden"
    (tmp_path / "own" / "in").rename(hidden)
    code = "import sys\nfrom pipelines.commands.main import invoke\ncode = invoke(sys.argv[1:])\n"
    code += "sys.exit(code or (3 if 'torch' in sys.modules else 0))"
    settings = ["--set", f"balance={json.dumps(BOTH | RAKE)}"]
    command = [sys.executable, "-c", code, "replay", own, "--out", tmp_path / "new", *settings]
    assert subprocess.run(command, check=False).returncode == 0
    hidden.rename(tmp_path / "own" / "in")
    assert invoke(["balance", str(tmp_path / "new"), "--runner", "plain"]) == 0
    run = open_run(str(tmp_path / "new"))
    weights = {row["uid"]: row["weight"] for row in rows(run) if row["decision"] == "kept"}
    assert max(weights.values()) > 1.2
    sidecars, names = {}, Counter()
    for name in run.store.list("shards"):
        if name.endswith(".parquet"):
            sidecars |= {row["uid"]: row["weight"] for row in read_table(run.store, name).to_pylist()}
        if name.endswith(".tar"):
            with tarfile.open(run.store.path(name)) as archive:
                names.update(member.name for member in archive)
    assert sidecars == weights
    # a weight is never a copy: every kept sample stands in the shards once, with its three members
    assert set(names.values()) == {1}
    assert len(names) == 3 * len(weights)
    manifest = json.loads(run.store.read("manifest.json"))
    assert STATEMENT in manifest["files"]
    assert verify(run) == []
    assert read_statement(run)[1]


def test_after_a_retraction_weights_stay_and_the_statement_names_the_version_before(base, tmp_path):
    registry, folder = tmp_path / "optouts.sqlite", tmp_path / "own"
    (folder / "in").mkdir(parents=True)
    for path in (base.parent / "in").iterdir():
        shutil.copy(path, folder / "in")
    recipe = recipe_over(folder, balance=BOTH | RAKE)
    out = str(folder / "run")
    assert invoke(["optout", "init", str(registry)]) == 0
    assert invoke(["run", str(recipe), "--out", out, "--runner", "plain"]) == 0
    before = {row["uid"]: row for row in rows(open_run(out))}
    said = (folder / "run" / STATEMENT).read_bytes()
    assert read_statement(open_run(out))[1]
    assert invoke(["optout", "add", str(registry), "--creator", "artist 1"]) == 0
    assert invoke(["optout", "apply", out, "--registry", str(registry)]) == 0
    run = open_run(out)
    after = {row["uid"]: row for row in rows(run)}
    gone = [uid for uid in after if after[uid]["decision"] == "dropped" and before[uid]["decision"] == "kept"]
    assert gone
    for uid in after:
        assert after[uid]["weight"] == (None if uid in gone else before[uid]["weight"])
    assert (folder / "run" / STATEMENT).read_bytes() == said
    body, current = read_statement(run)
    assert not current
    assert body["of"]["kept"] == sum(row["decision"] == "kept" for row in before.values())
    assert verify(run) == []


def test_without_a_balance_an_older_statement_goes(base, tmp_path):
    run = replayed(base, tmp_path / "new", QUOTAS)
    recipe = tmp_path / "new" / "recipe.yaml"
    recipe.write_text(open_run(str(base)).recipe.dump())
    assert invoke(["decide", str(tmp_path / "new")]) == 0
    assert not run.store.exists(STATEMENT)
    assert read_statement(open_run(str(tmp_path / "new"))) is None
    assert sum(row["decision"] == "kept" for row in rows(open_run(str(tmp_path / "new")))) == 98


def test_the_statement_holds_json_and_nothing_that_is_no_number(base, tmp_path):
    nobody = replayed(base, tmp_path / "nobody", BOTH | RAKE, "licences={allow: [none]}")
    text = nobody.store.read(STATEMENT).decode()
    assert "NaN" not in text
    body = json.loads(text)
    assert body["samples"] == {"before": 0, "dropped": 0, "after": 0}
    assert body["weights"]["ess"] == 0


def test_a_statement_of_another_time_is_refused(base, tmp_path):
    run = replayed(base, tmp_path / "new", QUOTAS)
    body = statement(run)
    for text in (json.dumps({**body, "schema_version": "2.0"}), "[]", "no json"):
        (tmp_path / "new" / STATEMENT).write_text(text)
        with pytest.raises(BadInput, match=r"balance\.json"):
            read_statement(run)


def test_a_value_that_only_the_data_knows_is_refused_where_nobody_has_it(base, tmp_path, capfd):
    groups = "audit={groups: {who: {kind: creator}}}"
    balance = json.dumps({"quotas": {"who": {"min": {"artist 9": 0.5}}}})
    code = invoke(
        ["replay", str(base), "--out", str(tmp_path / "new"), "--set", groups, "--set", f"balance={balance}"]
    )
    assert code == 2
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("assay: ")]
    assert len(said) == 1
    assert "no sample has the value 'artist 9' of group who; there is artist 0" in said[0]


BAD = {
    "unknown group": ({"quotas": {"planet": {"min": {"Mars": 0.1}}}}, "no group 'planet'"),
    "unknown value": ({"quotas": {"region": {"min": {"Mars": 0.1}}}}, "no value 'Mars'"),
    "unknown value raked": ({"rake": {"margins": {"region": {"Mars": 0.1}}}}, "no value 'Mars'"),
    "unknown value weighed": ({"by_group": {"gender_terms": {"other": 2}}}, "no value 'other'"),
    "sum": ({"quotas": {"region": {"min": {"Africa": 0.6, "Asia": 0.6}}}}, "add up to 1.2"),
    "cap": ({"cap": 0}, "greater than or equal to 1"),
    "t": ({"concepts": {"group": "occupations", "t": 0}}, "greater than 0"),
    "overlap": ({"quotas": {"occupations": {"min": {"nurse": 0.1}}}}, "overlap"),
    "min and parity": ({"quotas": {"region": {"min": {"Asia": 0.1}, "parity": ["Asia", "Africa"]}}}, "min or parity"),
    "parity of one": ({"quotas": {"region": {"parity": ["Asia"]}}}, "two or more"),
    "targets": ({"rake": {"margins": {"region": {"Asia": 0.9, "Africa": 0.2}}}}, "add up to 1.1"),
    "one target": ({"rake": {"margins": {"region": {"Asia": 1.0}}}}, "asks for nothing"),
    "both": ({**RAKE, "moments": {"targets": {"region": {"Asia": 0.5}}}}, "exclude each other"),
    "label and target": (
        {"moments": {"targets": {"region": {"Asia": 0.5}}, "labels": ["region"]}},
        "label and target",
    ),
    "trim": ({"rake": {"margins": {"region": {"Asia": 0.5}}, "trim": 1}}, "greater than 1"),
    "nothing": ({"seed": 1}, "asks for nothing"),
    "unknown key": ({"cap": 3, "quota": {}}, "unknown key"),
    "share of nothing": ({"quotas": {"region": {"min": {"Asia": 0}}}}, "greater than or equal to 0.000001"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_balance_that_cannot_be_is_refused_in_one_line(tmp_path, capfd, case):
    balance, words = BAD[case]
    recipe = recipe_over(tmp_path, balance=balance)
    assert invoke(["recipe", "check", str(recipe)]) == 2
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("assay: ")]
    assert len(said) == 1
    assert words in said[0]


def test_bounds_by_group_are_checked_too(tmp_path, capfd):
    cases = [
        ({"planet": {"Mars": {"low": 1}}}, "planet"),
        ({"region": {"Mars": {"low": 1}}}, "Mars"),
        ({"region": {"Asia": {}}}, "give low"),
        ({"region": {"Asia": {"low": 2, "high": 1}}}, "at most"),
    ]
    for by_group, words in cases:
        recipe = recipe_over(tmp_path, rules={"caption_words": {"low": 2, "by_group": by_group}})
        assert invoke(["recipe", "check", str(recipe)]) == 2
        assert words in capfd.readouterr().err
    recipe = recipe_over(
        tmp_path, cascade=True, rules={"caption_words": {"low": 2, "by_group": {"region": {"Asia": {"low": 1}}}}}
    )
    assert invoke(["recipe", "check", str(recipe)]) == 2
    assert "cascade: false" in capfd.readouterr().err


def test_a_key_that_stands_twice_is_no_second_margin(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "version: 1\nname: t\ninput: {kind: folder, path: in}\nbalance:\n  rake:\n    margins:\n"
        "      region: {Africa: 0.2}\n      region: {Africa: 0.4}\n"
    )
    done = subprocess.run(assay_command("recipe", "check", recipe), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "stands twice" in done.stderr
