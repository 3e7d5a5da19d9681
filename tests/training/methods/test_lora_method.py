"""LoRA: only adapters are trained, the base stays as it is, and an adapter goes with its own base alone."""

import json
import shutil

import pytest
import torch
from method_runs import loaded, made_base, method_config, method_trainer, trained_method, whole_and_resumed
from restating import identified
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny import curve

from filters.encoders.torchvision_fix import ensure_torchvision
from filters.errors import BadInput
from training.checkpoints import checkpoints, read_facts
from training.config import load_config, parse_config
from training.methods.adapting import FILE, put_adapter
from training.models.denoiser import denoise
from training.sampling.adapter import adapted
from training.signals import Interrupts

RANK = ("method.rank=2", "method.alpha=4")
TRANSFORMER = ("denoiser.kind=transformer", "denoiser.heads=2", "denoiser.head_width=16")


@pytest.fixture(scope="module")
def lora(base, tmp_path_factory):
    """An adapter of four steps on that base."""
    return trained_method("lora", base, tmp_path_factory.mktemp("lora"), *RANK)


def outputs(model):
    """What a model says of some noisy latents."""
    text = model.text.encode(["a cat", "a dog"])
    noisy = torch.randn(2, model.channels, 8, 8, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return denoise(model.network, noisy, torch.tensor([100, 600]), text.vectors, text.mask)


def changed_copy(made, folder, change):
    """A copy of a checkpoint with other facts."""
    shutil.copytree(made, folder)
    body = read_facts(folder)
    change(body)
    identified(folder, body)
    return folder


def test_new_adapters_change_nothing_and_only_they_are_trained(base, tmp_path):
    plain = outputs(loaded(base))
    trainer = method_trainer(method_config("lora", base, *RANK), tmp_path)
    network = trainer.base.network
    network.eval()
    assert torch.equal(outputs(trainer.base), plain)
    network.train()
    of_base = {name: one.detach().clone() for name, one in network.named_parameters() if "lora_" not in name}
    learning = {name for name, one in network.named_parameters() if one.requires_grad}
    assert learning
    assert all(".lora_A." in name or ".lora_B." in name for name in learning)
    trainer.run(Interrupts())
    after = dict(network.named_parameters())
    assert all(torch.equal(value, after[name]) for name, value in of_base.items())
    assert all(after[name].grad is None for name in of_base)
    assert all(after[name].abs().max() > 0 for name in learning if ".lora_B." in name)


def test_a_checkpoint_holds_the_adapter_alone_and_names_base_and_datasets(base, lora):
    facts = read_facts(lora)
    assert facts["stage"] == "lora"
    assert {name for name in facts["files"] if not name.startswith(("state/", "views/"))} == {
        FILE,
        "training.yaml",
        "README.md",
        "facts.json",
        "exposure.parquet",
    }
    of_base = read_facts(base)
    assert facts["base"]["checkpoint"] == of_base["checkpoint"]
    assert facts["base"]["datasets"] == of_base["datasets"]
    card = (lora / "README.md").read_text()
    assert all(words in card for words in (of_base["checkpoint"], "trained on: tiny data", "kind lora", "rank 2"))
    state = torch.load(lora / "state" / "lora.pt", weights_only=True)
    assert all(".lora_" in name for name in state["weights"])
    size = (lora / FILE).stat().st_size
    assert size < (base / "unet" / "diffusion_pytorch_model.safetensors").stat().st_size / 5


def test_plain_diffusers_and_peft_load_it_with_rank_and_alpha(base, lora):
    ensure_torchvision()
    from diffusers import UNet2DConditionModel

    network = UNet2DConditionModel.from_pretrained(base, subfolder="unet").eval()
    network.load_lora_adapter(str(lora), prefix="unet", weight_name=FILE, local_files_only=True)
    config = network.peft_config["default_0" if "default_0" in network.peft_config else "default"]
    assert (config.r, config.lora_alpha) == (2, 4)
    with safe_open(lora / FILE, framework="pt") as file:
        names = set(file.keys())
    assert all(name.startswith("unet.") for name in names)
    ours, _ = adapted(loaded(base), lora, 1.0)
    theirs = loaded(base)
    theirs.network.load_lora_adapter(str(lora), prefix="unet", weight_name=FILE, local_files_only=True)
    assert torch.equal(outputs(ours), outputs(theirs))
    assert not torch.equal(outputs(ours), outputs(loaded(base)))


def test_what_was_saved_is_what_was_trained(base, tmp_path):
    trainer = method_trainer(method_config("lora", base, *RANK, "loop.ema=0"), tmp_path)
    trainer.run(Interrupts())
    trainer.base.network.eval()
    model, adapter = adapted(loaded(base), tmp_path, 1.0)
    assert torch.equal(outputs(model), outputs(trainer.base))
    assert adapter.facts["step"] == 4


def test_scale_zero_is_the_base_and_scales_differ(base, lora):
    none, _ = adapted(loaded(base), lora, 0.0)
    assert torch.allclose(outputs(none), outputs(loaded(base)), atol=1e-6)
    half, first = adapted(loaded(base), lora, 0.5)
    whole, second = adapted(loaded(base), lora, 1.0)
    assert not torch.equal(outputs(half), outputs(whole))
    assert first.digest != second.digest
    for scale in (-1.0, float("nan"), 11.0):
        with pytest.raises(BadInput, match="--adapter-scale"):
            adapted(loaded(base), lora, scale)


def test_a_lora_that_was_killed_and_resumed_equals_one_that_never_was(base, tmp_path):
    whole, parts = whole_and_resumed(method_config("lora", base, *RANK, "method.dropout=0.2"), tmp_path)
    assert curve(whole, "lora/loss") == curve(parts, "lora/loss")
    one, other = (read_facts(checkpoints(folder)[-1][1])["files"] for folder in (whole, parts))
    assert one[FILE] == other[FILE]
    states = [
        torch.load(checkpoints(folder)[-1][1] / "state" / "lora.pt", weights_only=True) for folder in (whole, parts)
    ]
    assert all(torch.equal(value, states[1]["weights"][name]) for name, value in states[0]["weights"].items())


def test_another_base_is_refused_in_training_and_in_sampling(base, lora, tmp_path):
    other = made_base(tmp_path / "other", "seed=5")
    with pytest.raises(BadInput, match="generate with that base") as error:
        adapted(loaded(other), lora, 1.0)
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)
    with pytest.raises(BadInput, match="trained from the base"):
        method_trainer(method_config("lora", other, *RANK), lora.parent)


