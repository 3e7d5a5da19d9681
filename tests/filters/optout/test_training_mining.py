"""Content credentials: what counts as a denial, and what a permission needs to count."""

from __future__ import annotations

import multiprocessing
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest
from metadata_files import chunk, jpeg, plain, segment
from signed_files import chain, signed, training

from filters.errors import BadInput
from filters.optout.base import Evidence, Verdict
from filters.optout.c2pa_reader import read_credentials
from filters.optout.embedded import read_embedded
from filters.optout.training_mining import TrainingMining

D, A, U = Verdict.DENY, Verdict.ALLOW, Verdict.UNKNOWN
FORMATS = ["PNG", "JPEG", "WEBP", "TIFF", "GIF"]


def read(image, anchors=""):
    return [(s.verdict, s.unreadable) for s in TrainingMining(anchors).read(Evidence(image=image))]


def trusted(image):
    return read(image, chain().root)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("label", ["cawg.training-mining", "c2pa.training-mining"])
@pytest.mark.parametrize("use", ["notAllowed", "constrained"])
def test_denials_count_whoever_signed(format, label, use):
    image = signed(plain(format), training(label, ai_generative_training=use), format=format)
    assert read(image) == trusted(image) == [(D, False)]


@pytest.mark.parametrize("format", FORMATS)
def test_a_permission_counts_from_a_trusted_signer_only(format):
    image = signed(plain(format), training(ai_generative_training="allowed"), format=format)
    assert trusted(image) == [(A, False)]
    assert read(image) == [(U, False)]


@pytest.mark.parametrize(
    ("uses", "verdict", "unreadable"),
    [
        ({"data_mining": "notAllowed"}, D, False),
        ({"data_mining": "notAllowed", "ai_generative_training": "allowed"}, D, False),
        ({"data_mining": "allowed", "ai_generative_training": "allowed"}, A, False),
        ({"data_mining": "allowed"}, U, False),
        ({"ai_training": "notAllowed", "ai_inference": "notAllowed"}, U, False),
        ({"ai_training": "notAllowed", "ai_generative_training": "allowed"}, A, False),
        ({"ai_generative_training": "perhaps"}, U, True),
        ({"ai_generative_training": "NOTALLOWED"}, D, False),
        ({}, U, False),
    ],
)
def test_which_entries_decide(uses, verdict, unreadable):
    assert trusted(signed(plain("PNG"), training(**uses))) == [(verdict, unreadable)]


def test_two_assertions_that_differ_deny():
    both = training(ai_generative_training="allowed"), training("c2pa.training-mining", data_mining="notAllowed")
    assert (D, False) in trusted(signed(plain("PNG"), *both))


@pytest.mark.parametrize("order", [1, -1])
def test_an_entry_does_not_hide_another_of_the_same_name(order):
    entries = [("cawg.ai_generative_training", "allowed"), ("c2pa.ai_generative_training", "notAllowed")][::order]
    data = {"entries": {key: {"use": use} for key, use in entries}}
    assert trusted(signed(plain("PNG"), {"label": "cawg.training-mining", "data": data})) == [(D, False)]


def test_all_uses_are_told():
    image = signed(plain("PNG"), training(ai_generative_training="notAllowed", ai_inference="notAllowed"))
    (signal,) = TrainingMining().read(Evidence(image=image))
    assert "ai_inference notAllowed" in signal.detail
    assert '"use": "notAllowed"' in signal.raw
    assert signal.spec.startswith("CAWG")


@pytest.mark.parametrize("use", ["allowed", "notAllowed", "constrained"])
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("part", [b"c2pa.hash.data", b"urn:c2pa:", b"sha256", b"c2pa.signature"])
def test_in_a_changed_manifest_a_denial_stays_and_a_permission_goes(format, use, part):
    image = bytearray(signed(plain(format, 64), training(ai_generative_training=use), format=format))
    image[bytes(image).find(part) + len(part) + 15] ^= 1
    found = trusted(bytes(image))
    assert (A, False) not in found
    assert (U, True) in found
    assert ((D, False) in found) is (use != "allowed")


