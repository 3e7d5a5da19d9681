"""The scaling benchmark: its pictures, its estimate of the start, its plot."""

import io
import itertools
import json
import subprocess
import sys
import tarfile
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from benchmarks import scaling
from benchmarks.scaling_plot import draw


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (40, 30), (80 * number, 20, 200)).save(folder / f"{number}.png")
    return folder


def test_pictures_are_the_same_every_time_and_one_in_twenty_is_nearly_the_one_before(images):
    base = scaling.drawings(images)
    assert base.shape == (3, scaling.SIDE, scaling.SIDE, 3)
    found = list(itertools.islice(scaling.made(base), 60))
    assert all(np.array_equal(a, b) for a, b in zip(found, scaling.made(base), strict=False))
    assert len({picture.tobytes() for picture in found}) == 60
    changed = [int((a != b).any(axis=2).sum()) for a, b in itertools.pairwise(found)]
    assert [number + 1 for number, pixels in enumerate(changed) if pixels == 1] == [19, 39, 59]
    assert min(pixels for pixels in changed if pixels != 1) > 1000


def test_input_is_cut_into_shards_and_kept(images, tmp_path):
    place = scaling.write_input(images, tmp_path, 10, 4)
    names = []
    for path in sorted(place.glob("*.tar")):
        with tarfile.open(path) as tar:
            names.append([member.name for member in tar])
            with Image.open(io.BytesIO(tar.extractfile(tar.getmembers()[0]).read())) as image:
                assert image.size == (scaling.SIDE, scaling.SIDE)
    assert [len(shard) for shard in names] == [8, 8, 4]
    assert names[2] == ["0000008.jpg", "0000008.txt", "0000009.jpg", "0000009.txt"]
    before = (place / "00000.tar").stat().st_mtime_ns
    assert scaling.write_input(images, tmp_path, 10, 4) == place
    assert (place / "00000.tar").stat().st_mtime_ns == before


def test_the_start_is_what_is_left_of_a_run_over_nothing():
    start, part, sample = 1.5, 0.2, 0.01
    sizes = [(scaling.START, 1), (scaling.START * scaling.PARTS, scaling.PARTS)] * 3
    rows = [{"samples": n, "cpu_seconds": start + parts * part + n * sample} for n, parts in sizes]
    assert scaling.started(rows, "cpu_seconds") == pytest.approx(start)


def test_the_plot_is_xml_with_a_point_for_each_size():
    lines = [
        {"workers": workers, "samples": [1000, 10_000, 100_000], "cpu_ms_a_sample": [2.1, 2.0, 2.2 * workers]}
        for workers in (1, 2)
    ]
    svg = ElementTree.fromstring(draw(lines))
    space = {"s": "http://www.w3.org/2000/svg"}
    circles = svg.findall("s:circle", space)
    assert len(circles) == 6
    assert all(0 <= float(c.get("cx")) <= 480 and 0 <= float(c.get("cy")) <= 300 for c in circles)
    heights = [float(c.get("cy")) for c in circles]
    assert heights[5] < heights[2] < heights[1], "what costs more stands higher"
    texts = [text.text for text in svg.findall("s:text", space)]
    assert {"1,000", "10,000", "100,000", "1 worker", "2 workers"} <= set(texts)


def test_a_single_size_and_no_lines():
    assert "<circle" in draw([{"workers": 1, "samples": [1000], "cpu_ms_a_sample": [2.0]}])
    with pytest.raises(ValueError, match="no lines"):
        draw([])


@pytest.mark.e2e
@pytest.mark.timeout(1200)
def test_a_whole_measurement_with_one_and_two_workers(images, tmp_path):
    plot = tmp_path / "plot.svg"
    command = [sys.executable, "-m", "benchmarks.scaling", "--images", str(images), "--sizes", "200", "400"]
    done = subprocess.run([*command, "--plot", str(plot)], capture_output=True, text=True, cwd=scaling.ROOT)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    points = [line for line in lines if "kept" in line]
    assert [(line["workers"], line["samples"]) for line in points] == [(1, 200), (1, 400), (2, 200), (2, 400)]
    # however many workers, the decisions are the same
    assert [line["kept"] for line in points[:2]] == [line["kept"] for line in points[2:]]
    assert all(0 < line["kept"] <= line["samples"] for line in points)
    growth = {line["workers"]: line for line in lines if "worst_over_best" in line}
    for workers, name in ((1, "cpu_seconds"), (2, "seconds")):
        small, large = (line[name] for line in points if line["workers"] == workers)
        assert growth[workers]["further"] == [pytest.approx(1e3 * (large - small) / 200, abs=0.001)]
    assert ElementTree.parse(plot).getroot().tag.endswith("svg")
