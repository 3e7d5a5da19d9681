"""`make sbom` lists what a user of Assay installs, as CycloneDX, and leaves out what only developers need."""

import importlib.util
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from urllib.parse import quote

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("jsonschema") is None or importlib.util.find_spec("cyclonedx") is None,
    reason="the validator of cyclonedx-python-lib is not installed",
)


@pytest.fixture(scope="module")
def bill(tmp_path_factory):
    path = tmp_path_factory.mktemp("sbom") / "new" / "sbom.cdx.json"
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "sbom.py", path], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(path.read_text())


def test_it_is_cyclonedx_about_assay(bill):
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["name"] == "assay-data"


def test_what_is_asked_for_is_there_with_version_and_licence(bill):
    found = {component["name"]: component for component in bill["components"]}
    for name in ("apache-beam", "pyarrow", "torch", "diffusers", "fastapi"):
        assert found[name]["version"] == metadata.version(name)
        assert found[name]["purl"] == f"pkg:pypi/{name}@{quote(metadata.version(name))}"
        assert found[name]["licenses"], name
    assert not {"pytest", "ruff", "mypy", "playwright"} & found.keys()


def test_who_needs_whom_names_only_what_is_listed(bill):
    root = bill["metadata"]["component"]
    listed = {component["bom-ref"] for component in bill["components"]} | {root["bom-ref"]}
    needs = {row["ref"]: set(row.get("dependsOn", ())) for row in bill["dependencies"]}
    assert needs.keys() == listed
    assert set().union(*needs.values()) <= listed
    reached, waiting = set(), [root["bom-ref"]]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += needs[name]
    assert reached == listed
