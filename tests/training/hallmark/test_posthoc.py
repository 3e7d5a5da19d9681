"""The mark in finished pixels: read back, exact chances, mirror images, never in unmarked pictures."""

import pickle
from itertools import product

import numpy as np
import pytest
from hallmarking import encode, pixels_of
from PIL import Image
from scipy.stats import binom

from filters.errors import BadInput
from training.hallmark import posthoc as module
from training.hallmark.posthoc import BITS, RivaGan, chance, survival, weights, word_bits
from training.hallmark.watermark import WatermarkKey, new_key_file, read_key_file


@pytest.fixture(scope="module")
def marked(posthoc, photo):
    return posthoc.embed(photo, posthoc.pool[0])


def test_a_mark_is_hardly_seen_and_read_back(posthoc, photo, marked):
    assert marked.shape == photo.shape
    assert 10 * np.log10(255**2 / np.mean((marked.astype(float) - photo) ** 2)) > 40
    found = posthoc.detect(marked)
    assert (found.found, found.value, found.flipped) == (True, posthoc.pool[0], False)
    assert found.fpr <= 1e-6


def test_a_mark_survives_jpeg_and_the_mirror(posthoc, marked):
    found = posthoc.detect(np.ascontiguousarray(pixels_of(encode(marked, "JPEG", quality=60))[:, ::-1]))
    assert (found.found, found.value, found.flipped) == (True, posthoc.pool[0], True)


def test_a_mark_is_there_at_another_size(posthoc, marked):
    larger = np.asarray(Image.fromarray(marked).resize((700, 597), Image.Resampling.BICUBIC))
    assert posthoc.detect(larger).value == posthoc.pool[0]


def test_unmarked_pictures_and_other_owners_find_nothing(posthoc, other_photo, marked):
    assert not posthoc.detect(other_photo).found
    assert not RivaGan(WatermarkKey(b"o" * 32), threads=1).detect(marked).found


def test_the_chance_is_the_binomial_one_for_equal_weights():
    for wrong in (0, 1, 2, 5, 16):
        logits = np.ones(BITS)
        logits[:wrong] = -1
        assert chance(logits, "ffffffff") == pytest.approx(binom.sf(BITS - wrong - 1, BITS, 0.5), rel=1e-12)


def test_the_chance_is_counted_exactly_for_any_weights():
    sizes = np.array([5, 3, 3, 1, 0, 31])
    sums = [
        sum(size for size, taken in zip(sizes, signs, strict=True) if taken) for signs in product((0, 1), repeat=6)
    ]
    expected = [np.mean(np.array(sums) >= least) for least in range(sizes.sum() + 1)]
    assert survival(sizes) == pytest.approx(expected, rel=1e-12)


def test_random_words_reach_a_chance_as_often_as_it_says():
    generator = np.random.default_rng(0)
    logits = generator.standard_normal(BITS) * np.array([0.1, 20.0] * 16)
    sizes = weights(logits)
    words = generator.integers(0, 2, (200_000, BITS))
    reached = ((words == (logits > 0)) * sizes).sum(axis=1)
    chances = survival(sizes)[reached]
    for rate in (0.1, 0.01, 0.001):
        share = float((chances <= rate).mean())
        # Sums are discrete, so the share may stay below; it must not lie above.
        assert share <= rate + 4 * np.sqrt(rate / 200_000)
        assert share > rate / 2


def test_bits_without_any_certainty_prove_nothing():
    assert chance(np.zeros(BITS), "ffffffff") == 1.0


def test_the_pool_belongs_to_the_secret():
    one, two = RivaGan(WatermarkKey(b"a" * 32), words=64), RivaGan(WatermarkKey(b"b" * 32), words=64)
    assert len(set(one.pool)) == 64
    assert one.pool == RivaGan(WatermarkKey(b"a" * 32), words=64).pool
    assert not set(one.pool) & set(two.pool)
    assert one.new_value() in one.values()


def test_a_larger_pool_makes_the_same_match_worth_less(posthoc):
    logits = np.where(word_bits(posthoc.pool[0]) == 1, 9.0, -9.0)
    few = posthoc.match(logits, 1e-6, flipped=False)
    many = RivaGan(posthoc.key, words=4000).match(logits, 1e-6, flipped=False)
    assert few.value == many.value
    assert many.fpr == pytest.approx(1000 * few.fpr)
    assert few.found
    assert not many.found


@pytest.mark.parametrize("shape", [(8, 300, 3), (40, 17, 3)])
def test_small_and_long_pictures_go_through(posthoc, shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    assert posthoc.embed(pixels, posthoc.pool[0]).shape == shape
    assert 0 < posthoc.detect(pixels).fpr <= 1


def test_the_mark_travels_to_other_processes_without_its_networks(posthoc, marked):
    copy = pickle.loads(pickle.dumps(posthoc))
    assert copy == posthoc
    assert copy.pool == posthoc.pool
    assert not copy._sessions


def test_changed_weights_are_not_used(posthoc, photo, tmp_path, monkeypatch):
    (tmp_path / "encoder.onnx").write_bytes(b"something else")
    monkeypatch.setattr(module, "_FOLDER", tmp_path)
    with pytest.raises(BadInput, match="SHA-256"):
        RivaGan(posthoc.key).embed(photo, posthoc.pool[0])


def test_words_have_eight_digits():
    with pytest.raises(ValueError, match="hex digits"):
        word_bits("00")
    with pytest.raises(ValueError, match="4,096"):
        RivaGan(WatermarkKey(bytes(32)), words=0)


def test_the_secret_is_a_private_file(tmp_path):
    key = new_key_file(tmp_path / "w.key")
    assert read_key_file(tmp_path / "w.key") == key
    assert (tmp_path / "w.key").stat().st_mode & 0o777 == 0o600
    assert key.secret.hex() not in repr(key)
    with pytest.raises(BadInput, match="never overwritten"):
        new_key_file(tmp_path / "w.key")


@pytest.mark.parametrize("text", ["", "zz", "00ff"])
def test_a_file_that_is_no_secret_is_refused(tmp_path, text):
    (tmp_path / "w.key").write_text(text)
    with pytest.raises(BadInput, match="watermark key"):
        read_key_file(tmp_path / "w.key")
    with pytest.raises(BadInput, match="cannot read"):
        read_key_file(tmp_path / "absent")
