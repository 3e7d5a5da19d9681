"""Our verdict on files that others made."""

import os
from pathlib import Path

import pytest

from training.hallmark.reader import read_credential

FOLDER = (
    Path(os.environ.get("ASSAY_SHARED_DATA") or Path(__file__).resolve().parents[4] / "shared" / "data")
    / "c2pa_samples"
)

VERDICTS = {
    "C.jpg": ("other", "signed by C2PA Test Signing Cert / C2PA Signer"),
    "CA.jpg": ("other", "signed by C2PA Test Signing Cert / C2PA Signer"),
    "CIE-sig-CA.jpg": ("other", "signed by C2PA Test Signing Cert / C2PA Signer"),
    "C_with_CAWG_data.jpg": ("other", "signed by C2PA Test Signing Cert / C2PA Signer"),
    "datadiligence_sample_c2pa.png": ("other", "signed by C2PA Test Signing Cert / C2PA Signer"),
    "E-sig-CA.jpg": ("invalid", "does not fit what it signs (claimSignature.mismatch)"),
    "no_alg.jpg": ("invalid", "unknown algorithm"),
    "cloud.jpg": ("none", "kept at another place, which is not asked"),
    "IMG_0003.jpg": ("none", None),
    "earth_apollo17.jpg": ("none", None),
    "no_manifest.jpg": ("none", None),
    "libpng-test.png": ("none", None),
    "sample1.webp": ("none", None),
    "sample1.avif": ("none", None),
    "test.webp": ("none", None),
}


@pytest.mark.parametrize("name", sorted(VERDICTS))
@pytest.mark.parametrize("anchored", [False, True])
def test_each_file_gets_the_stated_verdict(name, anchored, anchors):
    if not FOLDER.is_dir():
        pytest.skip("the C2PA sample files are not here: set ASSAY_SHARED_DATA")
    read = read_credential((FOLDER / name).read_bytes(), anchors if anchored else "")
    verdict, words = VERDICTS[name]
    assert read.verdict == verdict
    assert read.claim is None
    if words is None:
        assert read.problems == ()
    else:
        assert words in read.problems[0]


def test_every_file_of_the_folder_has_a_verdict():
    if not FOLDER.is_dir():
        pytest.skip("the C2PA sample files are not here: set ASSAY_SHARED_DATA")
    assert {path.name for path in FOLDER.iterdir()} - {"SOURCE.txt"} == set(VERDICTS)
