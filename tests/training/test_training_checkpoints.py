"""Checkpoints appear whole or not at all, say what they were trained on, and load in plain diffusers."""

import errno
import os

import pytest
import torch
from safetensors import safe_open
from tiny import run, tiny

from filters.errors import BadInput
from training.checkpoints import checkpoints, prune, read_facts, require_room, sweep, write_checkpoint
from training.models.autoencoder import load_autoencoder
from training.models.denoiser import dead_units, denoise
from training.weights import save_state, save_weights


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a finished tiny training; and what was recorded of its checkpoints."""
    folder, records = tmp_path_factory.mktemp("trained"), []
    run(tiny("objective.zero_terminal_snr=true"), folder, records=records)
    return folder, records


def fill_with(name):
    def fill(folder):
        (folder / name).write_text("x")

    return fill


def test_the_last_ones_stay(trained):
    folder, records = trained
    assert [step for step, _ in checkpoints(folder)] == [4, 6]
    assert [body["step"] for _, body in records] == [2, 4, 6]  # the one of step 0 has seen nothing


def test_plain_diffusers_loads_every_part(trained):
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel

    path = checkpoints(trained[0])[-1][1]
    network, loading = UNet2DConditionModel.from_pretrained(path, subfolder="unet", output_loading_info=True)
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    vae = AutoencoderKL.from_pretrained(path, subfolder="vae")
    scheduler = DDPMScheduler.from_pretrained(path, subfolder="scheduler")
    assert network.config.in_channels == vae.config.latent_channels == 4
    assert scheduler.config.prediction_type == "v_prediction"
    assert scheduler.config.rescale_betas_zero_snr is True


def test_diffusers_builds_the_pipeline_and_seeds_repeat(trained):
    from diffusers import DDIMScheduler, DiffusionPipeline

    path = str(checkpoints(trained[0])[-1][1])
    pipeline = DiffusionPipeline.from_pretrained(path, custom_pipeline=path, trust_remote_code=True)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline.config.dataset == ["d" * 64]

    def made(*seeds):
        sources = [torch.Generator().manual_seed(seed) for seed in seeds]
        return pipeline(["a cat"] * len(seeds), num_inference_steps=3, generator=sources, output_type="np").images

    assert made(1, 2).shape == (2, 16, 16, 3)
    assert (made(1) == made(1)).all()
    assert (made(1, 2)[0] != made(1, 2)[1]).any()


def test_the_pipeline_refuses_another_text_encoder(trained):
    from diffusers import DiffusionPipeline

    path = str(checkpoints(trained[0])[-1][1])
    pipeline = DiffusionPipeline.from_pretrained(path, custom_pipeline=path, trust_remote_code=True, text_id="other")
    with pytest.raises(ValueError, match="trained with the text encoder other"):
        pipeline("a cat", num_inference_steps=1)


def test_shipped_weights_are_the_moving_average(trained, tmp_path):
    from safetensors.torch import load_file

    path = checkpoints(trained[0])[-1][1]
    shipped = load_file(path / "unet" / "diffusion_pytorch_model.safetensors")
    state = torch.load(path / "state" / "denoiser.pt", weights_only=True)
    assert any(not torch.equal(value, state["weights"][name]) for name, value in shipped.items())
    assert len(state["averages"]) == len(shipped)
    assert torch.equal(state["averages"][0], next(shipped[n] for n in state["weights"] if n in shipped))


def test_facts_and_card_name_the_data(trained):
    path = checkpoints(trained[0])[-1][1]
    facts = read_facts(path)
    assert facts["data"]["manifest"] == "d" * 64
    assert facts["datasets"] == ["d" * 64]
    assert facts["data"]["opt_outs_honoured"] == {"REGISTRY_OPT_OUT": 1}
    assert facts["samples"] == 48
    card = (path / "README.md").read_text()
    assert "d" * 64 in card
    assert "REGISTRY_OPT_OUT 1" in card
    assert "an estimate" in card or "none" in card
    assert len(facts["checkpoint"]) == 64


def test_the_identity_covers_what_is_shipped_and_not_the_state(tmp_path):
    def fill(folder):
        (folder / "weights").write_text("same")
        (folder / "state").mkdir()
        (folder / "state" / "clock").write_text(str(len(os.listdir(folder.parent))))

    _, one = write_checkpoint(tmp_path / "a", 1, fill, {})
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "more").mkdir()
    _, other = write_checkpoint(tmp_path / "b", 1, fill, {})
    assert one["files"]["state/clock"] != other["files"]["state/clock"]
    assert one["checkpoint"] == other["checkpoint"]
    _, changed = write_checkpoint(tmp_path / "b", 2, fill_with("weights"), {})
    assert changed["checkpoint"] != one["checkpoint"]


def test_a_failed_write_leaves_nothing_and_the_old_one(tmp_path):
    write_checkpoint(tmp_path, 1, fill_with("good"), {})

    def fail(folder):
        (folder / "half").write_text("x")
        raise OSError(errno.ENOSPC, "No space left on device")

    for step in (1, 2):
        with pytest.raises(OSError, match="No space left"):
            write_checkpoint(tmp_path, step, fail, {})
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert (checkpoints(tmp_path)[0][1] / "good").exists()


def test_leftovers_are_no_checkpoints_and_are_swept(tmp_path):
    write_checkpoint(tmp_path, 3, fill_with("good"), {})
    (tmp_path / ".tmp-9-step-00000009").mkdir()
    (tmp_path / "step-00000007").mkdir()  # without facts: not written by this
    assert [step for step, _ in checkpoints(tmp_path)] == [3]
    sweep(tmp_path)
    assert not (tmp_path / ".tmp-9-step-00000009").exists()


def test_pruning_keeps_the_newest_by_number(tmp_path):
    for step in (2, 10, 9):
        write_checkpoint(tmp_path, step, fill_with("good"), {})
    assert [path.name for path in prune(tmp_path, 2)] == ["step-00000002"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_an_os_error_with_its_number(tmp_path):
    os.symlink("/dev/full", tmp_path / "full")
    with pytest.raises(OSError, match="No space left") as error:
        save_state(tmp_path / "full", {"a": torch.zeros(100_000)})
    assert error.value.errno == errno.ENOSPC


def test_weights_are_written_contiguous(tmp_path):
    from safetensors.torch import load_file

    value = torch.arange(6.0).reshape(2, 3).T
    save_weights(tmp_path / "w.safetensors", {"a": value})
    assert torch.equal(load_file(tmp_path / "w.safetensors")["a"], value)


def test_too_small_a_disk_is_refused_before_work(tmp_path):
    with pytest.raises(BadInput, match=r"GiB free, but the checkpoints need about .* lower checkpoints.keep"):
        require_room(tmp_path, 2**60)
    require_room(tmp_path, 1)


@pytest.mark.parametrize("body", ["", "[]", '{"format": 9}', '{"format": 1}'])
def test_other_folders_are_no_checkpoints(tmp_path, body):
    (tmp_path / "assay.json").write_text(body)
    with pytest.raises(BadInput, match="checkpoint"):
        read_facts(tmp_path)


def test_a_checkpoints_autoencoder_can_be_loaded_for_another_training(trained, tmp_path):
    path = checkpoints(trained[0])[-1][1]
    network = load_autoencoder(str(path))
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    with pytest.raises(BadInput, match=r"autoencoder.path: cannot load"):
        load_autoencoder(str(tmp_path))
    with pytest.raises(BadInput, match=r"holds a UNet2DConditionModel"):
        load_autoencoder(str(path / "unet"))


def test_a_tiny_autoencoder_of_diffusers_loads_and_halves(tmp_path):
    from diffusers import AutoencoderTiny

    from training.models.autoencoder import Codec

    made = AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    )
    made.save_pretrained(tmp_path)
    codec = Codec(load_autoencoder(f"file:{tmp_path}"))
    latents = codec.encode(torch.rand(2, 3, 16, 16) * 2 - 1)
    assert latents.shape == (2, codec.channels, 16 // codec.factor, 16 // codec.factor)
    assert codec.decode(latents).shape == (2, 3, 16, 16)


@pytest.mark.parametrize("kind", ["unet", "transformer"])
def test_both_denoisers_read_text_through_its_mask_and_take_other_shapes(kind):
    from training.models.denoiser import new_denoiser

    config = tiny(f"denoiser.kind={kind}", "denoiser.heads=2").denoiser
    torch.manual_seed(0)
    network = new_denoiser(config, 4, 8, 32).eval()
    for parameter in network.parameters():  # the transformer's last layer begins at zero
        torch.nn.init.normal_(parameter, std=0.2)
    x, levels = torch.randn(2, 4, 8, 8), torch.tensor([5, 900])
    text, mask = torch.randn(2, 3, 32), torch.tensor([[True, True, False]] * 2)
    with torch.no_grad():
        plain = denoise(network, x, levels, text, mask)
        hidden, seen = text.clone(), text.clone()
        hidden[:, 2], seen[:, 1] = 9.0, 9.0
        assert plain.shape == x.shape
        assert torch.equal(denoise(network, x, levels, hidden, mask), plain)
        assert not torch.allclose(denoise(network, x, levels, seen, mask), plain)
        assert denoise(network, torch.randn(1, 4, 4, 16), levels[:1], text[:1], mask[:1]).shape == (1, 4, 4, 16)


def test_dead_units_are_counted_and_nothing_is_changed():
    from training.models.denoiser import new_denoiser

    network = new_denoiser(tiny("denoiser.dropout=0.5").denoiser, 4, 8, 32).train()
    given = (
        torch.randn(2, 4, 8, 8),
        torch.tensor([5, 900]),
        torch.randn(2, 3, 32),
        torch.ones(2, 3, dtype=torch.bool),
    )
    state = torch.get_rng_state()
    assert dead_units(network, *given) < 0.2
    assert network.training
    assert torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert dead_units(network, *given) > 0.9


def test_the_same_weights_and_metadata_give_the_same_bytes(tmp_path):
    metadata = {"one": '{"deep": "\u00fc\n"}', "two": "2", "three": "3"}
    files = [tmp_path / f"{number}.safetensors" for number in range(20)]
    for path in files:
        save_weights(path, {"b": torch.ones(2), "<a>": torch.zeros(3, 1)}, metadata)
    assert len({path.read_bytes() for path in files}) == 1
    with safe_open(files[0], framework="pt") as file:
        assert file.metadata() == {"format": "pt", **metadata}
        assert torch.equal(file.get_tensor("b"), torch.ones(2))
