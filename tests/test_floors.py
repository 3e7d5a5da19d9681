"""The floors hold: filters <- audit <- pipelines <- training <- dashboards, and nothing imports upward."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ["filters", "audit", "pipelines", "training", "dashboards"]
FILES = [path for floor in FLOORS for path in sorted((ROOT / floor).rglob("*.py"))]


def imported(path):
    """Top-level packages that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def test_there_are_floors_to_check():
    assert len(FILES) > 40


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_imports_upward_and_files_stay_short(path):
    own = FLOORS.index(path.relative_to(ROOT).parts[0])
    upward = {name for name in imported(path) if name in FLOORS and FLOORS.index(name) > own}
    assert upward == set()
    assert len(path.read_text().splitlines()) <= 400


def test_filters_know_no_beam_and_audit_no_torch():
    for path in FILES:
        floor = path.relative_to(ROOT).parts[0]
        forbidden = {"filters": {"apache_beam"}, "audit": {"apache_beam", "torch"}}.get(floor, set())
        assert not forbidden & set(imported(path)), path
