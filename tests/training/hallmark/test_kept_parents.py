"""A picture made from a signed one keeps that one's credential; nobody's provenance is stripped."""

import pytest
from hallmarking import encode, key_of, some_facts

from filters.errors import BadInput
from filters.optout.base import Evidence
from filters.optout.digital_source import DigitalSource
from training.hallmark.chains import development_chain
from training.hallmark.claim import ClaimConfig, Fingerprint, definition
from training.hallmark.credentials import HallmarkFailed, Parent, Sealer
from training.hallmark.gaussian_shading import new_nonce
from training.hallmark.marking import Hallmark, HallmarkConfig, SamplingMark, carried_parent, new_identity, parent_of
from training.hallmark.reader import read_credential
from training.hallmark.registry import open_register

COMPOSITE = "compositeWithTrainedAlgorithmicMedia"


@pytest.fixture
def theirs(other_photo, tmp_path):
    """A JPEG that somebody else signed."""
    key = key_of(development_chain("ed25519", label="Somebody's camera"), tmp_path)
    manifest = definition("9" * 32, some_facts(), (), Fingerprint("f" * 64, 100), ClaimConfig())
    return Sealer(key).seal(encode(other_photo, "JPEG"), "image/jpeg", manifest).data


@pytest.fixture
def made(signing_key, photo, facts, tmp_path):
    """Mark a picture that was made from another one; returns the file."""

    def of(parent, kind="PNG"):
        config = HallmarkConfig(kind, claim=ClaimConfig(source_type=COMPOSITE))
        with open_register(str(tmp_path / "register"), create=True) as register:
            hallmark = Hallmark(Sealer(signing_key), register, config, parent=parent)
            return hallmark.mark(photo, facts, SamplingMark(new_identity(), new_nonce())).data

    return of


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_the_credential_of_the_starting_picture_is_kept(kind, made, theirs, anchors):
    parent = parent_of(theirs)
    assert parent is not None
    read = read_credential(made(parent, kind), anchors)
    assert (read.verdict, read.problems) == ("ours", ())
    assert read.claim is not None
    assert read.claim.id != "9" * 32
    (note,) = (one for one in read.notes if "made from" in one)
    assert "Assay development" in note
    assert "did not hold" not in note


def test_source_type_and_first_action_fit_a_picture_that_was_opened(made, theirs):
    data = made(parent_of(theirs))
    assert b"c2pa.opened" in data
    assert {one.raw.rpartition("/")[2] for one in DigitalSource().read(Evidence(image=data))} >= {COMPOSITE}


def test_that_an_earlier_credential_did_not_hold_is_told_and_no_fault_of_ours(made, theirs, anchors):
    parent = parent_of(theirs + b"x")
    assert parent is not None
    read = read_credential(made(parent), anchors)
    assert read.verdict == "ours"
    assert any("did not hold when it was taken over" in note for note in read.notes)


def test_changing_the_kept_credential_is_seen(made, theirs, anchors):
    data = made(parent_of(theirs))
    at = data.index(b"9" * 32)
    forged = data[:at] + b"8" * 32 + data[at + 32 :]
    assert read_credential(forged, anchors).verdict == "invalid"


def test_pictures_without_a_credential_have_none_to_keep(photo, made, anchors):
    assert parent_of(encode(photo)) is None
    assert parent_of(b"no picture") is None
    assert not any("made from" in note for note in read_credential(made(None), anchors).notes)


@pytest.mark.parametrize("place", [b"c2pa.claim", b"c2pa.hash.data", b"jumb"])
def test_a_starting_picture_with_a_credential_too_damaged_to_keep_is_told_at_once(theirs, signing_key, facts, place):
    at = theirs.index(place)
    damaged = theirs[:at] + bytes([theirs[at] ^ 0xFF]) + theirs[at + 1 :]
    with pytest.raises(BadInput, match=r"^--image x.jpg: holds a credential that is damaged") as error:
        carried_parent(damaged, "--image x.jpg", Sealer(signing_key), facts)
    assert "\n" not in str(error.value)


def test_a_sound_credential_passes_the_trial(theirs, photo, signing_key, facts):
    assert carried_parent(theirs, "x", Sealer(signing_key), facts) == parent_of(theirs)
    assert carried_parent(theirs + b"x", "x", Sealer(signing_key), facts) is not None
    assert carried_parent(encode(photo), "x", Sealer(signing_key), facts) is None


def test_a_parent_that_cannot_be_kept_stops_the_picture(made):
    with pytest.raises(HallmarkFailed):
        made(Parent(b"no picture at all", "image/png"))
