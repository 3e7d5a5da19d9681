"""What a training writes about itself: TensorBoard files that can be read, and nothing that changes its numbers."""

import importlib.util
import math

import pytest
import torch
from tiny import EndlessFeed, curve, run, tiny, trainer
from torch import nn

from filters.errors import BadInput
from training.activity import block_of, gradients_by_block, watched
from training.recorder import Recorder, read_metrics
from training.signals import Interrupts

LOGGED = ["loop.steps=6", "logs.histograms=1", "logs.tensorboard=true"]


def losses(folder):
    return [row for row in read_metrics(folder / "metrics.csv") if "loss" in row[2] or "gradient" in row[2]]


@pytest.mark.parametrize("stage", ["denoiser", "autoencoder"])
def test_watching_changes_no_number_of_the_training(tmp_path, stage):
    run(tiny(*LOGGED, "autoencoder.steps=6"), tmp_path / "seen", stage=stage)
    run(tiny("loop.steps=6", "logs.histograms=1000", "autoencoder.steps=6"), tmp_path / "blind", stage=stage)
    plain = [row for row in losses(tmp_path / "seen") if "gradient_by" not in row[2]]
    assert len(plain) > 10
    assert plain == losses(tmp_path / "blind")


def test_event_files_hold_loss_by_level_gradients_activations_and_dead_units(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run(tiny(*LOGGED), tmp_path)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard" / "denoiser"), {"histograms": 0})
    events.Reload()
    tags = events.Tags()
    assert [event.step for event in events.Scalars("denoiser/loss")] == [1, 2, 3, 4, 5, 6]
    assert any(tag.startswith("denoiser/loss/level") for tag in tags["scalars"])
    assert {"denoiser/gradient", "denoiser/dead_units", "denoiser/dead_units/mid_block"} <= {
        ".".join(tag.split(".")[:1]) for tag in tags["scalars"]
    }
    assert "denoiser/gradient_by_tensor" in tags["histograms"]
    kinds = ("denoiser/activation/", "denoiser/gradient_by_block/")
    blocks = [tag for tag in tags["histograms"] if tag.startswith(kinds)]
    assert {tag.rpartition("/")[0] + "/" for tag in blocks} == set(kinds)
    assert {"down_blocks.0", "up_blocks.0"} <= {tag.rpartition("/")[2] for tag in blocks}
    for tag in blocks:
        seen = events.Histograms(tag)
        assert [event.step for event in seen] == [1, 2, 3, 4, 5, 6]
        assert all(event.histogram_value.num > 0 for event in seen)


def test_gradient_values_are_taken_at_even_distances_over_a_blocks_tensors_in_order():
    tensors = [torch.arange(2500.0), torch.full((7,), -1.0), torch.arange(2500.0, 5000.0).reshape(50, 50)]
    found = gradients_by_block(["a", "b", "a"], tensors)
    assert found == {"a": [float(value) for value in range(0, 5000, 5)], "b": [-1.0] * 7}
    many = gradients_by_block(["c"] * 900, [torch.ones(3)] * 900)
    assert len(many["c"]) == 900
    assert len(gradients_by_block(["d"], [torch.zeros(1025)])["d"]) == 513


def test_the_csv_has_quartiles_of_activations_gradients_and_dead_units_by_block(tmp_path):
    run(tiny("loop.steps=3"), tmp_path)
    names = {row[2] for row in read_metrics(tmp_path / "metrics.csv")}
    assert {f"denoiser/gradient_by_block/up_blocks.0/q{part}" for part in (0, 25, 50, 75, 100)} <= names
    low, high = (
        float(curve(tmp_path, f"denoiser/gradient_by_block/mid_block.resnets.0/q{q}")[0][1]) for q in (0, 100)
    )
    assert low < 0 < high
    assert "denoiser/activation/down_blocks.0/q50" in names
    share = float(curve(tmp_path, "denoiser/dead_units/down_blocks.0")[0][1])
    assert 0 <= share <= 1


def test_a_reader_of_event_files_does_not_see_what_a_rollback_took_back(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = trainer(tiny("checkpoints.every=2", "logs.tensorboard=true"), tmp_path, EndlessFeed({3: 1}))
    found.run(Interrupts())
    found._parts.recorder.close()
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard" / "denoiser"))
    events.Reload()
    steps = [event.step for event in events.Scalars("denoiser/loss")]
    assert steps == sorted(set(steps))
    assert len(steps) == 6


def test_dead_units_are_counted_by_block():
    class Blocks(nn.Module):
        def __init__(self):
            super().__init__()
            self.down_blocks = nn.ModuleList([nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU())])
            self.out = nn.Sequential(nn.Linear(2, 2), nn.SiLU())

        def forward(self, x):
            return self.out(self.down_blocks[0](x))

    network = Blocks()
    with torch.no_grad():
        network.down_blocks[0][0].weight.fill_(1.0)
        network.down_blocks[0][0].bias.copy_(torch.tensor([1.0, 1.0, 1.0, -1000.0]))
    with watched(network) as activity:
        network(torch.rand(2, 1, 2, 2))
    assert activity.dead() == {"down_blocks.0": 0.25, "out.1": 0.0}
    assert len(activity.sampled()["down_blocks.0"]) == 2 * 4 * 4
    before = len(activity.sampled()["out.1"])
    network(torch.rand(2, 1, 2, 2))
    assert len(activity.sampled()["out.1"]) == before, "hooks must not outlive the block"


def test_values_kept_are_bounded_whatever_the_size():
    network = nn.Sequential(nn.ReLU())
    with watched(network) as activity:
        network(torch.rand(8, 64, 64, 64))
    assert 512 < len(next(iter(activity.sampled().values()))) <= 1024


def test_blocks_are_named_without_wrappers():
    assert block_of("module.down_blocks.1.resnets.0.nonlinearity") == "down_blocks.1"
    assert block_of("network.encoder.mid_block.resnets.0.nonlinearity") == "encoder.mid_block.resnets.0"
    assert block_of("time_embedding.act") == "time_embedding.act"
    assert block_of("") == "network"


def test_values_that_are_no_numbers_break_no_histogram(tmp_path):
    recorder = Recorder(tmp_path, "denoiser", tiny().logs, "x")
    recorder.rewind(0)
    recorder.histogram(1, "a", [math.nan, 1.0, math.inf, 3.0])
    recorder.histogram(1, "b", [math.nan])
    assert [row[3] for row in read_metrics(tmp_path / "metrics.csv")] == ["1.0", "1.0", "1.0", "1.0", "3.0"]


def test_without_the_package_asking_for_wandb_is_refused_in_one_line(tmp_path):
    if importlib.util.find_spec("wandb") is not None:
        pytest.skip("wandb is installed")
    with pytest.raises(BadInput, match="wandb is not installed"):
        Recorder(tmp_path, "denoiser", tiny("logs.wandb=project").logs, "x")


def test_wandb_gets_the_numbers_where_it_is_installed(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="the optional package wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    recorder = Recorder(tmp_path, "denoiser", tiny("logs.wandb=project").logs, "x")
    recorder.rewind(0)
    recorder.scalars(1, {"denoiser/loss": 1.0})
    recorder.close()
    assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
