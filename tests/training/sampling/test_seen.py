"""Looks of training pictures as the model saw them: all of them, whatever their shapes; what failed is tried again."""

from dataclasses import replace

import pytest
from making import write_recipe, write_tar
from training_runs import SAMPLES, members, opened

from filters.errors import TooManyFailures
from pipelines.commands.main import invoke
from training.config import parse_config
from training.contents import CONFIG
from training.sampling.model import Running, load_model
from training.sampling.seen import CACHE, seen_by


@pytest.fixture(scope="module")
def loaded(pixel_training):
    """The checkpoint."""
    return load_model(pixel_training / "step-00000002", Running(device="cpu"))


def with_data(loaded, folder, *overrides):
    """The checkpoint as if it had been trained with other settings of data, under `folder`."""
    text = (loaded.path / CONFIG).read_text()
    folder.mkdir(exist_ok=True)
    (folder / CONFIG).write_text(parse_config(text, CONFIG, list(overrides)).dump())
    return replace(loaded, path=folder)


def test_the_one_picture_of_a_shape_of_its_own_is_looked_at(loaded, tmp_path):
    write_tar(tmp_path / "in" / "0.tar", *(members(number) for number in [*range(1, SAMPLES, 3), 2]))
    recipe = write_recipe(tmp_path, tmp_path / "in", duplicates=None)
    assert invoke(["run", str(recipe), "--out", str(tmp_path / "run"), "--runner", "plain"]) == 0
    model = with_data(loaded, tmp_path / "model", "data.buckets.max_aspect=2")
    assert len(seen_by(model, opened(tmp_path), tmp_path, [].append).uids) == 21


def test_what_could_not_be_read_is_told_and_read_again_by_the_next_call(loaded, looks_dataset, tmp_path):
    run, said = opened(looks_dataset), []
    # 80 x 80 and 60 x 100 are more than this, 60 x 90 is not
    less = with_data(loaded, tmp_path / "model", "data.max_pixels=5400", "data.max_unreadable=1")
    assert len(seen_by(less, run, tmp_path, said.append).uids) == SAMPLES // 3
    assert said[-1].startswith(f"{SAMPLES * 2 // 3} training pictures cannot be read")
    assert len(seen_by(loaded, run, tmp_path, said.append).uids) == SAMPLES
    assert said[-1].startswith(f"looking at {SAMPLES * 2 // 3} ")


def test_a_dataset_of_which_too_little_can_be_read_guards_nothing(loaded, looks_dataset, tmp_path):
    less = with_data(loaded, tmp_path / "model", "data.max_pixels=5400")
    with pytest.raises(TooManyFailures, match="40 of 60 training pictures cannot be read"):
        seen_by(less, opened(looks_dataset), tmp_path, [].append)


def test_kept_hashes_nested_too_deep_are_made_again(loaded, looks_dataset, tmp_path):
    (tmp_path / CACHE).write_text("[" * 100_000)
    assert len(seen_by(loaded, opened(looks_dataset), tmp_path, [].append).uids) == SAMPLES
