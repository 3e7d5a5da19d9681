"""CIFAR-10 end to end: pictures are those of the binary version, figures are what the log says, no claim too many."""

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import cifar10
from benchmarks.cifar10 import Row, beside_published, card_of, figures, rows_of, step_flops
from benchmarks.cifar10_data import CLASSES, RECORD, batches, pictures, write_shards
from filters.errors import BadInput
from training.config import load_config
from training.models.denoiser import denoise, new_denoiser

SMALL = ["loop.compile=false", "loop.device=cpu", "loop.precision=fp32", "loop.threads=1", "data.batch=4"]
SMALL += ["data.workers=0", "denoiser.widths=[32,32]", "denoiser.attention_levels=1", "denoiser.layers=1"]
SMALL += ["denoiser.head_width=32", "denoiser.dropout=0"]


def records(count, seed=0):
    """Records of smooth pictures; the label of the record n is n mod 10."""
    random = np.random.default_rng(seed)
    made = []
    for number in range(count):
        image = Image.fromarray(random.integers(0, 255, (5, 5, 3), dtype=np.uint8)).resize((32, 32))
        made.append(bytes([number % 10]) + np.asarray(image).transpose(2, 0, 1).tobytes())
    return b"".join(made)


@pytest.fixture
def source(tmp_path):
    """A folder laid out as the official binary version is."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"data_batch_{number}.bin").write_bytes(records(15, number))
    (folder / "test_batch.bin").write_bytes(records(5, 9))
    (folder / "batches.meta.txt").write_text("\n".join(CLASSES) + "\n\n")
    return folder


def test_a_record_is_a_label_and_three_planes():
    planes = np.zeros((3, 32, 32), np.uint8)
    planes[0, 3, 7], planes[1, 3, 7], planes[2, 31, 0] = 10, 20, 30
    ((name, picture),) = pictures(bytes([9]) + planes.tobytes())
    assert (name, picture.mode, picture.size) == ("truck", "RGB", (32, 32))
    assert picture.getpixel((7, 3)) == (10, 20, 0)
    assert picture.getpixel((0, 31)) == (0, 0, 30)


def test_folder_and_tar_give_the_same_training_batches_without_the_test_batch(source, tmp_path):
    packed = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        archive.add(source, source.name)
    found = list(batches(source))
    assert [name for name, _ in found] == ["data_batch_1.bin", "data_batch_2.bin"]
    assert found == list(batches(packed))


def test_shards_hold_pictures_class_names_and_what_is_known_of_their_rights(source, tmp_path):
    assert write_shards(source, tmp_path / "a") == write_shards(source, tmp_path / "b") == 30
    assert [(tmp_path / "a" / f.name).read_bytes() == f.read_bytes() for f in (tmp_path / "b").iterdir()] == [True] * 2
    with tarfile.open(tmp_path / "a" / "data_batch_2.tar") as archive:
        members = {member.name: archive.extractfile(member).read() for member in archive}
    assert len(members) == 45
    assert members["cifar10-00018.txt"] == b"cat"
    facts = json.loads(members["cifar10-00018.json"])
    assert facts["licence"] == "none stated"
    assert facts["batch"] == "data_batch_2.bin"
    with Image.open(io.BytesIO(members["cifar10-00018.png"])) as image:
        expected = list(pictures(records(15, 2)))[3][1]
        assert np.array_equal(np.asarray(image), np.asarray(expected))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("data_batch_1", b"\x80\x04pickle", "not the pickled python one"),
        ("data_batch_1.bin", b"\0" * (RECORD + 1), "not a multiple"),
        ("data_batch_1.bin", b"", "not a multiple"),
        ("data_batch_1.bin", bytes([10]) + b"\0" * (RECORD - 1), "above 9"),
        ("batches.meta.txt", b"apple\naquarium_fish\n", "not the classes of CIFAR-10"),
    ],
)
def test_what_is_not_cifar_10_is_refused(source, tmp_path, name, content, words):
    for path in source.glob("data_batch*"):
        if name.startswith("data_batch"):
            path.unlink()
    (source / name).write_bytes(content)
    with pytest.raises(BadInput, match=words):
        write_shards(source, tmp_path / "shards")
    assert not list((tmp_path / "shards").glob("*.tar"))


def test_a_damaged_archive_is_refused(tmp_path):
    path = tmp_path / "cifar-10-binary.tar.gz"
    for content in (b"no archive", b"\x1f\x8b\x08\x00broken"):
        path.write_bytes(content)
        with pytest.raises(BadInput, match="unreadable"):
            list(batches(path))


def test_a_peak_is_stated_for_known_cards_and_16_bits_alone():
    assert card_of("NVIDIA H100 80GB HBM3", "bf16").tera == 989.5
    assert card_of("NVIDIA H100 PCIe", "bf16").tera == 756.5
    assert card_of("NVIDIA A100-SXM4-80GB", "fp16").tera == 312
    assert card_of("NVIDIA L40S", "bf16").tera == 362
    assert card_of("NVIDIA H100 80GB HBM3", "fp32") is None
    assert card_of("x86_64 CPU, 1 threads", "bf16") is None


def test_operations_of_a_step_are_those_that_a_real_network_makes():
    config = load_config(cifar10.CONFIG, SMALL)
    network = new_denoiser(config.denoiser, 3, 32, 24)
    mask = torch.ones(4, config.text.tokens, dtype=torch.bool)
    text, levels = torch.randn(4, config.text.tokens, 24), torch.zeros(4, dtype=torch.int64)
    # torch counts nothing of the CPU's fused attention
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        denoise(network, torch.randn(4, 3, 32, 32), levels, text, mask).sum().backward()
    assert step_flops(config, 24) == counter.get_total_flops() > 0
    assert step_flops(load_config(cifar10.CONFIG, [*SMALL, "loop.accumulate=3"]), 24) == 3 * step_flops(config, 24)


def test_figures_leave_the_first_row_out_and_count_waiting_over_all_others(tmp_path):
    log = tmp_path / "metrics.csv"
    rows = [("10", 9.0, 5.0), ("20", 0.5, 0.25), ("30", 0.25, 0.0), ("40", 0.25, 0.25)]
    lines = [f"denoiser,{step},seconds_per_step,{s}\ndenoiser,{step},waiting,{w}\n" for step, s, w in rows]
    log.write_text("stage,step,metric,value\nautoencoder,10,waiting,7\n" + "".join(lines))
    assert rows_of(log)[0] == Row(10, 9.0, 5.0)
    found = figures(rows_of(log), 10, 128, 250_000_000_000, cifar10.CARDS[0])
    assert (found["seconds_per_step"], found["pictures_a_second"], found["tera_flops_a_second"]) == (0.25, 512, 1)
    assert found["waiting_for_data"] == 0.05
    assert found["share_of_peak"] == pytest.approx(1 / 989.5, abs=1e-4)
    assert figures(rows_of(log), 10, 128, 1, None)["share_of_peak"] is None
    with pytest.raises(BadInput, match="two rows"):
        figures(rows_of(log)[:1], 10, 128, 1, None)


def test_the_published_distance_stands_beside_with_all_that_keeps_it_from_comparing():
    asked = {"features": "Inception-v3 2015", "scheduler": "ddpm", "steps": 1000}
    whole = {"frechet": {"value": 5.0, "generated": 50_000, "real": 50_000}, "asked": asked, "subject": {"step": 1}}
    found = beside_published(whole)
    assert (found["frechet"], found["published"], len(found["not_comparable"])) == (5.0, 3.17, 1)
    less = {**whole, "frechet": {**whole["frechet"], "real": 100}, "asked": {**asked, "features": "builtin:mini"}}
    assert len(beside_published(less)["not_comparable"]) == 3
    none = beside_published({**whole, "frechet": {"why": "too few pictures"}})
    assert none["frechet"] is None
    assert "too few pictures" in none["not_comparable"]


@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_all_four_parts_run_on_a_cpu(source, tmp_path):
    settings = [part for setting in SMALL for part in ("--set", setting)]

    def line(*arguments):
        command = [sys.executable, "-m", "benchmarks.cifar10", *map(str, arguments), "--run", str(tmp_path / "c")]
        done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-1000:]
        return json.loads(done.stdout)

    assert line("data", "--source", source)["pictures"] == 30
    timed = line("time", "--steps", 6, "--every", 2, *settings)
    assert timed["pictures_a_second"] == pytest.approx(4 / timed["seconds_per_step"], rel=0.01)
    assert timed["share_of_peak"] is None
    assert 0 <= timed["waiting_for_data"] <= 1
    assert line("train", *settings, "--set", "loop.steps=2")["steps"] == 2
    few = ["--pictures", 4, "--compared", 20, "--batch", 4, "--sampling-steps", 2, "--features", "builtin:mini"]
    found = line("evaluate", *few)
    assert found["published"] == 3.17
    assert len(found["not_comparable"]) == 4
