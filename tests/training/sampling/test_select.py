"""Choosing among candidates: by the scorers' order, and of equals the first."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from filters.errors import BadInput
from training.sampling.select import ranks, selector_of


def test_ranks_share_places_and_put_what_is_no_number_last():
    assert ranks(np.array([3.0, 1.0, 3.0, np.nan])).tolist() == [0.5, 2.0, 0.5, 3.0]


def test_technical_quality_prefers_the_sharp_picture(photo_pixels):
    blurred = np.asarray(Image.fromarray(photo_pixels).filter(ImageFilter.GaussianBlur(4)))
    at, scores = selector_of(["technical"], "builtin:mini").choose([blurred, photo_pixels], "a cat")
    assert at == 1
    assert scores[1]["technical"] > scores[0]["technical"]


def test_similarity_prefers_the_picture_that_the_prompt_names(photo_pixels):
    other = np.asarray(pytest.importorskip("skimage.data").coffee())
    assert selector_of(["similarity"], "builtin:mini").choose([other, photo_pixels], "a photo of a cat")[0] == 1
    assert selector_of(["similarity"], "builtin:mini").choose([other, photo_pixels], "a cup of coffee")[0] == 0


def test_of_equals_the_first_is_taken(photo_pixels):
    chosen = selector_of(["similarity", "technical"], "builtin:mini").choose([photo_pixels] * 3, "a cat")
    assert chosen[0] == 0
    assert selector_of([], "builtin:mini").choose([photo_pixels] * 3, "a cat") == (0, [{}, {}, {}])


def test_an_unknown_criterion_is_refused():
    with pytest.raises(BadInput, match="--select beauty: no such criterion"):
        selector_of(["beauty"], "builtin:mini")
