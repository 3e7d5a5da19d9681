"""The mark in the noise: still N(0, I), found through noise, never where it is not."""

import numpy as np
import pytest
from scipy.stats import binom, kstest

from training.hallmark.gaussian_shading import (
    ALGORITHM,
    GaussianShading,
    Geometry,
    chance,
    decode,
    expected_bit_errors,
    new_nonce,
    payload,
    probability,
    scan,
    shade,
    threshold,
)
from training.hallmark.watermark import WatermarkKey

KEY = WatermarkKey(b"k" * 32)
SMALL, OTHER = Geometry(4, 32, 32), Geometry(4, 8, 8)


def noise_of(identity, nonce, geometry=SMALL, seed=0):
    return shade(KEY, nonce, payload(identity, geometry), geometry, np.random.default_rng(seed))


def blurred(noise, correlation, seed=1):
    """What an inversion of that correlation would recover."""
    other = np.random.default_rng(seed).standard_normal(noise.shape)
    return correlation * noise + np.sqrt(1 - correlation**2) * other


def test_the_noise_of_many_pictures_is_normal():
    noises = np.stack([noise_of("same", new_nonce(), seed=i) for i in range(300)])
    values = [kstest(noise.ravel(), "norm").pvalue for noise in noises]
    # Uniform p-values themselves, pictures one by one and all of them together.
    assert kstest(values, "uniform").pvalue > 1e-4
    assert kstest(noises.ravel(), "norm").pvalue > 1e-4


def test_neighbours_and_pictures_are_uncorrelated():
    noises = np.stack([noise_of("same", new_nonce(), seed=i) for i in range(300)])
    places = noises.reshape(300, -1)
    bound = 5 / np.sqrt(places.size)
    assert abs(float((noises[..., :-1] * noises[..., 1:]).mean())) < bound
    # Copies of one payload bit stand 8 apart... and would show here without the cipher.
    assert abs(float((noises[..., :-8] * noises[..., 8:]).mean())) < bound
    assert abs(float((places[:-1] * places[1:]).mean())) < bound
    assert abs(float(places.mean())) < bound
    assert np.abs(places.mean(axis=0)).max() < 6 / np.sqrt(300)


def test_one_nonce_twice_would_repeat_all_signs():
    nonce = new_nonce()
    first, second = noise_of("a", nonce, seed=1), noise_of("a", nonce, seed=2)
    assert ((first > 0) == (second > 0)).all()
    third = noise_of("a", new_nonce(), seed=1)
    assert 0.4 < ((first > 0) == (third > 0)).mean() < 0.6


def test_the_payload_comes_back_and_only_with_key_and_nonce():
    nonce = new_nonce()
    noise, bits = noise_of("a", nonce), payload("a", SMALL)
    assert (decode(noise, KEY, nonce, SMALL) == bits).all()
    assert (decode(noise, WatermarkKey(b"x" * 32), nonce, SMALL) == bits).mean() < 0.8
    assert (decode(noise, KEY, new_nonce(), SMALL) == bits).mean() < 0.8


@pytest.mark.parametrize("geometry", [Geometry(4, 8, 8, 1, 4), Geometry(8, 16, 16, 2, 8), Geometry(16, 32, 32, 2, 8)])
def test_other_latents_work(geometry):
    nonce = new_nonce()
    noise = noise_of("a", nonce, geometry)
    assert noise.shape == (geometry.channels, geometry.height, geometry.width)
    assert (decode(noise, KEY, nonce, geometry) == payload("a", geometry)).all()


def test_a_latent_that_the_copies_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="divide"):
        Geometry(4, 12, 12, 1, 8)


@pytest.mark.parametrize("correlation", [0.9, 0.3])
def test_bit_errors_are_those_that_the_correlation_foretells(correlation):
    wrong = []
    for i in range(60):
        nonce = new_nonce()
        recovered = blurred(noise_of("a", nonce, seed=i), correlation, seed=1000 + i)
        wrong.append((decode(recovered, KEY, nonce, SMALL) != payload("a", SMALL)).mean())
    expected = expected_bit_errors(correlation, SMALL)
    assert abs(np.mean(wrong) - expected) < 5 * np.sqrt(max(expected, 1e-4) / (60 * SMALL.bits)) + 1e-3


