"""`assay export` over real small runs: numbers are the ledger's, records stream, what the check refuses is refused."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections import Counter

import pyarrow as pa
import pytest
from making import sample, write_recipe, write_tar

from filters.optout.entries import Draft, Kind
from pipelines.commands.main import invoke
from pipelines.registry.store import create_registry, open_registry
from pipelines.run.directory import open_run
from pipelines.run.facts import gather

READ = """
import json, sys
import mlcroissant
dataset = mlcroissant.Dataset(sys.argv[1])
issues = dataset.metadata.ctx.issues
found = {"issues": sorted(issues.errors | issues.warnings), "records": {}}
for name in ("sample_captions", "sample_records", "sample_pictures"):
    rows = {}
    for row in dataset.records(name):
        uid, value = (row[f"{name}/{field}"] for field in ("uid", {"sample_captions": "caption",
            "sample_records": "record", "sample_pictures": "image"}[name]))
        if name == "sample_pictures":
            import hashlib
            value.fp.seek(0)
            rows[uid.decode()] = hashlib.sha256(value.fp.read()).hexdigest()
        else:
            rows[uid.decode()] = value.decode()
    found["records"][name] = rows
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """24 samples in 3 parts; some too long in caption, one artist opted out; hosts of several sizes."""
    folder = tmp_path_factory.mktemp("export")
    for part in range(3):
        numbers = range(part * 8, part * 8 + 8)
        captions = {3: "<b>*bold*</b> | [x](y)\nsecond line", 9: "x" * 900}
        members = [
            sample(i, captions.get(i), url=f"https://img.host{i % 4}.co.uk/{i}.png", licence=f"L{i % 3}|<b>")
            for i in numbers
        ]
        write_tar(folder / "in" / f"{part}.tar", *members)
    with create_registry(str(folder / "registry.sqlite")) as registry:
        registry.append([Draft(Kind.CREATOR, "artist 2", requester="the artist")])
    recipe = write_recipe(
        folder,
        folder / "in",
        shards={"samples": 6},
        rules={"caption_characters": {"high": 500}},
        rights={"registry": str(folder / "registry.sqlite")},
        provider={"name": "Example Lab", "published": "2026-11-20"},
    )
    assert invoke(["run", str(recipe), "--out", str(folder / "run"), "--runner", "plain"]) == 0
    return folder


def ledger(folder):
    """Rows of samples and ledger together, read without the code under test."""
    run = open_run(str(folder / "run"))
    rows = []
    for index in run.parts("ledger"):
        pairs = zip(run.table("samples", index).to_pylist(), run.table("ledger", index).to_pylist(), strict=True)
        rows += [{**judged, **row} for row, judged in pairs]
    return rows


def export(folder, *arguments):
    return invoke(["export", str(folder / "run"), *(str(argument) for argument in arguments)])


def test_every_format_is_written_and_what_is_missing_is_told(made, tmp_path, capsys):
    assert export(made, "--format", "all", "--out", tmp_path / "docs", "--json") == 0
    told = json.loads(capsys.readouterr().out)["documents"]
    written = {path.name for path in (tmp_path / "docs").iterdir()}
    assert written == {
        "croissant.json",
        "eu-summary.md",
        "eu-summary.json",
        "ab2013.md",
        "bom.cdx.json",
        "dataset.spdx.json",
        "datasheet.md",
    }
    for document in told:
        assert os.path.getsize(document["file"]) == document["bytes"]
        places = " ".join(item["from"] for item in document["missing"])
        assert "provider.personal_information" in places or "eu-" in document["file"]
        assert "provider.name" not in places


def test_the_same_run_gives_the_same_bytes(made, tmp_path):
    for name in ("a", "b"):
        assert export(made, "--format", "all", "--out", tmp_path / name) == 0
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_every_number_is_that_of_the_ledger(made):
    rows = ledger(made)
    kept = [row for row in rows if row["decision"] == "kept"]
    facts = gather(open_run(str(made / "run")), "")
    assert (facts.counts.value.samples, facts.counts.value.kept) == (24, len(kept))
    reasons = Counter(row["primary_reason"] for row in rows if row["decision"] == "dropped")
    assert facts.counts.value.dropped == reasons
    assert {"REGISTRY_OPT_OUT", "CAPTION_LENGTH"} <= set(reasons)
    material = facts.material.value
    assert material.picture_bytes == sum(row["nbytes"] for row in kept)
    assert material.caption_bytes == sum(len(row["caption"].encode()) for row in kept)
    assert material.licences == Counter(row["licence"] for row in kept)
    assert material.formats == {"png": len(kept)}
    assert material.creators == len({row["creator"] for row in kept})
    assert material.smallest == material.largest == (96, 80)
    hosts = Counter()
    for row in kept:
        hosts[row["domain"].removeprefix("img.")] += row["nbytes"] + len(row["caption"].encode())
    assert {d.name: d.nbytes for d in facts.domains.value.found} == hosts
    assert sum(d.samples for d in facts.domains.value.found) == len(kept)
    for shard in facts.shards.value:
        data = (made / "run" / shard.name).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (shard.sha256, shard.nbytes)


