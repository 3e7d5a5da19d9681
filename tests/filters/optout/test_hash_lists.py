"""Known harmful pictures are found by bytes and by pixels; a list that cannot be read whole is refused.

All hashes are of pictures made here.
"""

from __future__ import annotations

import hashlib
import io
import json

import numpy as np
import pytest
from PIL import Image, ImageOps

from filters.errors import BadInput
from filters.optout.hash_lists import load_hash_lists
from filters.scorers.pdq import pdq_hash


def picture(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
    return small.resize((320, 240), Image.Resampling.BICUBIC)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


LISTED, OTHER = png(picture(1)), png(picture(2))
MD5 = hashlib.md5(LISTED).hexdigest()
SHA256 = hashlib.sha256(LISTED).hexdigest()
PDQ = pdq_hash(picture(1))[0].hex()


def write(folder, name, text):
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.txt", f"# made here\n\n{MD5}\n"),
        ("list.txt", f"{MD5.upper()}\r\n"),
        ("list.sha256", f"{SHA256}\n"),
        ("sha256-list.txt", f"\ufeff{SHA256}"),
        ("list.txt", f"# type: sha256\n{SHA256}\n"),
        ("list.txt", f"sha256:{SHA256}\nmd5 {'0' * 32}\n"),
        ("list.pdq", f"{PDQ}\n"),
        ("list.csv", f"md5\n{MD5}\n"),
        ("list.csv", f"sha256,pdq,note\n{SHA256},,x\n"),
        ("list.csv", f"hash;type\n{PDQ};PDQ\n"),
        ("list.csv", f'signal_type,signal_str,metadata\npdq,{PDQ},"a, b"\n'),
        ("list.csv", f"indicator,type,description\n{MD5},HASH_MD5,x\nhttps://example.org/,URL,x\n"),
        ("list.json", json.dumps({"data": [{"indicator": PDQ, "type": "HASH_PDQ", "id": 1}], "paging": {}})),
        ("list.json", json.dumps({"data": [{"indicator": SHA256, "type": "HASH_SHA256"}]}, indent=1)),
        ("list.json", json.dumps([{"indicator": SHA256, "type": "HASH_SHA256"}])),
        ("list.jsonl", f'{{"indicator": "{MD5}", "type": "HASH_MD5"}}\n{{"type": "URL", "indicator": "x"}}\n'),
    ],
)
def test_a_listed_picture_is_found_in_every_format(tmp_path, name, text):
    lists = load_hash_lists([write(tmp_path, name, text)])
    assert lists.matches(LISTED)
    assert not lists.matches(OTHER)


def test_a_folder_is_read_with_all_its_files(tmp_path):
    (tmp_path / "deep").mkdir()
    write(tmp_path, "a.txt", "0" * 32)
    write(tmp_path / "deep", "b.pdq", PDQ)
    lists = load_hash_lists([tmp_path])
    assert lists.size == 2
    assert lists.matches(LISTED)


def test_pixels_are_found_through_recompression_and_turns(tmp_path):
    lists = load_hash_lists([write(tmp_path, "list.pdq", PDQ)])
    for image in (picture(1).resize((200, 150)), ImageOps.mirror(picture(1)), picture(1).rotate(90, expand=True)):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=60)
        assert lists.matches(buffer.getvalue())
    assert not lists.matches(png(picture(3)))


def test_bytes_that_are_no_picture_match_by_their_bytes_alone(tmp_path):
    junk = b"\x89PNG but not really"
    code = hashlib.sha256(junk).hexdigest()
    lists = load_hash_lists([write(tmp_path, "a.pdq", PDQ), write(tmp_path, "b.sha256", code)])
    assert lists.matches(junk)
    assert not lists.matches(b"")
    assert not lists.matches(png(Image.new("RGB", (200, 200), "white")))


def test_digests_that_end_in_zero_bytes_are_told_apart(tmp_path):
    from filters.optout.hash_lists import _listed

    lists = load_hash_lists([write(tmp_path, "a.sha256", "ab" * 31 + "00\n" + "00" * 32)])
    assert _listed(lists.sha256, b"\xab" * 31 + b"\x00")
    assert _listed(lists.sha256, bytes(32))
    assert not _listed(lists.sha256, b"\xab" * 31 + b"\x01")
    assert not _listed(lists.sha256, b"\xab" * 30 + b"\x00\x00")


def test_kinds_that_say_nothing_about_a_picture_are_counted(tmp_path):
    text = f"type,indicator\nHASH_MD5,{MD5}\nHASH_PHOTODNA,abc\nURL,https://example.org\nURL,https://example.org/2\n"
    lists = load_hash_lists([write(tmp_path, "a.csv", text)])
    assert lists.ignored == {"hash_photodna": 1, "url": 2}


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("a.txt", f"{MD5}\nxyz\n", ":2:"),
        ("a.txt", f"{MD5}\n{SHA256}\n", ":2: 64 digits may be"),
        ("a.txt", f"{MD5}\nrot13:{MD5}\n", ":2: unknown type"),
        ("a.txt", f"# type: nothing\n{MD5}", ":1: unknown type"),
        ("a.txt", f"{MD5} {MD5}\n", ":1: unknown type of hash;"),
        ("a.sha256", f"{SHA256[:-1]}\n", ":1:"),
        ("a.sha256", f"{MD5}\n", ":1: sha256 has 64"),
        ("a.csv", f"md5,sha256\n{MD5}\n", ":2: 1 fields"),
        ("a.csv", f"md5,note\n{MD5},x\nzz,y\n", ":3:"),
        ("a.csv", f"name,note\n{MD5},x\n", ":2: no hash; fields"),
        ("a.csv", f'md5,note\n{MD5},"x\n', "no CSV"),
        ("a.json", '{"data": [{"type": "HASH_MD5"}]}', "row 1: no hash"),
        ("a.json", '[{"indicator": 5, "type": "HASH_MD5"}]', "row 1: no hash"),
        ("a.json", '{"data": 5}', ""),
        ("a.json", "[1,", ":1: no JSON"),
        ("a.jsonl", f'{{"md5": "{MD5}"}}\n{{"md5": \n', ":2: no JSON"),
        ("a.json", "[" * 100_000, "no JSON"),
        ("a.txt", "# nothing\n", "holds no hash"),
        ("a.csv", "md5,sha256\n", "holds no hash"),
    ],
)
def test_a_list_that_cannot_be_read_whole_is_refused_with_its_line_and_without_a_hash(tmp_path, name, text, where):
    with pytest.raises(BadInput) as caught:
        load_hash_lists([write(tmp_path, name, text)])
    message = str(caught.value)
    assert name in message
    assert where in message
    assert MD5 not in message
    assert SHA256 not in message


def test_missing_unreadable_and_binary_lists_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "none", tmp_path / "empty", tmp_path / "binary.txt"):
        with pytest.raises(BadInput, match=path.name):
            load_hash_lists([path])


def test_no_list_is_an_empty_set_of_hashes():
    assert load_hash_lists([]).size == 0
    assert not load_hash_lists([]).matches(LISTED)
