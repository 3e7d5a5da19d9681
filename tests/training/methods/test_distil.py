"""Distillation: the consistency function's boundary, the teacher's path, and a student that needs fewer steps."""

import math
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from method_runs import loaded, made_base, method_config, method_trainer, trained_method
from torch import nn

from filters.encoders.torchvision_fix import ensure_torchvision
from filters.errors import BadInput
from training.checkpoints import read_facts
from training.config import parse_config
from training.config_objective import Objective
from training.methods.base import Given
from training.methods.distil import Distillation
from training.methods.grid import grid_of, huber
from training.models.autoencoder import Codec
from training.models.denoiser import denoise
from training.objectives import noised, target
from training.sampling.sample import Request, Sampler, Settings
from training.sampling.schedulers import default_guidance, default_kind, default_steps, make_scheduler
from training.schedulers import few_step_scheduler_of, scheduler_of
from training.signals import Interrupts
from training.stages import bars_of

CPU = torch.device("cpu")
PREDICTIONS = ["epsilon", "v", "x0", "flow"]


def grid(prediction, steps=50, clip=False, **more):
    return grid_of(Objective(prediction=prediction, **more), steps, clip, CPU)


def rows(count, seed=0):
    return torch.randn(count, 2, 3, 3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_at_the_clean_end_the_function_is_the_identity_whatever_the_network_says(prediction):
    made, x = grid(prediction), rows(4)
    zero = torch.zeros(4, dtype=torch.int64)
    for output in (rows(4, 1), torch.full_like(x, 1e30), torch.full_like(x, float("nan"))):
        assert torch.equal(made.consistent(zero, x, output), x)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_perfect_network_leads_from_every_place_to_the_clean_sample(prediction):
    made, x0, noise = grid(prediction), rows(50), rows(50, 1)
    at = torch.arange(1, 51)
    xt = noised(x0, noise, made.alpha[at], made.sigma[at])
    output = target(prediction, x0, noise, made.alpha[at], made.sigma[at])
    clean = made.clean(at, xt, output)
    assert torch.allclose(clean, x0, atol=2e-3)
    assert torch.allclose(made.consistent(at, xt, output), x0, atol=2e-3)
    # and one step of the teacher stays on the same path
    earlier = made.step(at, at - 1, xt, clean)
    assert torch.allclose(earlier, noised(x0, noise, made.alpha[at - 1], made.sigma[at - 1]), atol=3e-3)


@pytest.mark.parametrize("zero_terminal_snr", [False, True])
def test_the_grid_is_the_schedule_of_the_sampler(zero_terminal_snr):
    ensure_torchvision()
    objective = Objective(prediction="v", zero_terminal_snr=zero_terminal_snr)
    made, scheduler = grid_of(objective, 50, False, CPU), few_step_scheduler_of(objective, False, 50)
    scheduler.set_timesteps(50)
    assert made.levels[1:].flip(0).tolist() == scheduler.timesteps.tolist()
    bars = scheduler.alphas_cumprod[scheduler.timesteps]
    assert torch.allclose(made.alpha[1:].flip(0) ** 2, bars, atol=1e-5)
    for at in (1, 20, 50):
        skip, out = scheduler.get_scalings_for_boundary_condition_discrete(int(made.levels[at]))
        assert float(made.skip[at]) == pytest.approx(skip, rel=1e-4)
        assert float(made.out[at]) == pytest.approx(out, rel=1e-4)


def test_flow_is_sampled_at_equal_times_down_from_noise():
    objective = Objective(prediction="flow")
    config = dict(few_step_scheduler_of(objective, False, 50).config) | {"_class_name": "FlowMatchLCMScheduler"}
    assert default_kind(config) == "flow-lcm"
    scheduler = make_scheduler("flow-lcm", config, 4)
    assert scheduler.timesteps.tolist() == [1000.0, 750.0, 500.0, 250.0]
    x0, noise = rows(1), rows(1, 1)
    x = noise
    for level in scheduler.timesteps:
        sigma = level / 1000  # a perfect velocity leads to the same clean sample from everywhere
        x = scheduler.step((x - x0) / sigma, level, x, generator=torch.Generator(), return_dict=False)[0]
    assert torch.allclose(x, x0, atol=1e-5)


def test_steps_that_do_not_divide_the_schedule_are_refused():
    with pytest.raises(BadInput, match=r"teacher_steps: 1000 noise levels do not divide by 30"):
        grid("v", steps=30)


def test_the_distance_is_of_each_sample_and_bends_at_small_differences():
    found = huber(torch.zeros(2, 4), torch.tensor([[0.0, 0, 0, 0], [2.0, 2, 2, 2]]))
    assert found.tolist() == pytest.approx([0.0, 2.0 - 1e-3], abs=1e-4)


class Toy(nn.Module):
    """A small denoiser of single numbers, called as diffusers' networks are."""

    def __init__(self, objective):
        super().__init__()
        self.config = SimpleNamespace(in_channels=1)
        self.flow = objective.prediction == "flow"
        self.net = nn.Sequential(nn.Linear(4, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))

    def forward(self, x, timestep, return_dict, **text):
        time = timestep.float().reshape(-1, 1) / 1000
        given = torch.cat((x.reshape(-1, 1), time, (3 * time).sin(), (3 * time).cos()), dim=1)
        return (self.net(given).reshape(x.shape),)


class NoText:
    """Captions that say nothing."""

    def encode(self, captions):
        return SimpleNamespace(vectors=torch.zeros(len(captions), 1, 1), mask=torch.ones(len(captions), 1))


def two_modes(count, seed):
    """Numbers around -0.6 and 0.6, (n, 1, 1, 1)."""
    source = torch.Generator().manual_seed(seed)
    side = torch.randint(0, 2, (count,), generator=source) * 1.2 - 0.6
    return (side + 0.05 * torch.randn(count, generator=source)).reshape(-1, 1, 1, 1)


def toy_teacher(objective):
    """A denoiser trained on the two modes for some seconds."""
    torch.manual_seed(0)
    network, bars = Toy(objective), bars_of(objective)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for step in range(1200):
        x0, noise = two_modes(256, step), torch.randn(256, 1, 1, 1)
        if objective.prediction == "flow":
            levels = torch.rand(256) * 1000
            alpha, sigma = 1 - levels / 1000, levels / 1000
        else:
            levels = torch.randint(0, len(bars), (256,))
            alpha, sigma = bars[levels].sqrt().float(), (1 - bars[levels]).sqrt().float()
        output = denoise(network, noised(x0, noise, alpha, sigma), levels, torch.zeros(256, 1, 1), torch.ones(256, 1))
        loss = (output - target(objective.prediction, x0, noise, alpha, sigma)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * (1 - step / 1200)
    return network.eval().requires_grad_(False)


def distance(network, objective, steps, student):
    """How far (Wasserstein-1) samples in so many steps lie from the two modes."""
    made = grid_of(objective, 50, False, CPU)
    source = torch.Generator().manual_seed(9)
    x = torch.randn(2000, 1, 1, 1, generator=source)
    places = [50 - 50 * number // steps for number in range(steps)] + [0]
    for place, following in pairwise(places):
        at, to = torch.full((2000,), place), torch.full((2000,), following)
        output = denoise(network, x, made.levels[at], torch.zeros(2000, 1, 1), torch.ones(2000, 1))
        if not student:
            x = made.step(at, to, x, made.clean(at, x, output))
            continue
        clean = made.consistent(at, x, output)
        again = torch.randn(x.shape, generator=source)
        x = noised(clean, again, made.alpha[to], made.sigma[to])
    real = two_modes(2000, 77).flatten().sort().values
    return float((x.flatten().sort().values - real).abs().mean())


@pytest.mark.parametrize(
    ("kind", "prediction", "few"),
    [("consistency", "v", (1, 2)), ("consistency", "flow", (1, 2)), ("progressive", "v", (2,))],
)
def test_a_student_does_in_few_steps_what_the_teacher_cannot(kind, prediction, few, tmp_path):
    more = ", student_steps: 2, teacher_steps: 50" if kind == "progressive" else ""
    text = f"name: toy\nmethod: {{kind: {kind}, base: nowhere, guidance: 1{more}}}"
    settings = ["data={buckets: {max_aspect: 1}}", f"objective.prediction={prediction}"]
    config = parse_config(text, "toy.yaml", settings)
    teacher = toy_teacher(config.objective)
    base = SimpleNamespace(
        network=teacher, codec=Codec(None), text=NoText(), facts={"stage": "denoiser"}, path=tmp_path, device=CPU
    )
    made = Distillation(Given(config, base, tmp_path, True, lambda: None, print), config.method)
    student = made.players[0].network
    optimiser = torch.optim.AdamW(student.parameters(), 1e-3, weight_decay=0.0)
    for step in range(500):
        uids = [f"{step:08x}{place:08x}" for place in range(64)]
        batch = SimpleNamespace(uids=uids, captions=[""] * 64, latents=two_modes(64, step))
        loss = made.players[0].measure(student, made.prepare(batch, step), step).losses.mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        for group in optimiser.param_groups:
            group["lr"] = 1e-3 * (1 - step / 500)
    student.eval()
    with torch.no_grad():
        far = {steps: distance(teacher, config.objective, steps, False) for steps in (*few, 50)}
        near = {steps: distance(student, config.objective, steps, kind == "consistency") for steps in few}
    # the teacher's own best is the bound; in few steps the student closes more than half of the way to it
    for steps in few:
        assert near[steps] - far[50] < 0.5 * (far[steps] - far[50]), (near, far)
        assert far[steps] > 1.5 * far[50], far


@pytest.fixture(scope="module")
def student(base, tmp_path_factory):
    return trained_method("consistency", base, tmp_path_factory.mktemp("student"))


def test_a_student_is_a_whole_checkpoint_with_its_own_sampler(student, base):
    ensure_torchvision()
    from diffusers import LCMScheduler, UNet2DConditionModel

    facts = read_facts(student)
    assert facts["stage"] == "consistency"
    assert facts["method"] == {"kind": "consistency", "teacher_steps": 50, "guidance": 3.0, "student_steps": 4}
    assert facts["base"]["checkpoint"] == read_facts(base)["checkpoint"]
    model = loaded(student)
    assert (default_kind(model.scheduler), default_steps(model.facts)) == ("lcm", 4)
    assert default_guidance(model.facts) == 1.0
    settings = Settings("lcm", 4, 1.0, 16, 16)
    settings.check(model)
    assert Sampler(model, settings).sample(Request(["a cat"], [""], [1])).shape == (1, 16, 16, 3)
    UNet2DConditionModel.from_pretrained(student, subfolder="unet")
    scheduler = LCMScheduler.from_pretrained(student, subfolder="scheduler")
    assert scheduler.config.original_inference_steps == 50
    assert scheduler.config.prediction_type == "v_prediction"


def test_plain_diffusers_samples_a_student_in_its_own_steps_without_guidance(student, base):
    assert denoised(student) == (4, 1)
    assert denoised(student, num_inference_steps=2) == (2, 1)
    assert denoised(student, guidance_scale=2.0) == (8, 1)
    assert denoised(base, num_inference_steps=3) == (6, 1)
    assert denoised(base) == (100, 1)


def denoised(path, **asked):
    """How often a picture by the checkpoint's own pipeline asks the network, and how many pictures come."""
    ensure_torchvision()
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(str(path), custom_pipeline=str(path), trust_remote_code=True)
    pipeline.set_progress_bar_config(disable=True)
    calls = []
    pipeline.unet.register_forward_hook(lambda *given: calls.append(1))
    made = pipeline("a cat", generator=[torch.Generator().manual_seed(1)], **asked).images
    return len(calls), len(made)


def test_a_progressive_student_is_sampled_by_the_base_s_own_samplers(base, tmp_path):
    path = trained_method("progressive", base, tmp_path, "method.student_steps=2", "method.teacher_steps=8")
    model = loaded(path)
    assert (default_kind(model.scheduler), default_steps(model.facts)) == ("ddim", 2)
    assert default_guidance(model.facts) == 1.0
    assert model.scheduler == loaded(base).scheduler
    assert (default_steps({}), default_guidance({"method": {"student_steps": "4"}})) == (30, 3.0)


def test_a_student_s_step_is_the_sampler_s_own():
    # what the student learns lands, by diffusers' DDIM in so many steps, where the teacher went
    objective = Objective(prediction="v", zero_terminal_snr=True)
    made, scheduler = grid_of(objective, 20, False, CPU), make_scheduler("ddim", dict(scheduler_config(objective)), 4)
    xt, there = rows(1), rows(1, 1)
    for number, level in enumerate(scheduler.timesteps):
        at, to = torch.tensor([20 - 5 * number]), torch.tensor([15 - 5 * number])
        assert float(made.levels[at]) == float(level)
        clean = made.leading(at, to, xt, there)
        output = made.alpha[at] * (xt - made.alpha[at] * clean) / made.sigma[at] - made.sigma[at] * clean
        landed = scheduler.step(output, level, xt, return_dict=False)[0]
        assert torch.allclose(landed, there, atol=2e-4)


def scheduler_config(objective):
    scheduler = scheduler_of(objective, pixels=False)
    return {**scheduler.config, "_class_name": type(scheduler).__name__}


@pytest.mark.parametrize(
    ("overrides", "method", "words"),
    [
        (["objective.prediction=flow"], [], "is for diffusion; for rectified flow take kind consistency"),
        ([], ["method.student_steps=3"], "20 do not divide by student_steps, 3"),
        ([], ["method.teacher_steps=12"], "1000 noise levels do not divide by 12"),
    ],
)
def test_a_progressive_student_that_cannot_be_is_refused_in_one_line(overrides, method, words, tmp_path):
    path = made_base(tmp_path / "base", *overrides)
    with pytest.raises(BadInput, match=words) as caught:
        method_trainer(method_config("progressive", path, *method), tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_the_teacher_stays_as_it_is(base, tmp_path):
    trainer = method_trainer(method_config("consistency", base), tmp_path)
    before = {name: value.clone() for name, value in trainer.base.network.state_dict().items()}
    trainer.run(Interrupts())
    assert all(torch.equal(value, before[name]) for name, value in trainer.base.network.state_dict().items())
    student = trainer.method.players[0].network.state_dict()
    assert any(not torch.equal(value, before[name]) for name, value in student.items())


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("consistency", []),
        ("progressive", []),
        ("lora", []),
        ("controlnet", []),
        ("textual_inversion", ["method.token=<zorp>", "method.init=a cat"]),
    ],
)
def test_a_student_is_no_method_s_base(student, kind, more):
    with pytest.raises(BadInput, match=r"method\.base: .* is a distilled student; name the checkpoint") as caught:
        method_config(kind, student, *more)
    assert "\n" not in str(caught.value)


def test_a_student_of_another_base_is_not_gone_on_with(base, tmp_path):
    other = made_base(tmp_path / "other", "seed=5")
    trained_method("consistency", base, tmp_path / "out")
    with pytest.raises(BadInput, match="trained from the base") as caught:
        method_trainer(method_config("consistency", other), tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_a_grid_of_a_schedule_without_signal_at_its_end_is_finite():
    made = grid("v", zero_terminal_snr=True)
    assert made.alpha[-1] == 0.0
    assert all(math.isfinite(value) for value in made.alpha.tolist() + made.sigma.tolist() + made.out.tolist())
