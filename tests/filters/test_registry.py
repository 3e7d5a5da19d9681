"""The registry of scorers loads nothing that is not asked for."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from filters.registry import SCORERS
from filters.scoring import Scorer

NAMES = ["size", "hashes", "pdq", "colours", "pixels", "caption", "language", "technical", "quality", "nsfw", "nudity"]
NAMES += ["similarity", "aesthetic", "nsfw_clip", "watermark"]


def test_names_stand_in_order_and_each_scorer_bears_its_name():
    assert list(SCORERS) == NAMES
    columns = [field.name for name in NAMES for field in SCORERS[name]().fields]
    assert len(columns) == len(set(columns))
    for name in NAMES:
        scorer = SCORERS[name]()
        assert isinstance(scorer, Scorer)
        assert scorer.name == name
        assert pickle.loads(pickle.dumps(scorer)).name == name


def test_importing_the_registry_loads_no_heavy_library():
    code = (
        "import sys, filters.registry as r\n"
        "assert list(r.SCORERS) and 'nsfw' in r.SCORERS\n"
        "heavy = {'torch', 'apache_beam', 'onnxruntime', 'pyarrow', 'numpy', 'scipy', 'fasttext'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_making_all_but_similarity_loads_no_model_library():
    code = (
        "import sys\n"
        "from filters.registry import SCORERS\n"
        "[SCORERS[name]() for name in SCORERS if name != 'similarity']\n"
        "print(sorted({'torch', 'apache_beam', 'onnxruntime', 'fasttext'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_settings_go_to_the_class_and_unknown_names_are_key_errors():
    assert SCORERS["nsfw"](threads=3).threads == 3
    assert "colour" not in SCORERS
    with pytest.raises(KeyError):
        SCORERS["colour"]
