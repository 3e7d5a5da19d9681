"""Signed files with bytes changed at random: never an exception, never another picture or statement that counts."""

import numpy as np
import pytest
from hallmarking import encode, pixels_of, some_facts

from training.hallmark.claim import ClaimConfig, Fingerprint, definition
from training.hallmark.credentials import MEDIA, Sealer
from training.hallmark.verify import Verifier


def mutated(data, generator):
    """The file with one to four bytes replaced, a piece doubled, or a piece taken out."""
    body = bytearray(data)
    at, length = (int(generator.integers(0, limit)) for limit in (len(body), 200))
    kind = generator.integers(0, 6)
    if kind == 0:
        body[at:at] = body[at : at + length]
    elif kind == 1:
        del body[at : at + length]
    else:
        for place in generator.integers(0, len(body), int(kind)):
            body[place] ^= 1 << int(generator.integers(0, 8))
    return bytes(body)


def check(signing_key, photo, anchors, rounds, seed):
    generator = np.random.default_rng(seed)
    manifest = definition("0" * 32, some_facts(), (), Fingerprint("f" * 64, 100), ClaimConfig())
    verifier = Verifier(anchors)
    survived = 0
    for kind, media in MEDIA.items():
        data = Sealer(signing_key).seal(encode(photo[:96, :96], kind), media, manifest).data
        whole = verifier.verify("x", data)
        assert whole.ok
        for _ in range(rounds):
            changed = mutated(data, generator)
            found = verifier.verify("x", changed)
            found.as_json()
            if found.ok:
                # Padding of the signature is not signed; everything that is seen or stated is.
                assert found.claim == whole.claim
                assert (pixels_of(changed) == pixels_of(data)).all()
                survived += changed != data
    assert survived < rounds


def test_changed_bytes_never_pass_for_what_was_signed(signing_key, photo, anchors):
    check(signing_key, photo, anchors, 60, seed=1)


@pytest.mark.hostile
def test_many_changed_bytes_never_pass_for_what_was_signed(signing_key, photo, anchors):
    check(signing_key, photo, anchors, 3000, seed=2)
