"""All in-file channels on one picture: real files with known verdicts, and how the channels bear on each other."""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
import time
from pathlib import Path

import pytest
from metadata_files import PLUS, VOCAB, chunk, itxt, jpeg_xmp, plain, png, webp, xmp
from signed_files import chain, signed, training

from filters.optout.base import Evidence, Verdict, strongest
from filters.optout.image_rights import ImageRights, read_image

SHARED = Path(os.environ.get("ASSAY_SHARED_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
CONFORMANCE, CREDENTIALS = SHARED / "plus_datamining_conformance", SHARED / "c2pa_samples"
D, A, U = Verdict.DENY, Verdict.ALLOW, Verdict.UNKNOWN
ZERO = "http://creativecommons.org/publicdomain/zero/1.0/"


def result(image, **fields):
    signals, bodies = read_image(Evidence(image=image, **fields))
    for signal in signals:
        body = bodies[signal.evidence_sha256]
        assert hashlib.sha256(body).hexdigest() == signal.evidence_sha256
    assert set(bodies) == {signal.evidence_sha256 for signal in signals}
    return strongest(s.verdict for s in signals), any(s.unreadable for s in signals)


def conformance_files():
    """Path, stated term and stated XMP state of each fixture (tomllib needs Python 3.11, so by pattern)."""
    if not CONFORMANCE.is_dir():
        return []
    text = (CONFORMANCE / "manifest.toml").read_text()
    fields = [dict(re.findall(r'^(path|expected_dmi|expected_xmp) = "(.*)"$', part, re.M)) for part in
              text.split("[[fixture]]")[1:]]  # fmt: skip
    return [(f["path"], f["expected_dmi"], f["expected_xmp"]) for f in fields]


#: Files whose manifest states no term because the program that wrote the manifest does not read these forms:
#: the XMP says DMI-PROHIBITED-AIMLTRAINING under `ldf/value/` instead of `ldf/vocab/`, which we honour.
STRICTER = ("canonical_independent", "canonical_alt_prefix", "canonical_multi_creator")


@pytest.mark.skipif(not CONFORMANCE.is_dir(), reason="no shared data")
@pytest.mark.parametrize(("path", "term", "state"), conformance_files())
def test_conformance_files_get_the_stated_verdict(path, term, state):
    verdict, unreadable = result((CONFORMANCE / path).read_bytes())
    prohibited = term.startswith("DMI-PROHIBITED") or Path(path).stem in STRICTER
    assert verdict is (D if prohibited else U)
    assert unreadable is (state == "invalid" or "unknown_cv_uri" in path)


SAMPLES = {
    "C_with_CAWG_data.jpg": (D, False),
    "datadiligence_sample_c2pa.png": (D, False),
    "E-sig-CA.jpg": (U, True),
    "no_alg.jpg": (U, True),
    "cloud.jpg": (U, True),
    **dict.fromkeys(["C.jpg", "CA.jpg", "CIE-sig-CA.jpg"], (U, False)),
    **dict.fromkeys(["IMG_0003.jpg", "earth_apollo17.jpg", "no_manifest.jpg", "libpng-test.png"], (U, False)),
    **dict.fromkeys(["sample1.webp", "sample1.avif", "test.webp"], (U, False)),
}
NO_MANIFEST = list(SAMPLES)[8:]


@pytest.mark.skipif(not CREDENTIALS.is_dir(), reason="no shared data")
@pytest.mark.parametrize("name", SAMPLES)
def test_content_credential_samples_get_the_known_verdict(name):
    image = (CREDENTIALS / name).read_bytes()
    assert result(image) == SAMPLES[name]
    told = any(s.channel == "c2pa:training-mining" for s in read_image(Evidence(image=image))[0])
    assert told is (name not in NO_MANIFEST)


@pytest.mark.skipif(not CREDENTIALS.is_dir(), reason="no shared data")
def test_all_samples_are_listed():
    assert {p.name for p in CREDENTIALS.iterdir()} - {"SOURCE.txt"} == set(SAMPLES)


def packet(value, more=""):
    names = f'xmlns:plus="{PLUS}" xmlns:cc="http://creativecommons.org/ns#"'
    return xmp(more, f'plus:DataMining="{VOCAB}{value}"', names)


def test_a_denial_anywhere_takes_every_permission_away():
    image = png(itxt(packet("DMI-PROHIBITED", f'<cc:license rdf:resource="{ZERO}"/>')))
    signals, _ = read_image(Evidence(image=image, licence=ZERO))
    assert {s.verdict for s in signals} == {D, U}


@pytest.mark.parametrize(
    "image",
    [
        png(itxt(b"<broken"), itxt(packet("DMI-ALLOWED"))),
        png(itxt(packet("DMI-ALLOWED")), chunk(b"caBX", b"jumb c2pa rubbish")),
        jpeg_xmp(packet("DMI-ALLOWED"))[:-2].replace(b"\xff\xdb", b"\x00\xdb", 1),
    ],
)
def test_a_permission_beside_what_cannot_be_read_does_not_count(image):
    assert result(image)[0] is result(image, licence=ZERO)[0] is U


@pytest.mark.parametrize("value", ["DMI-UNSPECIFIED", "DMI-OTHER"])
def test_cc0_beside_an_undecided_word_on_mining_does_not_count(value):
    image = png(itxt(packet(value, f'<cc:license rdf:resource="{ZERO}"/>')))
    assert result(image)[0] is result(image, licence=ZERO)[0] is U


def test_permissions_count_where_nothing_stands_against_them():
    assert result(png(itxt(packet("DMI-ALLOWED")))) == (A, False)
    assert result(plain("PNG"), licence=ZERO) == (A, False)
    assert result(None, licence="CC0") == (A, False)
    image = signed(png(itxt(packet("DMI-ALLOWED"))), training(ai_generative_training="allowed"))
    signals, _ = ImageRights(chain().root).read(Evidence(image=image))
    assert [s.verdict for s in signals] == [A, A]


def test_evidence_of_every_channel_is_returned():
    both = "xmlns:tdm='http://www.w3.org/ns/tdmrep/' xmlns:e='http://iptc.org/std/Iptc4xmpExt/2008-02-29/'"
    inner = '<e:DigitalSourceType rdf:resource="http://x/trainedAlgorithmicMedia"/>'
    image = signed(webp((b"XMP ", xmp(inner, "tdm:reservation='1'", both))), training(data_mining="constrained"),
                   format="WEBP")  # fmt: skip
    signals, _ = read_image(Evidence(image=image, licence="MIT"))
    assert [(s.channel, s.verdict) for s in signals] == [
        ("tdmrep:xmp", D),
        ("c2pa:training-mining", D),
        ("cc:licence", U),
        ("iptc:digital-source", U),
    ]
    assert result(image, licence="MIT") == (D, False)


@pytest.mark.parametrize("image", [None, b"", b"\0", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8 "])
def test_no_picture_says_nothing(image):
    assert read_image(Evidence(image=image)) == ([], {})


def test_the_real_corpus_reserves_nothing_and_is_read_fast(openclipart):
    with tarfile.open(sorted(openclipart.glob("*.tar"))[0]) as archive:
        pictures = [archive.extractfile(m).read() for m in archive if m.name.endswith(".png")]
    start = time.process_time()
    found = [signal for image in pictures for signal in read_image(Evidence(image=image))[0]]
    spent = (time.process_time() - start) / len(pictures)
    assert {signal.channel for signal in found} == {"rights:notice"}
    assert not any(signal.unreadable for signal in found)
    # 0.03 ms measured; ten times that is the promise
    assert spent < 0.0003