def test_the_documents_state_those_numbers(made, tmp_path, capsys):
    rows = ledger(made)
    kept = [row for row in rows if row["decision"] == "kept"]
    assert export(made, "--format", "eu-summary", "--out", tmp_path / "eu.json") == 0
    body = json.loads((tmp_path / "eu.json").read_text())
    answers = {q["id"]: q["answer"] for part in body["parts"] for q in part["questions"]}
    assert f"{sum(row['nbytes'] for row in kept):,} bytes" in answers["1.3.1"]["rows"][0]["size"]
    listed = {row["reason"]: row["samples"] for row in answers["3.3.2"]["rows"]}
    assert listed == Counter(row["primary_reason"] for row in rows if row["decision"] == "dropped")
    assert sum(row["samples"] for row in answers["3.1.7"]["rows"]) == len(kept)
    assert answers["2.3.6"]["rows"][0]["domain"] in {f"host{n}.co.uk" for n in range(4)}
    assert answers["1.1.1"] == "Example Lab"


@pytest.mark.parametrize("where", ["in the run", "elsewhere"])
def test_mlcroissant_loads_it_without_a_word_and_streams_the_records_of_the_shards(made, tmp_path, where):
    path = made / "run" / "croissant.json" if where == "in the run" else tmp_path / "far" / "away" / "c.json"
    assert export(made, "--format", "croissant", "--out", path) == 0
    environment = {**os.environ, "CROISSANT_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", READ, str(path)], env=environment, capture_output=True, text=True)
    path.unlink()
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    found = json.loads(done.stdout)
    assert found["issues"] == []
    kept = {row["uid"]: row for row in ledger(made) if row["decision"] == "kept"}
    assert found["records"]["sample_captions"] == {uid: row["caption"] for uid, row in kept.items()}
    assert found["records"]["sample_pictures"] == {uid: row["sha256"] for uid, row in kept.items()}
    records = {uid: json.loads(text) for uid, text in found["records"]["sample_records"].items()}
    assert {uid: r["licence"] for uid, r in records.items()} == {uid: row["licence"] for uid, row in kept.items()}


