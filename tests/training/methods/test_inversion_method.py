"""Textual inversion: only the new word's vectors are learned, and prompts with the word say something new."""

import shutil

import pytest
import torch
from method_runs import loaded, made_base, method_config, method_trainer, trained_method, whole_and_resumed
from safetensors.torch import load_file, save_file
from tiny import EndlessFeed, curve

from filters.encoders.mini import load_mini
from filters.errors import BadInput
from training.checkpoints import checkpoints, read_facts
from training.methods.inversion import FILE, filled, read_words
from training.models.text import TextEncoder
from training.models.words import Tokens
from training.sampling.adapter import adapted
from training.sampling.sample import Request, Sampler, Settings
from training.signals import Interrupts

WORD = ("method.token=<rex>", "method.init=dog", "method.vectors=2", "optimiser.rate=0.01")


@pytest.fixture(scope="module")
def word(base, tmp_path_factory):
    """A word of four steps on that base."""
    return trained_method("textual_inversion", base, tmp_path_factory.mktemp("word"), *WORD)


def test_only_the_new_vectors_change(base, tmp_path):
    trainer = method_trainer(method_config("textual_inversion", base, *WORD), tmp_path)
    table = trainer.method.players[0].network.words
    before, begun = table.table.weight.detach().clone(), table.vectors.detach().clone()
    network = {name: value.clone() for name, value in trainer.base.network.state_dict().items()}
    tower = trainer.base.text.encode(["a cat", "two trees"]).vectors
    assert [name for name, one in trainer.method.players[0].network.named_parameters() if one.requires_grad] == [
        "words.vectors"
    ]
    trainer.run(Interrupts())
    assert torch.equal(table.table.weight, before)
    assert all(torch.equal(value, trainer.base.network.state_dict()[name]) for name, value in network.items())
    assert (table.vectors != begun).any(dim=1).all()
    assert torch.equal(trainer.base.text.encode(["a cat", "two trees"]).vectors, tower)


def test_the_vectors_begin_as_the_word_they_are_to_begin_as(base, tmp_path):
    trainer = method_trainer(method_config("textual_inversion", base, *WORD, "method.vectors=1"), tmp_path)
    text = trainer.base.text
    assert torch.allclose(text.encode(["a <rex> here"]).vectors, text.encode(["a dog here"]).vectors, atol=1e-5)


def test_a_checkpoint_is_in_diffusers_layout(base, word):
    found = load_file(word / FILE)
    assert list(found) == ["<rex>"]
    assert found["<rex>"].shape == (2, 384)
    facts = read_facts(word)
    assert facts["method"]["space"] == "token embeddings"
    assert facts["parameters"] == 768
    assert facts["base"]["checkpoint"] == read_facts(base)["checkpoint"]
    assert not any(name.startswith(("unet", "vae")) for name in facts["files"])
    state = torch.load(word / "state" / "textual_inversion.pt", weights_only=True)
    assert list(state["weights"]) == ["words.vectors"]


def test_the_learned_word_is_read_in_prompts_and_nothing_else_changes(base, word):
    model, _ = adapted(loaded(base), word, 1.0)
    plain = loaded(base)
    settings = Settings("ddim", steps=2, width=16, height=16)
    same = Request(["a cat"], [""], [1])
    assert (Sampler(model, settings).sample(same) == Sampler(plain, settings).sample(same)).all()
    text = model.text.encode(["a <rex>", "a <REX>", "a dog", "a <rex> and <rex>"])
    assert torch.equal(text.vectors[0], text.vectors[1])
    assert not torch.allclose(text.vectors[0], text.vectors[2], atol=1e-3)
    # [CLS] a two vectors [SEP], and the whole caption in front
    assert text.mask.sum(dim=1).tolist() == [6, 6, 5, 7]
    asked = Request(["a <rex>"], [""], [1])
    assert (Sampler(model, settings).latents(asked) != Sampler(plain, settings).latents(asked)).any()


def test_a_word_that_was_killed_and_resumed_equals_one_that_never_was(base, tmp_path):
    whole, parts = whole_and_resumed(method_config("textual_inversion", base, *WORD), tmp_path)
    assert curve(whole, "textual_inversion/loss") == curve(parts, "textual_inversion/loss")
    one, other = (checkpoints(folder)[-1][1] / FILE for folder in (whole, parts))
    assert one.read_bytes() == other.read_bytes()


