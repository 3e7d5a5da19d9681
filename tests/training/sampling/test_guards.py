"""Guards: which prompts and pictures are refused, with which reason, and which pass."""

import io
from contextlib import ExitStack

import numpy as np
import pytest
from PIL import Image
from training_runs import SAMPLES, drawing, opened

from filters.optout.entries import Draft, Kind
from filters.scorers.nsfw import NsfwScorer
from filters.scorers.pdq import pdq_hash
from pipelines.jobs.match import make_matcher
from pipelines.registry.store import create_registry
from pipelines.run.recipe_rights import Rights
from training.sampling.guards import Bounds, Code, Guards, Refusal
from training.sampling.model import Running, load_model
from training.sampling.plan import Slot
from training.sampling.prompt_names import name_phrases
from training.sampling.refusals import LOG, RefusalLog
from training.sampling.seen import CACHE, seen_by
from training.sampling.training_looks import training_looks


@pytest.fixture(scope="module")
def registered(tmp_path_factory, photo_pixels):
    """Guards over a registry of a few creators and one picture."""
    url = str(tmp_path_factory.mktemp("registry") / "r.sqlite")
    with ExitStack() as stack:
        registry = stack.enter_context(create_registry(url))
        code, _ = pdq_hash(Image.fromarray(photo_pixels))
        drafts = [
            Draft(kind=Kind.CREATOR, value="Jane Doe", aliases=("J. M. Doe",)),
            Draft(kind=Kind.CREATOR, value="Rembrandt"),
            Draft(kind=Kind.CREATOR, value="Mountain"),
            Draft(kind=Kind.PDQ, value=code.hex()),
        ]
        registry.append(drafts)
        yield Guards(Bounds(), NsfwScorer(1), matcher=make_matcher(registry, registry.snapshot(), Rights(), None))


@pytest.mark.parametrize(
    "prompt",
    [
        "a castle by Jane Doe",
        "a castle, Jane Doe, trending, oil on canvas",
        "castle jane doe style",
        "a castle in the style of JANE DOÉ",
        "Doe, Jane: a castle",
        "a castle, j m doe",
        "a portrait by Rembrandt",
        "ein Schloss von Jane\u200b Doe",
    ],
)
def test_a_prompt_that_names_a_denied_creator_is_refused(registered, prompt):
    found = registered.prompt(prompt)
    assert found is not None
    assert found.code is Code.NAMED_CREATOR
    assert "of the registry" in found.detail


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "a castle",
        "a deer, jane",
        "the mountain in the evening",
        "doe eyes",
        "a castle by John Smith",
        "a mountain",
    ],
)
def test_other_prompts_pass(registered, prompt):
    assert registered.prompt(prompt) is None


def test_the_policy_may_let_names_pass_and_says_so(registered):
    free = Guards(registered.bounds, registered.nsfw, matcher=registered.matcher, creators=False)
    assert free.prompt("a castle by Jane Doe") is None
    assert free.names == "nsfw,registry"
    assert registered.names == "nsfw,registry,creators"


def test_an_endless_prompt_costs_bounded_work():
    assert len(name_phrases("a b c " * 50_000)) < 10_000


@pytest.mark.parametrize("change", ["none", "mirrored", "turned", "jpeg"])
def test_a_picture_like_a_registered_one_is_refused(registered, photo_pixels, change):
    image = Image.fromarray(photo_pixels)
    if change == "mirrored":
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    elif change == "turned":
        image = image.transpose(Image.Transpose.ROTATE_90)
    elif change == "jpeg":
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=50)
        image = Image.open(buffer)
    (found,) = registered.pictures([np.asarray(image)], "")
    assert found is not None
    assert found.code is Code.LOOKS_LIKE_OPT_OUT
    assert registered.start(np.asarray(image)) is not None


def test_a_picture_like_no_registered_one_passes(registered):
    other = np.asarray(Image.fromarray(pytest.importorskip("skimage.data").coffee()).resize((128, 128)))
    assert registered.pictures([other], "") == [None]
    assert registered.start(other) is None