def test_a_changed_or_foreign_adapter_is_refused(base, lora, tmp_path):
    spoilt = tmp_path / "spoilt"
    shutil.copytree(lora, spoilt)
    data = bytearray((spoilt / FILE).read_bytes())
    data[-1] ^= 1
    (spoilt / FILE).write_bytes(data)
    with pytest.raises(BadInput, match="was changed"):
        adapted(loaded(base), spoilt, 1.0)
    with pytest.raises(BadInput, match="one of lora or textual_inversion"):
        adapted(loaded(base), base, 1.0)
    with pytest.raises(BadInput, match="stage lora"):
        loaded(lora)
    nowhere = changed_copy(lora, tmp_path / "nowhere", lambda body: body.pop("base"))
    with pytest.raises(BadInput, match="trained on the base None"):
        adapted(loaded(base), nowhere, 1.0)


@pytest.mark.parametrize(
    "stated",
    [
        json.dumps({"unet.r": 4, "unet.lora_alpha": 10**400, "unet.target_modules": ["to_q"]}),
        json.dumps({"unet.r": 4, "unet.lora_alpha": float("inf"), "unet.target_modules": ["to_q"]}),
        "[" * 100_000,
    ],
    ids=["huge alpha", "infinite alpha", "deep"],
)
def test_an_adapter_that_states_what_none_can_have_is_one_line(base, tmp_path, stated):
    save_file({"unet.x": torch.zeros(1)}, tmp_path / FILE, metadata={"lora_adapter_metadata": stated})
    with pytest.raises(BadInput) as error:
        put_adapter(loaded(base).network, tmp_path, "unet", 1.0)
    assert "\n" not in str(error.value)


def test_a_transformer_takes_adapters_too(tmp_path):
    base = made_base(tmp_path / "base", *TRANSFORMER)
    made = trained_method("lora", base, tmp_path / "lora", *RANK)
    assert all(name.startswith("transformer.") for name in load_file(made / FILE))
    model, _ = adapted(loaded(base), made, 1.0)
    assert not torch.equal(outputs(model), outputs(loaded(base)))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["method.base="], "method.lora.base"),
        (["method.rank=0"], "method.lora.rank"),
        (["method.targets=[]"], "method.lora.targets"),
        (["method.targets=[nowhere]"], "'nowhere'"),
        (["method.kind=other"], "method"),
        (["method.base=/nowhere"], "not a checkpoint of assay train"),
        (["denoiser.widths=[8, 16]", "denoiser.groups=8", "denoiser.head_width=16"], "denoiser"),
        (["objective.prediction=epsilon"], "objective.prediction: the base"),
        (["method.prior.source=generated"], "source generated and a prompt belong together"),
        (["method.prior.source=run"], "source run and a subject belong together"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(base, tmp_path, overrides, words):
    with pytest.raises(BadInput) as error:
        method_trainer(method_config("lora", base, *overrides), tmp_path)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_the_bases_own_sections_hold(base):
    config = method_config("lora", base)
    theirs = load_config(base / "training.yaml")
    assert (config.denoiser, config.text, config.objective) == (theirs.denoiser, theirs.text, theirs.objective)
    assert parse_config(config.dump(), "x", []).fingerprint() == config.fingerprint()
    moved = config.model_copy(update={"method": config.method.model_copy(update={"base": "/elsewhere"})})
    assert moved.fingerprint() == config.fingerprint()