def test_a_foreign_file_or_scale_is_refused(base, word, tmp_path):
    with pytest.raises(BadInput, match="belongs to LoRA"):
        adapted(loaded(base), word, 0.5)
    other = made_base(tmp_path / "other", "seed=7")
    with pytest.raises(BadInput, match="generate with that base"):
        adapted(loaded(other), word, 1.0)
    folder = tmp_path / "changed"
    shutil.copytree(word, folder)
    save_file({"<rex>": torch.zeros(2, 384)}, folder / FILE)
    with pytest.raises(BadInput, match="was changed"):
        adapted(loaded(base), folder, 1.0)
    for bad in ({"rex": torch.zeros(1, 384)}, {"<rex>": torch.zeros(384)}, {}):
        save_file(bad, folder / FILE)
        with pytest.raises(BadInput, match="no vectors of words"):
            read_words(folder)
    (folder / FILE).write_bytes(b"no weights")
    with pytest.raises(BadInput, match="unreadable words"):
        read_words(folder)
    with pytest.raises(BadInput, match="another width"):
        loaded(base).text.learn({"<rex>": torch.zeros(1, 7)})


def test_tokens_are_put_where_the_word_stands_and_texts_are_cut_before_the_end_mark():
    plain = load_mini().tokenizer
    tokens = Tokens(plain, {"<rex>": [-1, -2], "<tom>": [-3]}, 8)
    assert torch.equal(tokens(["a cat"]), plain(["a cat"]))
    start, word, end = plain(["cat"])[0].tolist()
    assert tokens(["cat <rex> <Tom> cat"])[0].tolist() == [start, word, -1, -2, -3, word, end]
    assert tokens(["cat<rex>cat"])[0].tolist() == [start, word, -1, -2, word, end]
    cut = tokens(["<rex> " * 9])[0].tolist()
    assert len(cut) == 8
    assert (cut[0], cut[-1]) == (start, end)
    assert tokens(["quartz <tom>"])[0].tolist() == [start, *plain(["quartz"])[0].tolist()[1:-1], -3, end]
    several = tokens(["cat", "cat <rex>"])
    assert several.tolist() == [[start, word, end, 0, 0], [start, word, -1, -2, end]]


def test_a_clip_tower_learns_words_too():
    open_clip = pytest.importorskip("open_clip", reason="open_clip has the tower")
    from training.models.words import longest_of, word_table

    model = open_clip.create_model("RN50", pretrained=None).eval()
    holder, name = word_table(model)
    assert (holder, name) == (model, "token_embedding")
    assert longest_of(model) == 77
    from training.models.words import WordTable

    tokenizer = open_clip.get_tokenizer("RN50")
    dog = tokenizer(["dog"])[0, 1]
    vector = model.token_embedding.weight[dog].detach()[None]
    with torch.no_grad():
        before = model.encode_text(tokenizer(["a dog"]))
        model.token_embedding = WordTable(model.token_embedding, vector)
        tokens = Tokens(tokenizer, {"<rex>": [-1]}, 77)(["a <rex>"])
        assert tokens.shape == (1, 77)
        assert torch.allclose(model.encode_text(tokens), before, atol=1e-5)


def test_templates_hold_the_word_and_the_caption():
    assert filled("a {} of {caption}", "<rex>", "a dog") == "a <rex> of a dog"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("method.token=rex", "token"),
        ("method.token=<Re x>", "token"),
        ("method.init=", "init"),
        ("method.vectors=0", "vectors"),
        ("method.templates=[a dog]", "has no {} for the word"),
    ],
)
def test_a_word_that_cannot_be_is_refused(base, override, words):
    with pytest.raises(BadInput) as error:
        method_config("textual_inversion", base, *WORD, override)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_dropped_captions_stay_empty_and_templates_vary_by_step(base, tmp_path):
    trainer = method_trainer(method_config("textual_inversion", base, *WORD), tmp_path)
    batch = EndlessFeed().batch(0)
    first, again, later = (trainer.method.prepare(batch, step).texts for step in (0, 0, 1))
    assert first == again
    assert first != later
    assert [not text for text in first] == batch.dropped.tolist()
    assert all("<rex>" in text for text in first if text)


def test_the_encoder_forgets_what_it_read_before_the_word():
    text = TextEncoder("builtin:mini", 6, 10, torch.device("cpu"))
    before = text.encode(["a <rex>"]).vectors
    text.learn({"<rex>": text.vectors_of("moon")[None]})
    assert not torch.equal(text.encode(["a <rex>"]).vectors, before)
