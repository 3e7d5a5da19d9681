"""Groups told by an encoder: its error is measured, taken out, and where it is too large nothing is said."""

import numpy as np
import pytest

from audit.metrics.estimate import Estimate, Unmeasurable
from training.evaluation.encoder_labels import assign, class_scores, corrected_share, read_classes, skill_of

CLASSES = ["feminine", "masculine"]


def scored(strength, count=200, seed=0, tilt=0.0):
    """Scores of pictures of two classes that lie `strength` standard deviations apart; `tilt` favours the first."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    scores = random.normal(size=(count, 2))
    scores[np.arange(count), labels] += strength
    return scores + np.array([tilt, 0.0]), labels


def test_an_encoder_that_tells_is_used_and_its_tilt_is_taken_off():
    found = read_classes(CLASSES, *scored(3.5, tilt=50.0))
    assert found.usable
    assert found.skill.value > 0.9
    assert found.confusion.sum() == 200


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_an_encoder_that_hardly_tells_is_not_used(strength):
    for seed in range(20):
        assert not read_classes(CLASSES, *scored(strength, seed=seed)).usable


def test_the_skill_of_guessing_is_nothing():
    covered = 0
    for seed in range(60):
        skill = read_classes(CLASSES, *scored(0.0, seed=seed)).skill
        covered += skill.low <= 0 <= skill.high
    assert covered >= 52


def test_too_few_labelled_pictures_give_no_error_and_so_no_answer():
    scores, labels = scored(3.0, 40)
    labels[:] = 0
    labels[:5] = 1
    found = read_classes(CLASSES, scores, labels)
    assert isinstance(found, Unmeasurable)
    assert "masculine 5" in found.why


def test_skill_is_youdens_index_for_two_classes():
    skill = skill_of(np.array([[90, 10], [30, 70]]))
    assert skill.value == pytest.approx(0.9 + 0.7 - 1)
    assert skill.low < 0.6 < skill.high


def test_known_errors_are_taken_out_of_a_share():
    confusion = np.array([[90, 10], [20, 80]])
    # of 1000 pictures 300 are of the first class: 270 + 140 are read as it
    found = corrected_share(410, 1000, confusion)
    assert found.value == pytest.approx(0.3)
    assert found.low < 0.3 < found.high
    assert corrected_share(0, 50, confusion).value == 0.0
    assert isinstance(corrected_share(5, 10, np.array([[5, 5], [5, 5]])), Unmeasurable)


def test_the_corrected_interval_covers_the_truth():
    random, covered = np.random.default_rng(0), 0
    for _ in range(200):
        hit, right = random.binomial(80, 0.9), random.binomial(80, 0.8)
        first = random.binomial(160, 0.3 * 0.9 + 0.7 * 0.2)
        found = corrected_share(first, 160, np.array([[hit, 80 - hit], [80 - right, right]]))
        covered += isinstance(found, Estimate) and found.low <= 0.3 <= found.high
    assert covered >= 182  # 95 % would be 190


def test_scores_are_cosines_with_the_mean_text():
    texts = [np.eye(3)[:2], np.eye(3)[2:]]
    found = class_scores(np.eye(3), texts)
    assert found[:, 0] == pytest.approx([0.5**0.5, 0.5**0.5, 0.0])
    assert assign(found, np.zeros(2)).tolist() == [0, 0, 1]