def test_an_unsafe_picture_is_refused_from_the_bound_on(photo_pixels):
    strict = Guards(Bounds(nsfw=1e-6), NsfwScorer(1))
    (found,) = strict.pictures([photo_pixels], "")
    assert found is not None
    assert found.code is Code.NSFW
    assert Guards(Bounds(), NsfwScorer(1)).pictures([photo_pixels], "") == [None]


@pytest.fixture(scope="module")
def looks(looks_dataset, pixel_training, tmp_path_factory):
    """What the training's pictures look like, and the folder in which that is kept."""
    loaded = load_model(pixel_training / "step-00000002", Running(device="cpu"))
    folder, said = tmp_path_factory.mktemp("seen"), []
    run = opened(looks_dataset)
    first = seen_by(loaded, run, folder, said.append)
    assert first == seen_by(loaded, run, folder, said.append)
    assert len(said) == 1, "the second call decoded the dataset again"
    assert len(first.uids) == SAMPLES
    return training_looks(run, first)


def as_seen(number):
    """One of the dataset's pictures as the model sees it: cut to its middle, 64 x 64."""
    image = Image.open(io.BytesIO(drawing(number)))
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return np.asarray(image.resize((64, 64), Image.Resampling.LANCZOS, (left, top, left + side, top + side)))


def test_a_picture_like_a_training_sample_is_refused_also_where_the_model_saw_a_crop_of_it(looks):
    guards = Guards(Bounds(), NsfwScorer(1), looks)
    usable = [n for n in range(SAMPLES) if pdq_hash(Image.fromarray(as_seen(n)))[1] >= 60]
    assert {n % 3 for n in usable} == {0, 1, 2}, "all shapes should be among them"
    for mirror in (1, -1):
        found = guards.pictures([as_seen(number)[:, ::mirror] for number in usable], "")
        assert {one and one.code for one in found} == {Code.LOOKS_LIKE_TRAINING}


def test_a_whole_picture_of_the_dataset_is_refused_too(looks):
    guards = Guards(Bounds(), NsfwScorer(1), looks)
    wide = [Image.open(io.BytesIO(drawing(number))).convert("RGB") for number in range(2, SAMPLES, 3)]
    whole = next(np.asarray(image) for image in wide if pdq_hash(image)[1] >= 50)
    (found,) = guards.pictures([whole], "")
    assert found is not None
    assert found.detail.startswith("0 bits")


def test_a_picture_like_no_training_sample_passes(looks, photo_pixels):
    assert Guards(Bounds(), NsfwScorer(1), looks).pictures([photo_pixels], "") == [None]


def test_hashes_kept_of_another_dataset_or_broken_are_made_again(looks_dataset, pixel_training, tmp_path):
    loaded, run, said = load_model(pixel_training / "step-00000002", Running(device="cpu")), opened(looks_dataset), []
    for text in ("{", "[]", '{"key": "0", "codes": {}}'):
        (tmp_path / CACHE).write_text(text)
        assert len(seen_by(loaded, run, tmp_path, said.append).uids) == SAMPLES
    assert len(said) == 3


def test_the_log_holds_no_prompt_and_outlives_half_a_line(tmp_path):
    log, slot = RefusalLog(tmp_path), Slot(0, "a secret castle", 7)
    log.add(slot, "a.png", Refusal(Code.NSFW, "x"), 0, True)
    with (tmp_path / LOG).open("ab") as stream:
        stream.write(b"[" * 100_000 + b'\n{"file": "half')
    log.add(slot, "b.png", Refusal(Code.NSFW, "x"), None, True)
    log.add(slot, "c.png", Refusal(Code.NSFW, "x"), 0, False)
    log.add(slot, "d.png", Refusal(Code.MARKING_FAILED, "x"), 0, True)
    assert set(log.finals()) == {"a.png", "b.png"}
    assert b"secret" not in (tmp_path / LOG).read_bytes()
