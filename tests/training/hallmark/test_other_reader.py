"""A reader that others wrote (encypher-c2pa, which shares no code with c2pa-rs) agrees with ours."""

import os
from pathlib import Path

import pytest
from hallmarking import edited, encode, key_of, pixels_of, some_facts, with_manifest_of

from training.hallmark.chains import development_chain
from training.hallmark.claim import Binding, ClaimConfig, Fingerprint, definition
from training.hallmark.credentials import MEDIA, Sealer
from training.hallmark.reader import read_credential

FOLDER = Path(os.environ.get("ASSAY_SHARED_DATA") or Path(__file__).resolve().parents[4] / "shared" / "data")


@pytest.fixture
def reads(tmp_path, monkeypatch):
    """What the other reader says: there is a manifest, it holds, its signer is trusted."""
    # It keeps a preference about telemetry in the user's folder.
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    other = pytest.importorskip("encypher_c2pa", reason="no second reader: install encypher-c2pa")

    def run(data, media, anchors=""):
        given = {"trust_pem": anchors} if anchors else {}
        found = other.verify(data, media, no_default_trust=True, telemetry=False, online=False, **given)
        return (
            found["present"],
            found["integrity"] == "valid",
            found["trust"]["status"] == "valid_for_supplied_material",
        )

    return run


@pytest.mark.parametrize("algorithm", ["es256", "ps256", "ed25519"])
def test_it_trusts_what_we_sign(algorithm, reads, photo, anchors, tmp_path):
    chain = development_chain(algorithm)
    sealer = Sealer(key_of(chain, tmp_path))
    marks = (Binding("org.assay-data.rivagan.1", "01020304"), Binding("org.assay-data.gaussian-shading.1", "0" * 32))
    manifest = definition("0" * 32, some_facts(), marks, Fingerprint("f" * 64, 100), ClaimConfig())
    for kind, media in MEDIA.items():
        data = sealer.seal(encode(photo, kind), media, manifest).data
        assert reads(data, media, chain.root.decode()) == (True, True, True)
        assert reads(data, media, anchors) == (True, True, False)
        assert reads(data + b"hello", media, chain.root.decode())[1] is False


def test_it_sees_the_same_tampering(reads, issued, other_photo, anchors):
    assert reads(issued.data, "image/png", anchors) == (True, True, True)
    assert reads(encode(pixels_of(issued.data)), "image/png", anchors)[0] is False
    for changed in (
        with_manifest_of(issued.data, other_photo),
        edited(issued.data, b"/trainedAlgorithmicMedia", b"/digitalCapture_________"),
    ):
        assert reads(changed, "image/png", anchors)[1] is False
        assert read_credential(changed, anchors).verdict == "invalid"


def test_both_agree_on_the_files_of_others(reads):
    folder = FOLDER / "c2pa_samples"
    if not folder.is_dir():
        pytest.skip("the C2PA sample files are not here: set ASSAY_SHARED_DATA")
    endings = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".avif": "image/avif"}
    for path in sorted(folder.iterdir()):
        if path.suffix not in endings or path.name == "cloud.jpg":  # the one counts a manifest elsewhere as present
            continue
        present, intact, _ = reads(path.read_bytes(), endings[path.suffix])
        ours = read_credential(path.read_bytes(), "").verdict
        assert ours == ("none" if not present else "other" if intact else "invalid"), path.name
