"""torch.compile and gradient checkpointing change how a step is computed, never what is learned or what is shipped."""

from functools import partialmethod

import pytest
import torch
from safetensors.torch import load_file
from tiny import curve, run, tiny
from torch import nn

from training.checkpoints import checkpoints

TRANSFORMER = ["denoiser.kind=transformer", "denoiser.heads=2", "denoiser.head_width=16"]
KINDS = {"unet": ("denoiser", []), "transformer": ("denoiser", TRANSFORMER), "autoencoder": ("autoencoder", [])}
SHORT = ["denoiser.dropout=0", "loop.steps=2", "autoencoder.steps=2", "logs.histograms=1"]


def weights(folder):
    """All shipped tensors of the newest checkpoint, by file and name."""
    path = checkpoints(folder)[-1][1]
    return {(f.parent.name, name): t for f in sorted(path.rglob("*.safetensors")) for name, t in load_file(f).items()}


def graphs():
    """How many graphs torch has traced since it was reset."""
    from torch._dynamo.utils import counters

    return counters["stats"]["unique_graphs"]


@pytest.fixture
def traced(monkeypatch):
    """torch's tracer in front of plain operators: all of `torch.compile` but the minutes of generating code."""
    torch._dynamo.reset()
    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend="eager"))
    before = graphs()
    yield lambda: graphs() - before
    torch._dynamo.reset()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_compiled_training_learns_the_same_under_the_same_names(tmp_path, traced, kind):
    stage, settings = KINDS[kind]
    run(tiny(*SHORT, *settings), tmp_path / "plain", stage=stage)
    assert traced() == 0
    run(tiny(*SHORT, *settings, "loop.compile=true"), tmp_path / "compiled", stage=stage)
    assert traced() > 0
    plain, compiled = (curve(tmp_path / name, f"{stage}/loss") for name in ("plain", "compiled"))
    assert [step for step, _ in plain] == [1, 2]
    assert compiled == plain
    one, other = weights(tmp_path / "plain"), weights(tmp_path / "compiled")
    assert not [name for _, name in other if "_orig_mod" in name]
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_generated_code_learns_the_same_to_rounding(tmp_path):
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except (InvalidCxxCompiler, RuntimeError):
        pytest.skip("torch.compile needs a C++ compiler on a CPU")
    run(tiny(*SHORT), tmp_path / "plain")
    run(tiny(*SHORT, "loop.compile=true"), tmp_path / "compiled")
    plain, compiled = (curve(tmp_path / name) for name in ("plain", "compiled"))
    assert len(plain) == len(compiled) == 2
    for (step, loss), (_, again) in zip(plain, compiled, strict=True):
        assert float(again) == pytest.approx(float(loss), rel=1e-4), step
    assert weights(tmp_path / "plain").keys() == weights(tmp_path / "compiled").keys()


@pytest.mark.parametrize("kind", ["unet", "transformer"])
def test_activations_that_are_computed_again_give_the_same_training(tmp_path, kind, monkeypatch):
    _, settings = KINDS[kind]
    run(tiny(*SHORT, *settings), tmp_path / "kept")
    again, inner = [], torch.utils.checkpoint.checkpoint

    def counted(function, *given, **named):
        again.append(function)
        return inner(function, *given, **named)

    monkeypatch.setattr(torch.utils.checkpoint, "checkpoint", counted)
    run(tiny(*SHORT, *settings, "denoiser.checkpointing=true"), tmp_path / "again")
    assert again, "nothing was computed again"
    assert len(curve(tmp_path / "kept")) == 2
    assert curve(tmp_path / "again") == curve(tmp_path / "kept")
    one, other = weights(tmp_path / "kept"), weights(tmp_path / "again")
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())
