"""Captions: normalisation, hash, words, repetition over a corpus, concept."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest

from filters.scorers.captions import (
    CaptionScorer,
    CaptionStatistics,
    caption_hash,
    content_words,
    count_captions,
    normalise_caption,
)


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("  Flat_Icon-12.PNG ", "flat icon png"),
        ("Don't STOP", "dont stop"),
        ("Straße", "strasse"),
        ("ﬁlm №5", "film no"),
        ("Ａｐｐｌｅ", "apple"),
        ("हिन्दी 123", "हिन्दी"),
        ("a\u200bb soft\u00adhyphen", "ab softhyphen"),
        ("été\n\té", "été é"),
        ("12/34!", ""),
        ("", ""),
    ],
)
def test_normalisation(text, normalised):
    assert normalise_caption(text) == normalised
    assert normalise_caption(normalised) == normalised


def test_captions_that_differ_in_case_digits_and_punctuation_share_a_hash():
    assert caption_hash("Part of the Flat Icon Collection (12)") == caption_hash("part of the flat-icon collection, 7")
    assert caption_hash("red star") != caption_hash("red stars")
    assert 0 <= caption_hash("lone surrogate \ud800") < 2**64


def test_hash_stays_the_same_between_versions():
    assert caption_hash("A red apple") == caption_hash(" a RED_apple 2") == 0xDF4F20B98852CC71


def test_content_words_are_unique_in_order_and_without_function_words():
    text = "The dog and the other DOG, with a big dog-house.svg at 10 am: l'été, кошка, 日本語"
    assert content_words(text) == ["dog", "big", "house", "lété", "кошка", "日本語"]


def test_counts_of_parts_add_up_to_those_of_the_whole():
    captions = ["Red star 1", "red star 2", "blue star", "", "star star"]
    hashes, words = count_captions(captions)
    first, second = count_captions(captions[:2]), count_captions(captions[2:])
    assert first[0] + second[0] == hashes
    assert first[1] + second[1] == words == Counter({"star": 4, "red": 2, "blue": 1})
    assert hashes[caption_hash("red star")] == 2


def test_scores_repetition_and_the_concept_of_most_captions(batch_of):
    captions = ["Red star 1", " red star 2\n", "blue moon", "12 of"]
    scorer = CaptionScorer(CaptionStatistics.from_counts(*count_captions([*captions, "star", "star"])))
    found = scorer.score(batch_of([], captions))
    assert found.schema.equals(scorer.fields)
    assert found.to_pydict() == {
        "caption_characters": [10, 10, 9, 5],
        "caption_words": [3, 3, 2, 2],
        "caption_repeats": [2, 2, 1, 1],
        "concept": ["star", "star", "blue", None],
    }


def test_without_statistics_each_caption_stands_once(batch_of):
    found = CaptionScorer().score(batch_of([], ["zebra apple", "x"])).to_pydict()
    assert found["caption_repeats"] == [1, 1]
    assert found["concept"] == ["apple", None]


def test_statistics_travel_to_workers_and_refuse_what_cannot_be_searched(batch_of):
    scorer = CaptionScorer(CaptionStatistics.from_counts({2**64 - 1: 3, 5: 2, 6: 1}, {"star": 9}))
    copy = pickle.loads(pickle.dumps(scorer))
    assert copy.statistics.repeats(np.array([5, 6, 2**64 - 1], dtype=np.uint64)).tolist() == [2, 1, 3]
    with pytest.raises(ValueError, match="ascending"):
        CaptionStatistics(np.array([2, 1], dtype=np.uint64), np.array([1, 1]), {})
    with pytest.raises(ValueError, match="uint64"):
        CaptionStatistics(np.array([1, 2]), np.array([1, 1]), {})
