"""The import of torchvision beside any build of torch, in processes of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_everything_that_stands_on_torchvision_imports():
    found = run(
        "from filters.encoders.torchvision_fix import ensure_torchvision as fix\n"
        "first = fix()\n"
        "import open_clip, timm, torchvision.transforms\n"
        "assert fix() == first\n"
        "print(first)"
    )
    assert found.strip() in ("native", "declared")


@pytest.mark.parametrize("error", ["RuntimeError('something else')", "ImportError('no torchvision')"])
def test_other_failures_are_not_hidden(error):
    run(
        "import importlib\n"
        "from filters.encoders import torchvision_fix\n"
        f"failure = {error}\n"
        "def fail(name): raise failure\n"
        "importlib.import_module = fail\n"
        "try: torchvision_fix.ensure_torchvision()\n"
        "except type(failure) as found: assert found is failure\n"
        "else: raise SystemExit('no error')"
    )
