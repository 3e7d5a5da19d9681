"""The wheel as a user gets it: built, installed where nothing else is, and whole."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from filters import __version__

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("audit", "dashboards", "filters", "pipelines", "training")

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]


def call(*words, **settings):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, **settings)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, from a copy of the sources: a build leaves files beside them."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    left_out = shutil.ignore_patterns("__pycache__")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=left_out)
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source / name)
    call(sys.executable, "-m", "venv", folder / "builder")
    call(folder / "builder/bin/python", "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder / "dist", source)
    (found,) = (folder / "dist").glob("*.whl")
    return found


@pytest.fixture(scope="module")
def empty(wheel, tmp_path_factory):
    """An environment with the wheel and what it asks for, and nothing else."""
    folder = tmp_path_factory.mktemp("empty")
    call(sys.executable, "-m", "venv", folder / "venv")
    python = folder / "venv/bin/python"
    call(python, "-m", "pip", "install", "--quiet", "--upgrade", "pip>=25")
    # the wheels without a GPU: gigabytes less, and nothing that Assay's own code would see
    call(python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints-cpu.txt", f"{wheel}[dashboard]")
    return folder


def test_the_wheel_holds_each_file_of_the_packages_and_none_beside_them(wheel):
    names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    here = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    wanted = {path.relative_to(ROOT).as_posix() for path in here if "__pycache__" not in path.parts}
    assert sorted(names) == sorted(wanted)
    assert wheel.stat().st_size < 60_000_000


def test_it_runs_where_nothing_else_is_installed(empty, tmp_path):
    """The models, templates and lists in the wheel are read: each scorer, one whole run, its report and documents."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "NO_ALBUMENTATIONS_UPDATE": "1"}

    def assay(*words):
        return call(empty / "venv/bin/assay", *words, cwd=tmp_path, env=environment)

    assert assay("--version") == f"assay {__version__}\n"
    found = json.loads(assay("doctor", "--json"))
    assert found["ok"], found
    (tmp_path / "in").mkdir()
    for number, colour in enumerate(("red", "green", "blue")):
        Image.linear_gradient("L").convert("RGB").rotate(40 * number, fillcolor=colour).save(
            tmp_path / f"in/{number}.png"
        )
        (tmp_path / f"in/{number}.txt").write_text(f"a {colour} drawing of the sea")
    recipe = {"version": 1, "name": "wheel", "input": {"kind": "folder", "path": str(tmp_path / "in")}}
    recipe["scorers"] = ["size", "hashes", "caption", "language", "similarity", "nsfw", "watermark"]
    recipe["rights"] = {"registry": str(tmp_path / "optouts.sqlite")}
    assay("optout", "init", "optouts.sqlite")
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    done = json.loads(assay("run", "recipe.yaml", "--out", "run", "--json"))
    assert (done["samples"], done["kept"], done["balanced"]) == (3, 3, True)
    assert "<html" in (tmp_path / "run/report.html").read_text("utf-8")
    assay("export", "run", "--format", "all", "--out", "documents")
    assert list((tmp_path / "documents").iterdir())


def test_the_dashboard_starts_from_the_wheel(empty, tmp_path):
    program = "from pathlib import Path\nimport dashboards.web\nfolder = Path(dashboards.web.__file__).parent\n"
    program += "from pipelines.commands.main import invoke\n"
    program += (
        "assert (folder / 'static/vendor/htmx.min.js').is_file() and (folder / 'templates/base.html').is_file()\n"
    )
    program += "raise SystemExit(invoke(['serve', '--help']))"
    call(empty / "venv/bin/python", "-I", "-c", program, cwd=tmp_path)
