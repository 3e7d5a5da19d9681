"""The way out: all steps or no file."""

import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hallmarking import pixels_of, some_facts

from filters.errors import BadInput
from filters.optout.base import Evidence
from filters.optout.digital_source import DigitalSource
from filters.scorers.pdq import pdq_hash
from pipelines.run.storage import Store
from training.hallmark.claim import ClaimConfig
from training.hallmark.credentials import HallmarkFailed, Sealer
from training.hallmark.duties import Tc260, VisibleLabel
from training.hallmark.gaussian_shading import ALGORITHM, new_nonce
from training.hallmark.marking import SUFFIXES, Hallmark, HallmarkConfig, SamplingMark, new_identity
from training.hallmark.reader import read_credential
from training.hallmark.registry import entry_hash, open_register
from training.hallmark.watermark import Detection


class Deaf:
    """A mark that cannot be read back."""

    algorithm = "org.example.deaf"
    tried = 0

    def new_value(self):
        return "00"

    def values(self):
        return ("00", "01")

    def embed(self, pixels, value):
        Deaf.tried += 1
        return pixels

    def detect(self, pixels, bound=1e-6):
        return Detection(self.algorithm, False, None, 1.0, 0, 8)


@pytest.fixture
def registry(tmp_path):
    with open_register(str(tmp_path / "register"), create=True) as opened:
        yield opened


def sampling():
    return SamplingMark(new_identity(), new_nonce())


def test_one_call_marks_signs_and_registers(issued, register, posthoc, photo, anchors):
    from PIL import Image

    read, row = read_credential(issued.data, anchors), register.get(issued.id)
    assert read.verdict == "ours"
    assert read.claim is not None
    assert read.claim.id == issued.id
    assert row is not None
    assert (row.sha256, row.mark, row.nonce) == (entry_hash(issued.data), read.claim.bindings[0].value, None)
    code, quality = pdq_hash(Image.fromarray(pixels_of(issued.data)))
    assert (read.claim.fingerprint.pdq, read.claim.fingerprint.quality) == (code.hex(), quality)
    assert row.pdq == code
    assert row.mark in posthoc.pool
    assert (pixels_of(issued.data) != photo).any()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_mark_at_sampling_alone_is_enough_and_metadata_agree(
    kind, signing_key, registry, photo, facts, anchors, tmp_path
):
    config = HallmarkConfig(format=kind, label=VisibleLabel("AI"), tc260=Tc260("Example"))
    mark = sampling()
    store = Store(str(tmp_path / "out"))
    made = Hallmark(Sealer(signing_key), registry, config).issue(store, f"a{SUFFIXES[kind]}", photo, facts, mark)
    data = store.read(f"a{SUFFIXES[kind]}")
    read = read_credential(data, anchors)
    assert made.id == mark.identity
    assert data == made.data
    assert read.verdict == "ours"
    assert read.claim is not None
    assert [(one.algorithm, one.value) for one in read.claim.bindings] == [(ALGORITHM, mark.identity)]
    # XMP and credential name the same source type, as this project's own reader of such files sees it.
    signals = DigitalSource().read(Evidence(image=data))
    assert len(signals) == 2
    assert {one.raw for one in signals} == {"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"}


def test_nothing_leaves_without_any_watermark(signing_key, registry, photo, facts):
    with pytest.raises(HallmarkFailed, match="nothing leaves unmarked"):
        Hallmark(Sealer(signing_key), registry).mark(photo, facts)
    assert registry.count() == 0


def test_a_mark_that_cannot_be_read_back_stops_the_picture_after_every_word(
    signing_key, registry, photo, facts, tmp_path
):
    Deaf.tried = 0
    hallmark = Hallmark(Sealer(signing_key), registry, posthoc=Deaf())
    with pytest.raises(HallmarkFailed, match="read back"):
        hallmark.issue(Store(str(tmp_path / "out")), "a.png", photo, facts)
    assert Deaf.tried == 2
    assert registry.count() == 0
    assert not (tmp_path / "out").exists()


