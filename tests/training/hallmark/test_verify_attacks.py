"""Attempts to fool `assay verify`: each gets its word and its exit code."""

import json
import runpy
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hallmarking import CHECKPOINT, DATASET, edited, encode, key_of, pixels_of, some_facts, with_manifest_of
from PIL import Image

from pipelines.commands.main import invoke
from training.hallmark import credentials, gaussian_shading
from training.hallmark.chains import development_chain, new_key, private_pem
from training.hallmark.claim import ClaimConfig, Fingerprint, definition
from training.hallmark.credentials import MEDIA, Sealer
from training.hallmark.marking import Hallmark, HallmarkConfig, SamplingMark
from training.hallmark.posthoc import ALGORITHM
from training.hallmark.recovery import recover
from training.hallmark.registry import open_register
from training.hallmark.watermark import Detection, WatermarkKey


@pytest.fixture
def look(tmp_path, chain, capsys, register_path, posthoc):
    """Verify some bytes by the command; return its exit code and the one report. `marks` also looks for marks."""
    (tmp_path / "root.pem").write_bytes(chain.root)
    (tmp_path / "w.key").write_text(posthoc.key.secret.hex())

    def run(data, name="x.png", marks=False, register=True, more=(), key=None):
        path = tmp_path / name
        path.write_bytes(data)
        command = ["verify", str(path), "--json", "--trust", str(tmp_path / "root.pem"), *more]
        command += ["--registry", str(register_path)] if register is True else []
        if key is not None:
            (tmp_path / "w.key").write_text(key.secret.hex())
        command += ["--watermark-key", str(tmp_path / "w.key")] if marks or key else []
        code = invoke(command)
        (report,) = json.loads(capsys.readouterr().out)
        return code, report

    return run


def says(report, words):
    return any(words in problem for problem in report["problems"])


def test_an_issued_file_is_ours_and_intact(issued, look):
    code, report = look(issued.data, marks=True)
    assert code == 0
    assert (report["ok"], report["credential"], report["problems"], report["recovery"]) == (True, "ours", [], None)
    assert (report["id"], report["dataset"], report["checkpoint"]) == (issued.id, DATASET, CHECKPOINT)
    assert report["watermark"]["found"]
    assert 0 < report["watermark"]["fpr"] <= 1e-6


def test_a_manifest_on_another_picture(issued, other_photo, look):
    code, report = look(with_manifest_of(issued.data, other_photo))
    assert (code, report["credential"], report["dataset"]) == (3, "invalid", None)
    assert says(report, "changed after signing, or the credential belongs to another one")


def test_one_changed_pixel_under_the_manifest(issued, look):
    pixels = pixels_of(issued.data).copy()
    pixels[10, 10, 0] ^= 1
    code, report = look(with_manifest_of(issued.data, pixels))
    assert (code, report["credential"]) == (3, "invalid")
    assert says(report, "assertion.dataHash.mismatch")
    # It is still nearly the picture, so the register says which.
    assert report["recovery"]["state"] == "recovered by likeness"
    assert report["id"] == issued.id


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"/trainedAlgorithmicMedia", b"/digitalCapture_________"),
        (DATASET.encode(), b"e" * 64),
        (b"notAllowed", b"allowed___"),
    ],
)
def test_an_edited_statement(issued, look, old, new):
    code, report = look(edited(issued.data, old, new))
    assert (code, report["credential"]) == (3, "invalid")
    assert says(report, "edited after signing")


def resealed(data, key, facts=None):
    """A file of the same pixels under a credential of somebody's own making, in our words."""
    manifest = definition("0" * 32, facts or some_facts(), (), Fingerprint("f" * 64, 100), ClaimConfig())
    return Sealer(key).seal(encode(pixels_of(data)), "image/png", manifest).data


def test_signed_again_by_another_chain_of_the_same_name(issued, look, tmp_path):
    data = resealed(issued.data, key_of(development_chain("es256"), tmp_path))
    code, report = look(data)
    assert (code, report["credential"]) == (3, "other")
    assert says(report, "no given anchor vouches")
    assert report["recovery"]["state"] == "recovered by likeness"
    assert report["id"] == issued.id


