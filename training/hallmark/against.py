"""From names on the command line to what pictures are held against: anchors, secret, register, checkpoint, dataset."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from filters.environment import HALLMARKS, TRUST, WATERMARK_KEY
from filters.errors import BadInput

if TYPE_CHECKING:
    from pipelines.run.directory import Run
    from training.hallmark.registry import HallmarkRegistry
    from training.hallmark.verify import Verifier
    from training.hallmark.watermark import Detector

#: Most bytes of one file that are read.
_MAX_BYTES = 1 << 30


@dataclass(frozen=True)
class Against:
    """What was named on the command line; what was not may stand in the environment.

    `trust`: certificates (PEM). `registry`: file or URL. `watermark_key`: the secret's file. `words`: size of the
    pool of words. `model`: checkpoint whose marks in the noise are looked for. `run`: the dataset's folder.
    """

    trust: Path | None = None
    registry: str | None = None
    watermark_key: Path | None = None
    words: int = 4
    model: Path | None = None
    run: str | None = None


def verifier_of(against: Against, stack: ExitStack) -> Verifier:
    """Return the verifier; `stack` closes the register. Raises `BadInput`."""
    from training.hallmark.registry import open_register
    from training.hallmark.verify import Verifier

    url = against.registry or os.environ.get(HALLMARKS)
    registry = stack.enter_context(open_register(url)) if url else None
    return Verifier(
        anchors=_anchors(against.trust),
        detectors=_detectors(against, registry),
        registry=registry,
        run=_run(against.run),
    )


def read_picture(path: Path) -> bytes:
    """Return a file's bytes. Raises `BadInput`."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BadInput(f"{path}: larger than 1 GiB")
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from None


def _anchors(trust: Path | None) -> str:
    """Return the certificates of our issuers, empty where none are named."""
    from cryptography import x509

    named = trust or (Path(os.environ[TRUST]) if os.environ.get(TRUST) else None)
    if named is None:
        return ""
    data = read_picture(named)
    try:
        x509.load_pem_x509_certificates(data)
        return data.decode()
    except (ValueError, UnicodeDecodeError):
        raise BadInput(f"{named}: no certificates in PEM form") from None


def _detectors(against: Against, registry: HallmarkRegistry | None) -> list[Detector]:
    """Return the detectors of our marks: in the pixels, and with a checkpoint also in the noise."""
    from training.hallmark.posthoc import RivaGan
    from training.hallmark.watermark import read_key_file

    named = against.watermark_key or (Path(os.environ[WATERMARK_KEY]) if os.environ.get(WATERMARK_KEY) else None)
    if named is None:
        if against.model is not None:
            raise BadInput(f"--model looks for marks, which takes their secret: --watermark-key, or ${WATERMARK_KEY}")
        return []
    key = read_key_file(named)
    try:
        found: list[Detector] = [RivaGan(key, against.words)]
    except ValueError as error:
        raise BadInput(f"--words: {error}") from None
    if against.model is None:
        return found
    if registry is None:
        raise BadInput(f"--model looks for registered pictures: name their register, --registry or ${HALLMARKS}")
    if any(find_spec(package) is None for package in ("torch", "diffusers")):
        raise BadInput("--model needs more packages: pip install 'assay-data[train]'")
    from training.hallmark.noise_mark import noise_detector
    from training.sampling.model import Running, load_model, newest

    return [*found, noise_detector(load_model(newest(against.model), Running()), key, registry)]


def _run(name: str | None) -> Run | None:
    if name is None:
        return None
    from pipelines.run.directory import open_run

    return open_run(name)
