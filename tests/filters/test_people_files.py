"""Text files that people write: read within a bound, and every fault is one line that names the file."""

from pathlib import Path

import pytest

from filters.errors import BadInput
from filters.people_files import read_text_file


def test_a_file_of_exactly_the_bound_is_read_and_one_byte_more_is_refused(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_bytes(b"x" * 2048)
    assert read_text_file(path, 2048) == "x" * 2048
    path.write_bytes(b"x" * 2049)
    with pytest.raises(BadInput, match=r"prompts\.txt: larger than 2 KiB$"):
        read_text_file(path, 2048)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    path = tmp_path / "axes.yaml"
    path.write_bytes("\ufeffname: Zoë".encode())
    assert read_text_file(path, 1 << 20) == "name: Zoë"


@pytest.mark.parametrize("data", [b"\xff\xfea\x00", "naïve".encode("latin-1")])
def test_other_encodings_are_refused(tmp_path, data):
    path = tmp_path / "axes.yaml"
    path.write_bytes(data)
    with pytest.raises(BadInput, match=r"axes\.yaml: is not UTF-8 text$"):
        read_text_file(path, 1 << 20)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(BadInput, match=r"gone: cannot be read \(No such file or directory\)$"):
        read_text_file(tmp_path / "gone", 10)
    with pytest.raises(BadInput, match=r"cannot be read \(Is a directory\)$"):
        read_text_file(tmp_path, 10)


def test_an_endless_file_is_refused_after_the_bound():
    with pytest.raises(BadInput, match="/dev/zero: larger than 1 MiB"):
        read_text_file(Path("/dev/zero"), 1 << 20)