def test_a_registered_picture_is_found_among_many_through_poor_inversion():
    nonces = {f"{i:032x}": new_nonce() for i in range(500)}
    wanted = f"{321:032x}"
    recovered = blurred(noise_of(wanted, nonces[wanted]), 0.2)
    found = scan([recovered], nonces.items(), KEY, SMALL)
    assert (found.algorithm, found.found, found.value, found.flipped) == (ALGORITHM, True, wanted, False)
    mirrored = scan([recovered[..., ::-1], recovered], nonces.items(), KEY, SMALL)
    assert (mirrored.value, mirrored.flipped) == (wanted, True)


def test_unmarked_pictures_are_not_found_whatever_their_signs():
    nonces = {f"{i:032x}": new_nonce() for i in range(50)}
    generator = np.random.default_rng(5)
    chances = []
    for i in range(40):
        # Signs far from fair and far from independent: the cipher's are what counts.
        strange = np.repeat(generator.standard_normal((4, 32, 4)), 8, axis=2) + (i % 3)
        found = scan([strange], nonces.items(), KEY, SMALL)
        assert not found.found
        chances.append(found.fpr)
    assert min(chances) > 1e-4
    assert np.mean(np.array(chances) <= 0.5) < 0.75


def test_the_detector_tries_the_mirror_image_too():
    nonces = {"a": new_nonce(), "b": new_nonce()}
    noise = noise_of("b", nonces["b"])
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:, 0] = 255

    def noise_back(pixels):
        found = noise if pixels[0, 0, 0] == 255 else np.random.default_rng(0).standard_normal(noise.shape)
        return [(OTHER, lambda: np.zeros((4, 8, 8))), (SMALL, lambda: found)]

    detector = GaussianShading(KEY, nonces.items, noise_back)
    assert detector.detect(picture).value == "b"
    mirrored = detector.detect(np.ascontiguousarray(picture[:, ::-1]))
    assert (mirrored.value, mirrored.flipped, mirrored.found) == ("b", True, True)


def test_every_size_and_orientation_counts_as_a_try():
    nonces = {"a": new_nonce()}
    recovered = blurred(noise_of("a", nonces["a"]), 0.1)
    one, four = (scan([recovered], nonces.items(), KEY, SMALL, tries=tries).fpr for tries in (1, 4))
    assert four == pytest.approx(4 * one)
    assert GaussianShading(KEY, nonces.items, lambda pixels: []).detect(np.zeros((8, 8, 3), np.uint8)).fpr == 1.0


def test_a_weighted_sum_of_random_signs_is_never_likelier_than_stated():
    generator = np.random.default_rng(3)
    signs = generator.integers(0, 2, (200_000, 64)) * 2 - 1
    for weights in (np.ones(64), np.r_[np.ones(2), np.zeros(62)], generator.standard_normal(64) ** 3):
        scores = signs @ (weights / np.linalg.norm(weights))
        for score in (1.0, 1.4142, 2.0, 3.0, 3.5):
            # Two equal weights reach the bound; five standard errors are for the draw.
            stated = chance(score)
            assert (scores >= score - 1e-9).mean() <= stated + 5 * (stated / len(signs)) ** 0.5
    assert chance(5.5) < 1e-6 < chance(4.5)
    assert chance(100.0) > 0


@pytest.mark.parametrize("broken", [np.zeros((4, 32, 32)), np.full((4, 32, 32), np.nan), np.full((4, 32, 32), 7.0)])
def test_noise_that_says_nothing_finds_nothing(broken):
    found = scan([broken], [("a", new_nonce())], KEY, SMALL)
    assert not found.found
    assert found.fpr > 0.1


def test_an_empty_register_finds_nothing():
    found = scan([noise_of("a", new_nonce())], [], KEY, SMALL)
    assert (found.found, found.value, found.fpr) == (False, None, 1.0)


@pytest.mark.parametrize("size", [64, 256, 1024, 16384])
@pytest.mark.parametrize("candidates", [1, 1_000_000])
def test_thresholds_keep_the_stated_false_positive_rate(size, candidates):
    least = threshold(size, 1e-6, candidates)
    assert candidates * binom.sf(least - 1, size, 0.5) <= 1e-6 < candidates * binom.sf(least - 2, size, 0.5)
    assert probability(least, size) == pytest.approx(binom.sf(least - 1, size, 0.5), rel=1e-9)


def test_the_papers_thresholds_are_met():
    # Published for 256 bits: .652 for detection, .719 among a million users.
    assert threshold(256, 1e-6) / 256 == pytest.approx(0.652, abs=0.004)
    assert threshold(256, 1e-6, 10**6) / 256 == pytest.approx(0.719, abs=0.004)
    assert threshold(8, 1e-6) == 9