@pytest.mark.parametrize("use", ["allowed", "notAllowed"])
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_in_a_changed_picture_a_denial_stays_and_a_permission_goes(format, use):
    found = trusted(signed(plain(format, 64), training(ai_generative_training=use), format=format) + b"more")
    assert found == [(D if use == "notAllowed" else U, False), (U, True)]


def test_anchors_that_are_no_certificates_are_the_users_error():
    with pytest.raises(BadInput, match="PEM"):
        read(signed(plain("PNG")), "rubbish")


def test_a_manifest_moved_to_another_picture_permits_nothing():
    image = signed(plain("PNG"), training(ai_generative_training="allowed"))
    at = image.find(b"caBX") - 4
    store = image[at : at + 12 + int.from_bytes(image[at : at + 4], "big")]
    other = plain("PNG", 32)
    found = trusted(other[:33] + store + other[33:])
    assert (U, True) in found
    assert (A, False) not in found


@pytest.mark.parametrize(("relation", "verdict"), [("parentOf", D), ("componentOf", D), ("inputTo", U)])
def test_the_denial_of_a_picture_seen_in_this_one_stands_where_the_manifest_is_silent(relation, verdict):
    part = signed(plain("PNG"), training(ai_generative_training="notAllowed"))
    assert trusted(signed(plain("PNG"), ingredients=((relation, part),))) == [(verdict, False)]


@pytest.mark.parametrize(("relation", "verdict"), [("parentOf", U), ("componentOf", U), ("inputTo", A)])
def test_a_permission_against_the_denial_of_a_part_does_not_count(relation, verdict):
    part = signed(plain("PNG"), training(ai_generative_training="notAllowed"))
    image = signed(plain("PNG"), training(ai_generative_training="allowed"), ingredients=((relation, part),))
    found = trusted(image)
    assert found == [(verdict, False), (U, False)]


def test_a_manifest_without_a_word_on_training_is_recorded():
    assert read(signed(plain("PNG"))) == [(U, False)]


OTHER_JUMBF = b"\0\0\0\x20jumb\0\0\0\x18jumdXXXX\0\x11\0\x10\x80\0\0\xaa\0\x38\x9b\x71"


class Listener(BaseHTTPRequestHandler):
    """Counts every request."""

    asked: ClassVar[list[str]] = []

    def do_GET(self):
        self.asked.append(self.path)
        self.send_error(404)

    do_HEAD = do_POST = do_GET


def test_a_remote_manifest_is_never_asked():
    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/manifest.c2pa"
        image = signed(plain("JPEG"), format="JPEG", remote=url)
        (signal,) = TrainingMining().read(Evidence(image=image))
        assert (signal.verdict, signal.unreadable) == (U, True)
        assert url in signal.detail
        # with another JUMBF box in the file the library itself comes to the pointer
        read(image[:2] + segment(0xEB, b"JP\0\1\0\0\0\1" + OTHER_JUMBF + b"c2pa") + image[2:])
        server.shutdown()
    assert Listener.asked == []


def _in_child(image, pipe):
    pipe.send(read(image))


@pytest.mark.filterwarnings("ignore")
def test_a_forked_process_reads_as_its_parent_does():
    image = signed(plain("PNG"), training(ai_generative_training="notAllowed"))
    assert read(image) == [(D, False)]
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe()
    child = fork.Process(target=_in_child, args=(image, theirs))
    child.start()
    assert ours.poll(30)
    assert ours.recv() == [(D, False)]
    child.join(30)
    assert child.exitcode == 0


@pytest.mark.parametrize("format", FORMATS)
def test_files_without_a_store_never_reach_the_library(format):
    image = plain(format)
    embedded = read_embedded(image)
    assert embedded.credentials is None
    assert read_credentials(image, embedded) is None


def test_other_jumbf_is_no_credential_and_a_broken_store_is_unreadable():
    assert read(jpeg(segment(0xEB, b"JP\0\1\0\0\0\1" + OTHER_JUMBF))) == []
    broken = plain("PNG")
    broken = broken[:33] + chunk(b"caBX", b"\0\0\0\x20jumb c2pa rubbish") + broken[33:]
    assert read(broken) == [(U, True)]
