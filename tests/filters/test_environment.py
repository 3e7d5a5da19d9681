"""Every environment variable that shipped code reads is declared in one table, with its meaning."""

import ast
import re
from pathlib import Path

from filters import environment
from filters.environment import VARIABLES

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("filters", "audit", "pipelines", "training", "dashboards")
DECLARED = ROOT / "filters" / "environment.py"
MODULES = [path for floor in FLOORS for path in sorted((ROOT / floor).rglob("*.py")) if path != DECLARED]
OURS = re.compile(r"\b(?:ASSAY|SPAWNING)_[A-Z0-9_]+\b")

#: Names that are handed on to a process of Python's, or set for the libraries in it.
PYTHONS = {"PYTHONPATH", "OMP_NUM_THREADS"}
READERS = {"os.environ.get", "os.environ.setdefault", "os.environ.pop", "os.getenv"}


def read_by_name(tree):
    """Return the texts that stand as keys of `os.environ` or as first arguments of what reads it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            key = node.slice
        elif isinstance(node, ast.Call) and node.args and ast.unparse(node.func) in READERS:
            key = node.args[0]
        else:
            continue
        if isinstance(key, ast.Constant):
            yield key.value


def test_shipped_code_reads_no_variable_that_the_table_lacks():
    for path in MODULES:
        code = path.read_text()
        if not re.search(r"environ\b|getenv", code) and not OURS.search(code):
            continue  # parsing all takes seconds
        tree = ast.parse(code)
        constants = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        texts = [value for value in constants if isinstance(value, str)]
        assert set(read_by_name(tree)) <= PYTHONS, f"{path}: declare it in filters/environment.py"
        assert not [text for text in texts if OURS.fullmatch(text)], f"{path}: declare it in filters/environment.py"
        assert {name for text in texts for name in OURS.findall(text)} <= VARIABLES.keys(), path


def test_each_variable_of_the_table_is_read_and_has_a_meaning():
    names = {value: name for name, value in vars(environment).items() if isinstance(value, str) and name.isupper()}
    assert names.keys() == VARIABLES.keys()
    reader = DECLARED.read_text().partition("def ")[2]
    code = "".join([reader, *(path.read_text() for path in MODULES)])
    for variable, meaning in VARIABLES.items():
        assert re.search(rf"\b{names[variable]}\b", code), f"nothing reads {variable}"
        assert meaning.endswith("."), variable
