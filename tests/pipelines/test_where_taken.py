"""Pictures' positions, from the file to the audit: the country is counted, the position itself is kept nowhere."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from making import picture, sample, write_recipe, write_tar
from PIL import Image

from pipelines.commands.main import invoke
from pipelines.jobs.audit import load_audit
from pipelines.run.directory import open_run
from pipelines.run.parts import PartWriter, part_name

WHAT = "where a picture was taken (EXIF GPS)"
#: Degrees, minutes, seconds; each turns up in no other number of a run.
NAIROBI = {1: "S", 2: (1.0, 17.0, 31.2345), 3: "E", 4: (36.0, 49.0, 19.8765)}
PARIS = {1: "N", 2: (48.0, 51.0, 23.7654), 3: "E", 4: (2.0, 21.0, 8.4321)}
TRACES = [r"1\.2920\d", r"36\.8221\d", r"48\.8566\d", r"2\.3523\d", "31.2345", "19.8765", "23.7654", "8.4321"]
GROUPS = {"taken": {"kind": "gps"}, "land": {"kind": "gps", "level": "country"}}


def photo(seed, gps):
    exif = Image.Exif()
    exif.get_ifd(0x8825).update(gps)
    buffer = io.BytesIO()
    Image.open(io.BytesIO(picture(seed))).convert("RGB").save(buffer, "JPEG", exif=exif.tobytes())
    members = sample(seed, key=f"p{seed:05d}")
    members[f"p{seed:05d}.jpg"] = buffer.getvalue()
    del members[f"p{seed:05d}.png"]
    return members


def run(folder, *samples, **sections):
    write_tar(folder / "in" / "a.tar", *samples)
    recipe = write_recipe(folder, folder / "in", audit={"groups": GROUPS, **sections})
    assert invoke(["run", str(recipe), "--out", str(folder / "run"), "--json"]) == 0
    return open_run(str(folder / "run"))


@pytest.fixture(scope="module")
def taken(tmp_path_factory):
    photos = [*(photo(i, NAIROBI) for i in range(30)), *(photo(30 + i, PARIS) for i in range(10))]
    hostile = [photo(40, {**PARIS, 2: (91.0, 0.0, 0.0)}), photo(41, {2: (48.0, 0.0, 0.0), 4: (2.0, 0.0, 0.0)})]
    return run(tmp_path_factory.mktemp("taken"), *photos, *hostile, *(sample(50 + i) for i in range(5)))


def test_samples_have_the_country_alone(taken):
    rows = taken.table("samples", 0).to_pylist()
    assert [row["gps_country"] for row in rows] == ["KE"] * 30 + ["FR"] * 10 + [None] * 7
    assert not any(row["failure"] for row in rows)


def test_the_audit_counts_regions_and_compares_them_with_the_un(taken):
    found = load_audit(taken)
    shares = {
        item.subject["value"]: item.value
        for section in found.sections
        for item in section.findings
        if item.metric == "share" and item.subject["group"] == "taken"
    }
    assert shares["Africa"] == pytest.approx(0.75)
    assert shares["Europe"] == pytest.approx(0.25)
    assert WHAT not in [item.what for item in found.not_measured]
    assert "taken" in [item.group for item in found.references]
    assert "EXIF position" in found.groups[0].described


def test_the_position_stands_in_no_artefact_of_the_run_but_the_original_files(taken):
    root = Path(taken.store.url.removeprefix("file://"))
    looked = 0
    for path in sorted(p for p in root.rglob("*") if p.is_file() and p.suffix != ".tar"):
        if path.suffix == ".parquet":
            table = pq.ParquetFile(path).read()
            text = repr(table.to_pydict()) + str(table.schema.metadata)
            numbers = [c.to_numpy(zero_copy_only=False) for c in table.columns if str(c.type) in ("float", "double")]
            for column in numbers:
                for degrees in (-1.29201, 36.82219, 48.85660, 2.35234):
                    assert not np.isclose(column.astype(float), degrees, atol=1e-4).any(), path
        else:
            text = path.read_bytes().decode("latin-1")
        looked += 1
        for trace in TRACES:
            assert not re.search(rf"(?<![\d.]){trace}", text), (path, trace)
    assert looked > 10


def test_a_run_without_positions_says_that_it_is_not_measured(tmp_path):
    found = load_audit(run(tmp_path, *(sample(i) for i in range(3))))
    (item,) = [item for item in found.not_measured if item.what == WHAT]
    assert "No picture has a position" in item.why


def test_a_run_that_does_not_ask_says_so(tmp_path):
    write_tar(tmp_path / "in" / "a.tar", photo(1, PARIS), sample(2))
    recipe = write_recipe(tmp_path, tmp_path / "in")
    assert invoke(["run", str(recipe), "--out", str(tmp_path / "run"), "--json"]) == 0
    (item,) = [i for i in load_audit(open_run(str(tmp_path / "run"))).not_measured if i.what == WHAT]
    assert "No group of kind `gps`" in item.why


def test_a_run_from_before_the_column_is_read_and_not_measured(tmp_path):
    made = run(tmp_path, *(photo(i, PARIS) for i in range(3)))
    name = part_name("samples", 0)
    old = made.table("samples", 0).drop_columns(["gps_country"])
    old = old.replace_schema_metadata({"artefact": "samples", "schema_version": "1.1"})
    marker = made.marker("samples", 0)
    signals = made.table("signals", 0)
    writer = PartWriter(made.store, part_name("samples", 0, ""), "old")
    writer.add_table(name, old)
    writer.add_table(part_name("signals", 0), signals)
    writer.commit(marker.rows, {**marker.facts, "content": "old"})
    for command in (["decide"], ["audit"]):
        assert invoke([*command, str(tmp_path / "run")]) == 0
    (item,) = [i for i in load_audit(open_run(str(tmp_path / "run"))).not_measured if i.what == WHAT]
    assert "before schema 1.2" in item.why
    assert json.loads((tmp_path / "run" / "audit" / "audit.json").read_text())["groups"][0]["samples"] == 0
