"""The packaged lists of the audit of outputs, and the captions that name a class."""

import numpy as np
import pyarrow as pa

from audit.groups.lexicon import load
from audit.groups.places import un_population
from audit.metrics.estimate import Unmeasurable
from training.evaluation.encoder_labels import Reading, read_classes, skill_of
from training.evaluation.outputs import tabled
from training.evaluation.prompt_sets import caption_labels, lists


def test_every_class_is_one_that_captions_can_name():
    found = {one.name: one for one in lists().attributes}
    assert set(found["gender presentation"].classes) == set(load("gender_terms").values)
    assert set(found["region"].classes) == set(un_population().shares)
    assert {one.attribute for one in lists().sets} <= set(found)
    assert "{" not in "".join(prompt for one in lists().sets for prompt in one.prompts)


def test_no_prompt_names_a_class_itself():
    for one in lists().sets:
        attribute = next(item for item in lists().attributes if item.name == one.attribute)
        assert (caption_labels(attribute, pa.chunked_array([list(one.prompts)])) == -1).all()


def test_captions_that_name_several_classes_or_none_have_no_label():
    captions = pa.chunked_array([["a woman", "a man and a woman"], ["", "a boy", "a tree"]])
    attribute = lists().attributes[0]
    names = list(attribute.classes)
    expected = [names.index("feminine"), -1, -1, names.index("masculine"), -1]
    assert caption_labels(attribute, captions).tolist() == expected


def reading():
    confusion = np.array([[95, 5], [5, 95]])
    return Reading(("feminine", "masculine"), confusion, skill_of(confusion), np.zeros(2))


def test_planted_skew_of_one_prompt_is_found_and_equal_ones_are_not():
    attribute, prompts = lists().attributes[0], lists().sets[0]
    table = np.full((len(prompts.prompts), 2), 20)
    table[0] = [39, 1]
    found = tabled(prompts, attribute, reading(), table)
    assert found.prompts[0].q < 0.001
    assert all(row.q > 0.05 for row in found.prompts[1:])
    assert found.prompts[0].corrected.value == 1.0
    assert found.whole.pictures == table.sum()
    assert found.association.low > 0


def test_no_labels_no_reading():
    assert isinstance(read_classes(["a", "b"], np.empty((0, 2)), np.array([], int)), Unmeasurable)