def test_without_an_anchor_nothing_is_ours(issued, tmp_path, capsys):
    (tmp_path / "x.png").write_bytes(issued.data)
    assert invoke(["verify", str(tmp_path / "x.png"), "--json"]) == 3
    (report,) = json.loads(capsys.readouterr().out)
    assert (report["credential"], report["dataset"]) == ("other", None)


def test_a_stripped_file_is_recovered_through_its_mark(issued, look):
    data = encode(pixels_of(issued.data), "JPEG", quality=80)
    code, report = look(data, "x.jpg", marks=True)
    assert (code, report["credential"]) == (3, "none")
    assert report["watermark"]["found"]
    assert report["recovery"]["state"] == "recovered, content altered"
    assert report["recovery"]["distance"] <= 31
    assert (report["id"], report["dataset"], report["checkpoint"]) == (issued.id, DATASET, CHECKPOINT)


def test_a_stripped_and_mirrored_file_is_recovered_too(issued, look):
    code, report = look(encode(np.ascontiguousarray(pixels_of(issued.data)[:, ::-1])), marks=True)
    assert code == 3
    assert report["watermark"]["flipped"]
    assert report["recovery"]["state"] == "recovered, content altered"
    assert report["id"] == issued.id


def test_the_demos_forger_is_caught_and_what_he_strips_is_recovered(issued, look):
    forger = runpy.run_path(str(Path(__file__).parents[3] / "examples" / "tamper.py"))
    code, report = look(forger["stripped"](issued.data), "x.jpg", marks=True)
    assert (code, report["credential"], report["recovery"]["state"]) == (3, "none", "recovered, content altered")
    code, report = look(forger["tampered"](issued.data), marks=True)
    assert (code, report["credential"]) == (3, "invalid")
    assert says(report, "changed after signing")


def test_a_mark_transplanted_onto_another_picture(issued, register, posthoc, other_photo, look):
    row = register.get(issued.id)
    code, report = look(encode(posthoc.embed(other_photo, row.mark)), marks=True)
    assert (code, report["credential"], report["id"], report["dataset"]) == (3, "none", None, None)
    assert report["watermark"]["found"]
    assert report["recovery"]["state"] == "transplanted mark"


def test_a_mark_on_a_picture_too_plain_to_compare(issued, register, anchors):
    plain = np.full((256, 256, 3), 128, np.uint8)
    found = Detection(ALGORITHM, True, register.get(issued.id).mark, 1e-9, 32, 32)
    outcome = recover(encode(plain), Image.fromarray(plain), [found], register, anchors)
    assert outcome is not None
    assert (outcome.state, outcome.id, outcome.claim) == ("unconfirmed mark", None, None)
    assert "too plain" in outcome.detail


def test_another_owners_key_finds_no_mark(issued, look):
    code, report = look(encode(pixels_of(issued.data)), key=WatermarkKey(b"o" * 32), register=False)
    assert code == 3
    assert not report["watermark"]["found"]
    assert report["watermark"]["fpr"] > 1e-6


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_appended_bytes_and_cuts(kind, signing_key, photo, look):
    manifest = definition("0" * 32, some_facts(), (), Fingerprint("f" * 64, 100), ClaimConfig())
    data = Sealer(signing_key).seal(encode(photo, kind), MEDIA[kind], manifest).data
    code, report = look(data + b"hello", f"x.{kind.lower()}", register=False)
    assert (code, report["credential"]) == (3, "invalid")
    assert says(report, "changed after signing")
    for share in (0.1, 0.5, 0.9, 0.999):
        code, report = look(data[: int(len(data) * share)], f"x.{kind.lower()}", register=False)
        assert code == 3
        # The manifest of a WebP stands at its end.
        assert report["credential"] == "invalid" or (kind == "WEBP" and report["credential"] == "none")
        assert says(report, "cut off or damaged") or says(report, "changed after signing")