def test_a_signature_that_fails_stops_the_picture(signing_key, registry, photo, facts, tmp_path):
    broken = replace(signing_key, private=b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    with pytest.raises(HallmarkFailed, match="signing failed"):
        Hallmark(Sealer(broken), registry).issue(Store(str(tmp_path / "out")), "a.png", photo, facts, sampling())
    assert registry.count() == 0
    assert not (tmp_path / "out").exists()


def test_a_register_that_fails_stops_the_picture(signing_key, registry, photo, facts, tmp_path):
    hallmark, mark = Hallmark(Sealer(signing_key), registry), sampling()
    store = Store(str(tmp_path / "out"))
    hallmark.issue(store, "a.png", photo, facts, mark)
    with pytest.raises(HallmarkFailed, match="registering failed"):
        hallmark.issue(store, "b.png", photo, facts, replace(mark, identity=new_identity()))
    assert store.list("") == ["/a.png"]
    assert registry.count() == 1


def test_a_name_that_belies_the_format_is_refused(signing_key, registry, photo, facts, tmp_path):
    with pytest.raises(BadInput, match="end in"):
        Hallmark(Sealer(signing_key), registry).issue(Store(str(tmp_path)), "a.jpg", photo, facts, sampling())
    assert registry.count() == 0


@pytest.mark.parametrize("pixels", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3))])
def test_only_eight_bit_colour_is_marked(signing_key, registry, facts, pixels):
    with pytest.raises(ValueError, match="is marked"):
        Hallmark(Sealer(signing_key), registry).mark(pixels, facts, sampling())


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(BadInput, match="BMP"):
        HallmarkConfig(format="BMP")
    with pytest.raises(BadInput, match="quality"):
        HallmarkConfig(quality=0)


def test_composites_say_that_they_are(signing_key, registry, photo, anchors):
    config = HallmarkConfig(claim=ClaimConfig(source_type="compositeWithTrainedAlgorithmicMedia"))
    made = Hallmark(Sealer(signing_key), registry, config).mark(photo, some_facts(), sampling())
    assert made.data.count(b"digitalsourcetype/compositeWithTrainedAlgorithmicMedia") == 2


_BATCH = """
    import sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    import numpy as np
    from hallmarking import key_of, some_facts
    from pipelines.run.storage import Store
    from training.hallmark.chains import Chain
    from training.hallmark.credentials import Sealer
    from training.hallmark.gaussian_shading import new_nonce
    from training.hallmark.keys import key_from_files
    from training.hallmark.marking import Hallmark, SamplingMark, new_identity
    from training.hallmark.registry import open_register
    folder = Path(sys.argv[2])
    key = key_from_files(folder / "key.pem", folder / "chain.pem")
    hallmark = Hallmark(Sealer(key), open_register(str(folder / "register"), create=True))
    pixels = np.random.default_rng(0).integers(0, 256, (200, 200, 3)).astype(np.uint8)
    for number in range(100_000):
        mark = SamplingMark(new_identity(), new_nonce())
        hallmark.issue(Store(str(folder / "out")), f"{number}.png", pixels, some_facts(), mark)
"""


def test_a_batch_that_is_killed_leaves_only_finished_signed_files(chain, anchors, tmp_path):
    (tmp_path / "key.pem").write_bytes(chain.key)
    (tmp_path / "chain.pem").write_bytes(chain.certificates)
    command = [sys.executable, "-c", textwrap.dedent(_BATCH), str(Path(__file__).parent), str(tmp_path)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[3])
    try:
        deadline = time.monotonic() + 120
        while len(list((tmp_path / "out").glob("*.png"))) < 5:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    found = list((tmp_path / "out").glob("*.png"))
    with open_register(str(tmp_path / "register")) as registry:
        for path in found:
            if path.name.startswith(".tmp-"):
                continue
            read = read_credential(path.read_bytes(), anchors)
            assert read.verdict == "ours"
            assert read.claim is not None
            assert registry.get(read.claim.id) is not None
    assert len(found) >= 5