def test_mlcroissant_sees_a_changed_shard(made, tmp_path):
    assert export(made, "--format", "croissant", "--out", tmp_path / "c.json") == 0
    body = json.loads((tmp_path / "c.json").read_text())
    body["distribution"][0]["sha256"] = "0" * 64
    (tmp_path / "c.json").write_text(json.dumps(body))
    environment = {**os.environ, "CROISSANT_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path / "c.json")], env=environment, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "not identical" in done.stderr


def test_a_providers_file_takes_the_place_of_the_recipes_section(made, tmp_path, capsysbinary):
    (tmp_path / "p.yaml").write_text("provider: {name: Another Lab, published: 2026-11-21, sme: true}\n")
    assert export(made, "--format", "datasheet", "--provider", tmp_path / "p.yaml") == 0
    page = capsysbinary.readouterr().out.decode()
    assert "Another Lab" in page
    assert "Example Lab" not in page
    assert "p.yaml (provider.name)" in page.replace("\\", "")
    (tmp_path / "p.yaml").write_text("nome: x\n")
    assert export(made, "--format", "datasheet", "--provider", tmp_path / "p.yaml") == 2
    assert b"provider.nome: unknown key" in capsysbinary.readouterr().err


def test_what_the_check_refuses_is_not_exported_unless_asked_and_then_says_so(made, tmp_path, capsys):
    with open_registry(str(made / "registry.sqlite")) as registry:
        before = registry.snapshot()
    copy = tmp_path / "registry.sqlite"
    copy.write_bytes((made / "registry.sqlite").read_bytes())
    with open_registry(str(copy)) as registry:
        registry.append([Draft(Kind.CREATOR, "artist 1")])
        assert registry.snapshot().seq == before.seq + 1
    out = tmp_path / "sheet.md"
    assert export(made, "--format", "datasheet", "--out", out, "--registry", copy) == 3
    assert "UNAPPLIED_ENTRY" in capsys.readouterr().err
    assert not out.exists()
    assert export(made, "--format", "all", "--out", tmp_path / "d", "--registry", copy, "--despite-check") == 0
    for path in (tmp_path / "d").iterdir():
        text = path.read_text().replace("\\_", "_")
        assert "ASSAY CHECK REFUSES THIS DATASET: UNAPPLIED_ENTRY" in text, path.name


BAD = {
    "an unknown format": ("--format", "pdf"),
    "all on standard output": ("--format", "all"),
    "results and a document on standard output": ("--format", "ab2013", "--json"),
    "a folder in place of a file": ("--format", "ab2013", "--out", "."),
    "an address in place of a file": ("--format", "ab2013", "--out", "s3://bucket/x.md"),
    "a file below a file": ("--format", "ab2013", "--out", f"{__file__}/x.md"),
    "no such provider's file": ("--format", "ab2013", "--provider", "nowhere.yaml"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_arguments_are_one_line_and_exit_code_2(made, what, capsys):
    assert export(made, *BAD[what]) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    assert "Traceback" not in error


@pytest.mark.parametrize("change", ["unfinished", "changed", "not JSON", "lacks counts"])
def test_a_run_that_cannot_be_trusted_is_refused_in_one_line(made, tmp_path, change, capsys):
    shutil.copytree(made / "run", tmp_path / "run")
    path = tmp_path / "run" / "manifest.json"
    body = json.loads(path.read_text())
    if change == "unfinished":
        path.unlink()
    elif change == "changed":
        body["content"]["name"] = "another"
        path.write_text(json.dumps(body))
    elif change == "not JSON":
        path.write_text("{")
    else:
        from pipelines.run.manifest import content_hash

        del body["content"]["models"]
        body["content_hash"] = content_hash(body["content"])
        path.write_text(json.dumps(body))
    assert export(tmp_path, "--format", "ab2013", "--despite-check") == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1


def test_an_audit_is_repeated_and_one_that_the_manifest_does_not_name_is_not(made, tmp_path):
    body = json.loads((made / "run" / "audit" / "audit.json").read_text())
    facts = gather(open_run(str(made / "run")), "")
    stated = [item for section in body["sections"] for item in section["findings"]]
    assert facts.audit.value.measured == sum(item["state"] != "not measured" for item in stated)
    assert facts.audit.value.unmeasured == sum(item["state"] == "not measured" for item in stated)
    assert facts.audit.value.sure == sum(item["state"] == "found" for item in stated)
    assert any("skin tone" in text for text in facts.audit.value.not_measured)
    shutil.copytree(made / "run", tmp_path / "run")
    path = tmp_path / "run" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["files"]["audit/audit.json"]
    path.write_text(json.dumps(manifest))
    facts = gather(open_run(str(tmp_path / "run")), "")
    assert facts.audit.value is None
    assert "not part of the manifest" in facts.audit.why


def test_a_gate_that_fails_blocks_the_export_until_it_is_waived_and_the_waiver_is_shown(made, tmp_path, capsys):
    gate = {"women": {"coverage": {"group": "gender_terms", "min": 0.9}}}
    rights = {"registry": str(made / "registry.sqlite")}
    recipe = write_recipe(tmp_path, made / "in", gates=gate, rights=rights)
    assert invoke(["run", str(recipe), "--out", str(tmp_path / "run"), "--runner", "plain"]) in (0, 3)
    assert export(tmp_path, "--format", "croissant", "--out", tmp_path / "c.json") == 3
    assert "GATE_FAILED" in capsys.readouterr().err
    assert export(tmp_path, "--format", "all", "--out", tmp_path / "before", "--despite-check") == 0
    assert invoke(["waive", str(tmp_path / "run"), "women", "--by", "Ann <b>", "--why", "drawings of things"]) == 0
    assert export(tmp_path, "--format", "all", "--out", tmp_path / "after") == 0
    for path in (tmp_path / "after").iterdir():
        assert "nobody has waived it: women" in (tmp_path / "before" / path.name).read_text(), path.name
        assert "waived by Ann" in path.read_text(), path.name
        assert "drawings of things" in path.read_text(), path.name
    assert json.loads((tmp_path / "after" / "croissant.json").read_text())["version"].startswith("1.0.1+")


def test_the_provider_is_no_part_of_the_content_hash(made):
    from pipelines.run.recipe import load_recipe

    recipe = load_recipe(made / "recipe.yaml")
    assert recipe.provider is not None
    assert recipe.model_copy(update={"provider": None}).content() == recipe.content()
    kept = open_run(str(made / "run")).table("ledger", 0).column("decision").cast(pa.string()).to_pylist()
    assert "kept" in kept
