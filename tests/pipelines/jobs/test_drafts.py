"""JPEGs are decoded at a half or less where every scorer of the recipe allows it, and the run says so."""

import io

import numpy as np
import pytest
from making import write_recipe, write_tar
from PIL import Image

from filters.registry import SCORERS
from filters.scorers.thumbnail import DRAFT_SIDE
from filters.scoring import DraftScorer
from pipelines.commands.main import invoke
from pipelines.jobs.score import unloaded_scorer
from pipelines.jobs.scoring import draft_side, drafts
from pipelines.run.directory import open_run
from pipelines.run.parts import read_table

DRAFTED = {"similarity": 672, "nsfw": 768, "size": 0, "caption": 0, "language": 0}
SIZES = [(2000, 1600), (1600, 2000), (900, 700), (5000, 700)]


def photo(number: int, form: str) -> bytes:
    """A picture with detail, the smooth kind that enlarged photos are."""
    width, height = SIZES[number % len(SIZES)]
    noise = np.random.default_rng(number).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, form, quality=88)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """A function that runs a recipe over the same eight pictures, by default a fresh run."""
    folder = tmp_path_factory.mktemp("drafts")
    samples = [
        {f"s{n}.{'jpg' if n < 6 else 'png'}": photo(n, "JPEG" if n < 6 else "PNG"), f"s{n}.txt": b"a colourful thing"}
        for n in range(8)
    ]
    write_tar(folder / "in" / "0.tar", *samples)

    def run(name: str, *scorers: str, **sections: object):
        recipe = write_recipe(folder, folder / "in", **{"scorers": list(scorers), "rules": {}, **sections})
        assert invoke(["run", str(recipe), "--out", str(folder / name), "--runner", "plain"]) == 0
        return open_run(str(folder / name))

    return run


@pytest.fixture(scope="module")
def drafted(make):
    return make("drafted", "size", "caption", "nsfw", "similarity")


@pytest.fixture(scope="module")
def whole(make):
    return make("whole", "size", "caption", "nsfw", "similarity", "hashes")


def scores(run):
    return read_table(run.store, "scores/part-00000.parquet")


def test_who_can_do_with_less_and_with_how_much():
    found = {name: unloaded_scorer(name, "builtin:mini") for name in SCORERS}
    assert {name for name, scorer in found.items() if isinstance(scorer, DraftScorer)} == {
        *DRAFTED,
        "aesthetic",
        "nsfw_clip",
    }
    for name, side in DRAFTED.items():
        found[name].load()
        assert found[name].draft_side() == side
    assert drafts([found["similarity"], found["size"]])
    assert not drafts([found["similarity"], found["hashes"]])
    assert draft_side([found["caption"]]) == DRAFT_SIDE


def test_sizes_are_the_files_and_scores_are_close(drafted, whole):
    less, all_pixels = scores(drafted), scores(whole)
    for name in ("width_upright", "height_upright", "min_side", "aspect_ratio"):
        assert less.column(name).equals(all_pixels.column(name))
    for name, bound in (("similarity", 0.01), ("nsfw", 0.02)):
        one, other = less.column(name).to_numpy(), all_pixels.column(name).to_numpy()
        assert np.abs(one - other).max() < bound
        same = one == other
        # The first two of four are twice the 768 pixels that nsfw needs; what is smaller, or a PNG, keeps its bits.
        assert same[[2, 3, 6, 7]].all()
        assert not same[[0, 1, 4, 5]].all()


def test_the_run_says_from_how_many_pixels(drafted, whole):
    assert drafted.marker("scores", 0).facts["jpeg_side"] == 768
    assert "jpeg_side" not in whole.marker("scores", 0).facts
    assert scores(drafted).schema.field("similarity").metadata[b"jpeg_side"] == b"768"
    assert b"jpeg_side" not in scores(whole).schema.field("similarity").metadata
    assert drafted.marker("scores", 0).fingerprint != whole.marker("scores", 0).fingerprint


def test_what_a_cascade_left_out_is_scored_later_from_the_same_pixels(make, drafted, tmp_path):
    rules = {"aspect_ratio": {"low": 1.26}, "nsfw": {"high": 1.0}, "similarity": {"low": -1.0}}
    scorers = ("size", "caption", "nsfw", "similarity")
    run = make("cascade", *scorers, rules=rules, cascade=True)
    assert scores(run).column("similarity").null_count == 4
    new = str(tmp_path / "new")
    assert invoke(["replay", run.store.url, "--out", new, "--set", "rules.aspect_ratio.low=1"]) == 2
    assert invoke(["score", new, "--missing", "--runner", "plain"]) == 0
    for name in ("similarity", "nsfw"):
        found, expected = (scores(open_run(at)).column(name).to_numpy() for at in (new, drafted.store.url))
        np.testing.assert_allclose(found, expected, atol=1e-6)
