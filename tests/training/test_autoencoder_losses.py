"""The autoencoder's parts: perceptual distance, critic, posterior, scale of latents."""

import pytest
import torch
from tiny import tiny

from training.models.autoencoder import Autoencoding, Codec, fit_scale, freeze, new_autoencoder
from training.models.critic import PatchCritic, critic_loss, fooling_loss
from training.models.perceptual import Perceptual


def blurred(pictures):
    return torch.nn.functional.avg_pool2d(pictures, 5, stride=1, padding=2)


def test_the_perceptual_distance_is_zero_for_equal_pictures_and_grows_with_blur():
    torch.manual_seed(0)
    pictures = torch.rand(2, 3, 64, 64) * 2 - 1
    distance = Perceptual()
    once, twice = blurred(pictures), blurred(blurred(pictures))
    with torch.no_grad():
        assert distance(pictures, pictures).tolist() == [0.0, 0.0]
        assert (distance(once, pictures) > 0.05).all()
        assert (distance(twice, pictures) > distance(once, pictures)).all()
        assert (distance(-pictures, pictures) <= 4).all()


def test_the_perceptual_distance_reads_the_classifiers_own_features():
    # its blocks, run to the end, must be the network that scores pictures
    distance = Perceptual()
    pictures = torch.rand(1, 3, 64, 64)
    hooked = []
    handle = distance.network.convolutions[35].register_forward_hook(lambda *given: hooked.append(given[2].clone()))
    normal = (pictures - distance.mean) / distance.deviation
    with torch.no_grad():
        distance.network.features(normal)
        distance(pictures * 2 - 1, pictures * 2 - 1)
    handle.remove()
    torch.testing.assert_close(hooked[0], hooked[1], atol=1e-5, rtol=1e-4)


def test_the_perceptual_distance_has_gradients_for_the_picture_alone():
    picture = torch.rand(1, 3, 32, 32, requires_grad=True)
    distance = Perceptual()
    distance(picture, torch.zeros(1, 3, 32, 32)).sum().backward()
    assert torch.isfinite(picture.grad).all()
    assert picture.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in distance.parameters())


def test_the_critics_losses_are_hinges():
    real, made = torch.tensor([[[[2.0]]], [[[0.5]]]]), torch.tensor([[[[-2.0]]], [[[0.5]]]])
    assert critic_loss(real, made).tolist() == [0.0, (0.5 + 1.5) / 2]
    assert fooling_loss(made).tolist() == [2.0, -0.5]
    assert PatchCritic(8)(torch.zeros(2, 3, 32, 32)).shape == (2, 1, 4, 4)


def test_latents_are_scaled_to_one_and_back():
    torch.manual_seed(0)
    network = freeze(new_autoencoder(tiny().autoencoder))
    pictures = [torch.rand(4, 3, 16, 16) * 2 - 1 for _ in range(3)]
    factor = fit_scale(network, pictures)
    codec = Codec(network)
    assert network.config.scaling_factor == factor
    assert float(torch.cat([codec.encode(one) for one in pictures]).std()) == pytest.approx(1, rel=1e-3)
    latents = codec.encode(pictures[0])
    plain = network.decode(network.encode(pictures[0]).latent_dist.mean).sample.clamp(-1, 1)
    torch.testing.assert_close(codec.decode(latents), plain, atol=1e-5, rtol=1e-4)
    assert codec.factor == 2


def test_noise_draws_from_the_posterior():
    torch.manual_seed(0)
    network = freeze(new_autoencoder(tiny().autoencoder))
    pixels, noise = torch.rand(2, 3, 16, 16), torch.randn(2, 4, 8, 8)
    posterior = network.encode(pixels).latent_dist
    scale = network.config.scaling_factor
    torch.testing.assert_close(Codec(network).encode(pixels, noise), (posterior.mean + posterior.std * noise) * scale)
    _, mean, log_variance = Autoencoding(network)(pixels, noise)
    torch.testing.assert_close(mean, posterior.mean)
    torch.testing.assert_close(log_variance, posterior.logvar)


def test_pixels_pass_as_they_are():
    codec, pixels = Codec(None), torch.rand(1, 3, 4, 4)
    assert torch.equal(codec.decode(codec.encode(pixels)), pixels)
    assert (codec.channels, codec.factor) == (3, 1)
