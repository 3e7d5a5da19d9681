"""Captions become sequences that do not depend on their neighbours, from builtin:mini and from open_clip alike."""

import pytest
import torch
from tiny import text_encoder

from filters.encoders.mini import load_mini
from training.models.text import TextEncoder, clip_states, mini_states


@pytest.fixture(scope="module")
def mini():
    return text_encoder(6)


def test_the_first_vector_is_the_captions_own(mini):
    from filters.encoders.uri import load_encoder

    found = mini.encode(["a red car"])
    whole = torch.from_numpy(load_encoder("builtin:mini").encode_texts(["a red car"]))[0]
    torch.testing.assert_close(found.vectors[0, 0] / 384**0.5, whole, atol=1e-5, rtol=1e-4)


def test_token_vectors_mean_what_the_tower_says():
    surface = load_mini()
    tokens = surface.tokenizer(["a red car beside a house", "moon"])
    with torch.no_grad():
        states, mask = mini_states(surface.model.text, tokens)
        mean = (states * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        torch.testing.assert_close(mean, surface.model.text(tokens), atol=1e-5, rtol=1e-4)


def test_masks_cover_the_tokens_and_long_captions_are_cut(mini):
    found = mini.encode(["", "moon", "a very long caption of more words than there is room for"])
    assert found.vectors.shape == (3, 7, 384)
    assert found.mask.sum(dim=1).tolist() == [3, 4, 7]  # the whole, [CLS], words, [SEP]
    assert (found.vectors[~found.mask] == 0).all()


def test_a_caption_is_the_same_bits_whatever_stands_beside_it(mini):
    fresh = TextEncoder("builtin:mini", 6, 0, torch.device("cpu"))
    alone = fresh.encode(["a boat on the sea"]).vectors[0]
    beside = fresh.encode(["x", "a boat on the sea", "a much longer caption than the other ones here"]).vectors[1]
    assert torch.equal(alone, beside)
    assert torch.equal(alone, mini.encode(["a boat on the sea"] * 2).vectors[1])
    assert not fresh._kept


def test_memory_keeps_the_newest_captions():
    encoder = TextEncoder("builtin:mini", 1, 0, torch.device("cpu"))
    encoder._room = 2
    for caption in ("one", "two", "one", "three"):
        encoder.encode([caption])
    assert list(encoder._kept) == ["one", "three"]


def test_no_captions_give_empty_sequences(mini):
    found = mini.encode([])
    assert found.vectors.shape == (0, 7, 384)
    assert found.mask.shape == (0, 7)


def test_a_clip_tower_gives_its_last_states_up_to_the_end_mark():
    from filters.encoders.torchvision_fix import ensure_torchvision

    ensure_torchvision()
    import open_clip

    torch.manual_seed(0)
    text = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    vision = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16}
    model = open_clip.CLIP(32, vision, text).eval()
    tokens = open_clip.tokenize(["a cat", "a small dog on a hill"], context_length=16)
    with torch.no_grad():
        states, mask = clip_states(model, tokens)
        ends = mask.sum(dim=1) - 1
        found = states[torch.arange(2), ends] @ model.text_projection
        torch.testing.assert_close(found, model.encode_text(tokens), atol=1e-5, rtol=1e-4)
    assert ends.tolist() == tokens.argmax(dim=1).tolist()
