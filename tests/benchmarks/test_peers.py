"""The comparison with other tools: same pictures for both sides, honest ratios, and no peer passes unseen."""

import csv
import io
import json
import sys
import tarfile
import urllib.request

import pytest
from PIL import Image

from benchmarks import peers
from benchmarks.metered import Usage
from benchmarks.peer_pictures import Pictures, Server, flattened, make_pictures, write_list


@pytest.fixture
def made(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for number in range(5):
        Image.new("RGBA", (20 + number, 10), (40 * number, 0, 0, 128)).save(images / f"red_{number}.png")
    return make_pictures(images, tmp_path / "set", 4)


def test_every_form_of_the_set_holds_the_same_pictures(made, tmp_path):
    files = [(made.files / name).read_bytes() for name in made.names()]
    assert made.count == len(files) == 4
    shards = sorted(made.shards.iterdir())
    assert len(shards) == 2
    shard = []
    for path in shards:
        with tarfile.open(path) as tar:
            shard += [tar.extractfile(member).read() for member in tar if member.name.endswith(".jpg")]
    rows = [json.loads(line) for line in made.rows.read_text().splitlines()]
    assert shard == files
    assert [row["text"] for row in rows] == ["red 0", "red 1", "red 2", "red 3"]
    assert [row["images"] for row in rows] == [[str(made.files / name)] for name in made.names()]
    with write_list(tmp_path / "list.csv", made, ("a.test", "b.test")).open(newline="") as stream:
        urls = [row["url"] for row in csv.DictReader(stream)]
    assert urls[:3] == ["http://a.test/0000000.jpg", "http://b.test/0000001.jpg", "http://a.test/0000002.jpg"]


def test_transparent_pictures_stand_on_white():
    buffer = io.BytesIO()
    Image.new("RGBA", (16, 16), (0, 0, 0, 0)).save(buffer, "PNG")
    with Image.open(io.BytesIO(flattened(buffer.getvalue()))) as image:
        assert (image.format, image.mode, image.getpixel((3, 3))) == ("JPEG", "RGB", (255, 255, 255))


def test_the_server_gives_the_pictures_on_this_machine_alone(made):
    with (
        Server(made.files) as server,
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/0000002.jpg", timeout=10) as answer,
    ):
        assert answer.read() == (made.files / "0000002.jpg").read_bytes()


def test_the_same_operators_on_both_sides():
    shape, aspect, text, _ = (next(iter(operator.values())) for operator in peers.OPERATORS)
    assert shape["min_width"] == shape["min_height"] == peers.RULES["min_side"]["low"]
    assert aspect["max_ratio"] == 1 / aspect["min_ratio"] == peers.RULES["aspect_ratio"]["high"]
    assert (text["min_len"], text["max_len"]) == tuple(peers.RULES["caption_characters"].values())


def test_a_peer_that_is_not_there_is_named():
    assert "no --img2dataset-python" in peers.version(None, "img2dataset")[1]
    assert "cannot be run" in peers.version("/no/such/python", "img2dataset")[1]
    assert "has no package no-such-package-here" in peers.version(sys.executable, "no-such-package-here")[1]
    assert peers.version(sys.executable, "pytest") == (pytest.__version__, "")


def test_without_peers_every_line_says_so(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["peers", "--peers", str(tmp_path)])
    peers.main()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["peer"] for line in lines] == [job.peer for job in peers.jobs(lambda _: 0, peers.Path())]
    assert all("cannot be run" in line["skipped"] for line in lines)


def job(ours, theirs):
    """A comparison of two small programs in place of the tools; everything around them is real."""

    def command(code):
        return [sys.executable, "-S", "-c", code]

    return peers.Job(
        "small",
        "work",
        lambda pictures, folder: command(ours),
        lambda python, pictures, folder: command(theirs),
        (1, 1),
        "",
    )


SPIN = (
    "import time\nend = time.process_time() + {}\nwhile time.process_time() < end: pass\nprint('{{\"pictures\": 3}}')"
)


def test_the_ratio_is_theirs_over_ours_by_processor_time(tmp_path):
    sets = (Pictures(tmp_path, 1), Pictures(tmp_path, 3))
    found = peers.compare(job(SPIN.format(0.1), SPIN.format(0.5)), "", sets, 2, tmp_path)
    assert 2.5 < found["cpu_times"] < 6
    assert found["cpu_times_lowest"] <= found["cpu_times"] <= found["cpu_times_highest"]
    assert found["counts"] == {"ours": {"pictures": 3}, "theirs": {"pictures": 3}}
    assert (found["rounds"], len(found["cpu_seconds"]["ours"]), found["aborted_at_exit"]) == (2, 2, 0)
    assert found["cpu_times_without_start"] is None, "both sides are all start: their difference says nothing"


def test_a_side_that_fails_is_told_with_its_words(tmp_path):
    sets = (Pictures(tmp_path, 1), Pictures(tmp_path, 3))
    with pytest.raises(peers.Failed, match=r"(?s)exit 1: .*no model") as told:
        peers.compare(job("print('{}')", "raise ValueError('no model')"), "", sets, 1, tmp_path)
    assert told.value.side == "theirs"


def test_an_abort_after_the_result_is_counted_and_one_before_it_fails(tmp_path):
    sets = (Pictures(tmp_path, 1), Pictures(tmp_path, 3))
    after = "import os; print('{}', flush=True); os.abort()"
    assert peers.compare(job(after, "print('{}')"), "", sets, 1, tmp_path)["aborted_at_exit"] == 2
    folder = tmp_path / "again"
    folder.mkdir()
    with pytest.raises(peers.Failed):
        peers.compare(job("import os; os.abort()", "print('{}')"), "", sets, 1, folder)


def test_counts_of_a_run_and_of_a_peer():
    def usage(text):
        return Usage(0, 1.0, 1.0, 1.0, text, "")

    whole = json.dumps(
        {"samples": 9, "kept": 7, "dropped": {"NEAR_DUPLICATE": 2}, "rate": 1, "content_hash": "a"}, indent=1
    )
    assert peers.counted(usage(whole)) == {"samples": 9, "kept": 7, "dropped": {"NEAR_DUPLICATE": 2}}
    assert peers.counted(usage('words\n\n{"kept": 7, "seconds": 1.5}\n')) == {"kept": 7}
