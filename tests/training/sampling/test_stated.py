"""What a checkpoint's facts state goes into signed credentials, so nobody but the training may have written it."""

import shutil

import pytest
from restating import edit, identified

from filters.errors import BadInput
from training.checkpoints import read_facts
from training.contents import INDEX
from training.keeper import verify_state
from training.sampling.model import checked_facts
from training.sampling.stated import require_same_data

BASE = {"checkpoint": "a" * 64, "name": "x", "step": 1, "datasets": ["b" * 64], "data": "y", "base": None}


@pytest.fixture
def copy(pixel_training, tmp_path):
    """A copy of a checkpoint."""
    return shutil.copytree(pixel_training / "step-00000002", tmp_path / "step-00000002")


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Other model"},
        {"step": 3},
        {"datasets": ["f" * 64]},
        {"data": {"name": "Clean data"}},
        {"base": BASE},
        {"metrics": {}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_facts_changed_since_the_training_make_no_credential(copy, change):
    checked_facts(copy)
    edit(copy, **change)
    with pytest.raises(BadInput, match=r"assay.json was changed since the training wrote it"):
        checked_facts(copy)


def test_a_checkpoint_from_before_the_copy_is_taken_but_with_no_other_datasets(copy):
    identified(copy, read_facts(copy), copied=False)
    assert checked_facts(copy)["name"]
    edit(copy, datasets=["f" * 64])
    with pytest.raises(BadInput, match=f"assay.json names other datasets than {INDEX}"):
        checked_facts(copy)
    facts = read_facts(copy)
    del facts["files"][INDEX]  # as of an adapter, which has none
    with pytest.raises(BadInput, match=r"assay.json names other datasets than exposure.parquet"):
        require_same_data(copy, facts)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"base": {}}, "what its base is"),
        ({"base": "x"}, "what its base is"),
        ({"base": BASE | {"datasets": []}}, "what its base is"),
        ({"base": BASE | {"base": {}}}, "what its base is"),
        ({"datasets": [1]}, "what it is"),
        ({"step": "2"}, "what it is"),
        ({"data": None}, "what it is"),
    ],
)
def test_facts_that_say_too_little_are_one_line(copy, change, words):
    identified(copy, edit(copy, **change))
    with pytest.raises(BadInput, match=words):
        checked_facts(copy)


@pytest.mark.parametrize("check", [verify_state, checked_facts])
@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([1], "name no files"),
        (None, "name no files"),
        ({"/etc/passwd": "0"}, "a file outside"),
        ({"../x": "0"}, "a file outside"),
        ({"a\0b": "0"}, "a file outside"),
        ({"a" * 5000: "0"}, "a file outside"),
    ],
)
def test_files_that_facts_cannot_have_are_one_line(copy, check, files, words):
    edit(copy, files=files)
    with pytest.raises(BadInput, match=words):
        check(copy)


def test_facts_nested_too_deep_are_no_checkpoint(copy):
    (copy / "assay.json").write_text("[" * 100_000)
    with pytest.raises(BadInput, match="not a checkpoint"):
        checked_facts(copy)
