"""The loop: resumes bit for bit, goes back once from numbers that are none, stops where it is told to."""

import math
import signal

import pytest
import torch
from safetensors.torch import load_file
from tiny import EndlessFeed, curve, run, tiny, trainer

from filters.errors import BadInput
from training.checkpoints import checkpoints, read_facts
from training.loop import TrainingDiverged
from training.memory import memory_errors
from training.recorder import read_metrics
from training.signals import Interrupts


@pytest.fixture(autouse=True)
def _interrupts_are_heard():
    """A shell that starts tests in its background has SIGINT ignored; these tests are about it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def weights(folder):
    """All tensors of the newest checkpoint, by file and name."""
    path = checkpoints(folder)[-1][1]
    return {
        (file.relative_to(path).as_posix(), name): value
        for file in sorted(path.rglob("*.safetensors"))
        for name, value in load_file(file).items()
    }


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def timeless(folder):
    """The metrics without what a clock measured."""
    return [row for row in read_metrics(folder / "metrics.csv") if row[2] not in ("seconds_per_step", "waiting")]


class StopAt(EndlessFeed):
    """Interrupts the process when it is asked for a batch."""

    def __init__(self, number, by=signal.SIGINT):
        super().__init__()
        self.number, self.by = number, by

    def batch(self, number):
        if number == self.number:
            signal.raise_signal(self.by)
        return super().batch(number)


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_writes_a_checkpoint_and_goes_on_bit_for_bit(tmp_path, by):
    config = tiny("logs.every=2", "loop.accumulate=2")
    run(config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt), Interrupts() as interrupts:
        trainer(config, tmp_path / "cut", StopAt(4, by)).run(interrupts)
    assert checkpoints(tmp_path / "cut")[-1][0] == 3  # in the middle of a row of the log
    run(config, tmp_path / "cut")
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    assert timeless(tmp_path / "whole") == timeless(tmp_path / "cut")


def test_rows_behind_the_checkpoint_are_written_again(tmp_path):
    config = tiny()
    run(config, tmp_path)
    rows = timeless(tmp_path)
    newest = checkpoints(tmp_path)[-1][1]
    newest.rename(tmp_path / "aside")
    with (tmp_path / "metrics.csv").open("a") as stream:
        stream.write("denoiser,9,denoiser/lo")  # cut off by a kill
    run(config, tmp_path)
    assert timeless(tmp_path) == rows


def test_the_autoencoder_and_its_critic_resume_bit_for_bit(tmp_path):
    settings = ["autoencoder.losses.adversarial=0.1", "autoencoder.losses.adversarial_start=1"]
    config = tiny(*settings, "autoencoder.losses.critic_width=8", "autoencoder.losses.perceptual=0.1")
    run(config, tmp_path / "whole", stage="autoencoder")
    with pytest.raises(KeyboardInterrupt), Interrupts() as interrupts:
        trainer(config, tmp_path / "cut", StopAt(2), stage="autoencoder").run(interrupts)
    run(config, tmp_path / "cut", stage="autoencoder")
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    assert len(curve(tmp_path / "cut", "critic/loss")) == 4


def test_accumulated_batches_train_as_one_large_batch(tmp_path):
    class Halves(EndlessFeed):
        """Every batch in two halves of unequal size."""

        def batch(self, number):
            from dataclasses import replace

            whole = super().batch(number // 2)
            part = slice(0, 3) if number % 2 == 0 else slice(3, 8)
            cut = {name: getattr(whole, name)[part] for name in ("rows", "uids", "images", "captions", "weights")}
            return replace(whole, **cut, cursor=whole.cursor.__class__(0, number + 1, whole.view))

    config = tiny("denoiser.dropout=0")
    run(config, tmp_path / "whole")
    run(
        config.model_copy(update={"loop": config.loop.model_copy(update={"accumulate": 2})}),
        tmp_path / "halves",
        Halves(),
    )
    one, other = curve(tmp_path / "whole"), curve(tmp_path / "halves")
    assert len(one) == 6
    for (step, loss), (_, again) in zip(one, other, strict=True):
        assert float(loss) == pytest.approx(float(again), rel=1e-4), step


def test_numbers_that_are_none_lead_back_once_with_a_lower_rate(tmp_path):
    found = trainer(tiny("checkpoints.every=2"), tmp_path, EndlessFeed({3: 1}))
    metrics = found.run(Interrupts())
    assert math.isfinite(metrics["denoiser/loss"])
    assert any("back to step 2, rate times 0.5" in line for line in found.said)
    assert found.progress.rate_scale == 0.5
    rates = dict(curve(tmp_path, "rate"))
    assert float(rates[3]) == pytest.approx(0.5 * float(dict_of_plain_rates(tmp_path)[3]))
    assert curve(tmp_path, "rollback_from") == [(2, "4.0")]
    assert read_facts(checkpoints(tmp_path)[-1][1])["rollbacks"] == 1
    assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())


def dict_of_plain_rates(folder):
    run(tiny(), folder / "plain")
    return dict(curve(folder / "plain", "rate"))


def test_a_second_time_ends_with_what_to_do(tmp_path):
    found = trainer(tiny(), tmp_path, EndlessFeed({3: 9}))
    with pytest.raises(TrainingDiverged, match=r"again after going back.*optimiser.rate") as error:
        found.run(Interrupts())
    assert error.value.exit_code == 4
    assert "\n" not in str(error.value)
    assert checkpoints(tmp_path)[-1][0] == 2
    assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())


def test_numbers_that_are_none_in_the_first_step_lead_back_to_the_beginning(tmp_path):
    found = trainer(tiny(), tmp_path, EndlessFeed({0: 1}))
    assert math.isfinite(found.run(Interrupts())["denoiser/loss"])
    assert any("back to step 0" in line for line in found.said)


def test_a_rise_beyond_the_guards_bound_leads_back(tmp_path):
    class Heavy(EndlessFeed):
        def batch(self, number):
            from dataclasses import replace

            batch = super().batch(number)
            heavy = number == 3 and self.opened == 1
            return replace(batch, weights=batch.weights * 100) if heavy else batch

    found = trainer(tiny("loop.guard.spike=20"), tmp_path, Heavy())
    found.run(Interrupts())
    assert any("the loss rose from" in line for line in found.said)


@pytest.mark.parametrize("prediction", ["epsilon", "v", "x0", "flow"])
def test_every_objective_learns_and_reports(tmp_path, prediction):
    settings = [f"objective.prediction={prediction}", "objective.bound=true", "objective.min_snr_gamma=5"]
    metrics = run(tiny(*settings, "loop.steps=2", "logs.every=2", "optimiser.noise_eta=0.01"), tmp_path)
    assert math.isfinite(metrics["denoiser/bound"])
    assert any(name.startswith("denoiser/loss/level") for name in metrics)
    assert metrics["denoiser/gradient"] > 0


@pytest.mark.parametrize("precision", ["bf16"])
def test_half_precision_keeps_weights_in_full(tmp_path, precision):
    run(tiny(f"loop.precision={precision}", "loop.steps=2"), tmp_path)
    assert {value.dtype for value in weights(tmp_path).values()} == {torch.float32}


def test_histograms_and_dead_units_are_in_the_metrics(tmp_path):
    run(tiny("loop.steps=3"), tmp_path)
    quartiles = [float(curve(tmp_path, f"denoiser/gradient_by_tensor/q{mark}")[0][1]) for mark in (0, 50, 100)]
    assert 0 <= quartiles[0] <= quartiles[1] <= quartiles[2]
    ((step, share),) = curve(tmp_path, "denoiser/dead_units")
    assert step == 3
    assert 0 <= float(share) <= 1


def test_a_damaged_checkpoint_is_named(tmp_path):
    run(tiny("loop.steps=2"), tmp_path)
    broken = checkpoints(tmp_path)[-1][1] / "state" / "denoiser.pt"
    broken.write_bytes(broken.read_bytes()[:-1])
    with pytest.raises(BadInput, match=r"state/denoiser.pt is missing or changed; delete this checkpoint"):
        run(tiny("loop.steps=2"), tmp_path)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_running_out_of_memory_names_the_knobs(error):
    words = r"step 8: halve data.batch \(now 8\) and double loop.accumulate"
    with pytest.raises(BadInput, match=words) as found, memory_errors("denoiser", "in step 8", tiny()):
        raise error
    assert "denoiser.checkpointing" in str(found.value)
    assert "\n" not in str(found.value)


def test_a_batch_too_large_for_the_machine_is_a_clear_error(tmp_path):
    class Huge(EndlessFeed):
        def batch(self, number):
            torch.empty(2**50)  # what no machine has
            return super().batch(number)

    with pytest.raises(BadInput, match=r"ran out of memory in step 1: halve data.batch"):
        run(tiny(), tmp_path, Huge())


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="a bug"), memory_errors("denoiser", "in step 1", tiny()):
        raise RuntimeError("a bug")