def test_a_signature_by_a_wrong_key(signing_key, photo, look, monkeypatch):
    settings = {**credentials._SETTINGS, "verify": {"verify_after_sign": False, "remote_manifest_fetch": False}}
    monkeypatch.setattr(credentials, "_SETTINGS", settings)
    wrong = private_pem(new_key("es256"))
    manifest = definition("0" * 32, some_facts(), (), Fingerprint("f" * 64, 100), ClaimConfig())

    def call(data):
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        return serialization.load_pem_private_key(wrong, None).sign(data, ec.ECDSA(hashes.SHA256()))

    sealer = Sealer(replace(signing_key, private=None, call=call))
    code, report = look(sealer.seal(encode(photo), "image/png", manifest).data, register=False)
    assert (code, report["credential"]) == (3, "invalid")
    assert says(report, "does not fit what it signs")


def test_an_expired_certificate(photo, tmp_path, look):
    chain = development_chain("ed25519", ends=datetime.now(timezone.utc) + timedelta(seconds=2))
    data = resealed(encode(photo), key_of(chain, tmp_path))
    anchor = tmp_path / "expired.pem"
    anchor.write_bytes(chain.root)
    time.sleep(4)  # validity is told in whole seconds
    code, report = look(data, register=False, more=("--trust", str(anchor)))
    assert (code, report["credential"]) == (3, "invalid")
    assert says(report, "has expired")


def test_a_signed_file_that_the_register_does_not_know(signing_key, photo, look):
    code, report = look(resealed(encode(photo), signing_key))
    assert (code, report["credential"]) == (3, "ours")
    assert says(report, "the register does not know")


def test_a_marked_picture_under_a_credential_that_names_no_mark(issued, signing_key, look):
    code, report = look(resealed(issued.data, signing_key), marks=True, register=False)
    assert (code, report["credential"]) == (3, "ours")
    assert says(report, "which its credential does not name")


def test_a_forged_row_of_the_register_recovers_nothing(issued, register, chain, photo, tmp_path, look):
    """Somebody who can write to the register, but has not our key, claims that a photo is a picture of ours."""
    key = key_of(development_chain("es256"), tmp_path)
    forged = tmp_path / "forged.sqlite"
    with open_register(str(forged), create=True) as registry:
        manifest = definition(
            "1" * 32, some_facts(), (), Fingerprint(register.get(issued.id).pdq.hex(), 100), ClaimConfig()
        )
        store = Sealer(key).seal(encode(photo), "image/png", manifest).store
        registry.add(replace(register.get(issued.id), id="1" * 32, store=store))
        # And one with our real manifest under another id.
        registry.add(replace(register.get(issued.id), id="2" * 32, nonce=b"0" * 12))
    code, report = look(encode(pixels_of(issued.data)), marks=True, register=False, more=("--registry", str(forged)))
    assert code == 3
    assert report["recovery"]["state"] == "unconfirmed mark"
    assert (report["id"], report["dataset"]) == (None, None)


def test_a_mark_at_sampling_leads_back_as_well(signing_key, photo, anchors, tmp_path):
    identity = "a" * 32
    with open_register(str(tmp_path / "r"), create=True) as registry:
        made = Hallmark(Sealer(signing_key), registry, HallmarkConfig()).mark(
            photo, some_facts(), SamplingMark(identity, gaussian_shading.new_nonce())
        )
        stripped = encode(pixels_of(made.data))
        found = Detection(gaussian_shading.ALGORITHM, True, identity, 1e-9, 9000, 16384)
        outcome = recover(stripped, Image.fromarray(photo), [found], registry, anchors)
        assert outcome is not None
        assert (outcome.state, outcome.id) == ("recovered, content altered", identity)
        other = Image.fromarray(
            np.ascontiguousarray(np.rot90(photo[:200, :200]) // 2 + np.arange(200, dtype=np.uint8)[:, None, None] // 2)
        )
        outcome = recover(stripped, other, [found], registry, anchors)
        assert outcome is not None
        assert outcome.state == "transplanted mark"
        outcome = recover(stripped, Image.fromarray(photo), [replace(found, value="b" * 32)], registry, anchors)
        assert outcome is not None
        assert outcome.state == "unconfirmed mark"
