"""The only way out for a generated picture: watermark, sign, register, write; all of it or nothing."""

from __future__ import annotations

import io
import uuid
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from PIL import Image, PngImagePlugin

from filters.decoding import Undecodable, decode
from filters.errors import BadInput
from filters.headers import sniff
from filters.scorers.pdq import pdq_hash
from pipelines.run.storage import Store
from training.hallmark import gaussian_shading
from training.hallmark.claim import Binding, ClaimConfig, Facts, Fingerprint, definition
from training.hallmark.credentials import MEDIA, HallmarkFailed, Parent, Sealer, Signed
from training.hallmark.duties import Tc260, VisibleLabel, labelled, xmp_packet
from training.hallmark.reader import MEDIA as READ_MEDIA
from training.hallmark.reader import read_credential
from training.hallmark.registry import Entry, HallmarkRegistry, entry_hash
from training.hallmark.watermark import Watermark

Format = Literal["PNG", "JPEG", "WEBP"]

#: File name endings by format.
SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}

#: Most words that are tried on one picture.
_TRIES = 4


@dataclass(frozen=True)
class HallmarkConfig:
    """How pictures are written and marked. `quality` (1 to 100) is for JPEG and WebP.

    `check_mark`: look for the mark in the encoded picture before it is signed (one pass of the detector).
    """

    format: Format = "PNG"
    quality: int = 95
    claim: ClaimConfig = field(default_factory=ClaimConfig)
    check_mark: bool = True
    label: VisibleLabel | None = None
    tc260: Tc260 | None = None

    def __post_init__(self) -> None:
        if self.format not in MEDIA:
            raise BadInput(f"{self.format}: not a format that is signed; one of {', '.join(MEDIA)}")
        if not 1 <= self.quality <= 100:
            raise BadInput(f"quality {self.quality}: 1 to 100")


@dataclass(frozen=True)
class SamplingMark:
    """The mark that a picture got from its initial noise: the id whose payload it is, and the nonce used for it."""

    identity: str
    nonce: bytes


@dataclass(frozen=True)
class Marked:
    """A finished picture: its id, the file's bytes, and whether a time authority stamped it."""

    id: str
    data: bytes
    stamped: bool


def parent_of(picture: bytes) -> Parent | None:
    """Return a starting picture as a parent where it holds a credential, whoever signed it; None where it has none."""
    media = READ_MEDIA.get(sniff(picture) or "")
    if media is None or read_credential(picture, "").verdict == "none":
        return None
    return Parent(picture, media)


def carried_parent(picture: bytes, named: str, sealer: Sealer, facts: Facts) -> Parent | None:
    """Return a starting picture as `parent_of` does, after a trial whether a credential can take its over.

    Before any work, because one that is damaged so that the library cannot carry it stops every picture. `facts`: as
    of the pictures to be made. Raises `BadInput` that begins with `named`, `HallmarkFailed` where the key is at fault.
    """
    parent = parent_of(picture)
    if parent is None:
        return None
    trial, blank = Sealer(sealer.key), _encoded(np.zeros((8, 8, 3), np.uint8), b"", HallmarkConfig())
    config = ClaimConfig(source_type="compositeWithTrainedAlgorithmicMedia")

    def seal(given: Parent | None) -> None:
        manifest = definition(new_identity(), facts, (), Fingerprint("0" * 64, 0), config, given is not None)
        trial.seal(blank, MEDIA["PNG"], manifest, given)

    seal(None)
    try:
        seal(parent)
    except HallmarkFailed as error:
        raise BadInput(
            f"{named}: holds a credential that is damaged and cannot be taken over into those of the pictures "
            f"({error}); take an undamaged copy of it"
        ) from None
    return parent


def new_identity() -> str:
    """Return a fresh id, 32 hex digits."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class Hallmark:
    """Marks pictures: a sealer signs, a register remembers, and a watermark after the fact where one is given.

    Without one every picture must come with a `SamplingMark`; one without any watermark is refused. `parent`: the
    signed picture that all are made from (`parent_of`), whose credential theirs then hold.
    """

    sealer: Sealer
    registry: HallmarkRegistry
    config: HallmarkConfig = field(default_factory=HallmarkConfig)
    posthoc: Watermark | None = None
    parent: Parent | None = None

    def mark(self, pixels: np.ndarray, facts: Facts, sampling: SamplingMark | None = None) -> Marked:
        """Return the marked, signed and registered file of uint8 (h, w, 3).

        Raises `HallmarkFailed` (exit code 4) where a step fails; then there is nothing to write. An id or a nonce
        that was used before is such a failure.
        """
        _check(pixels)
        if sampling is None and self.posthoc is None:
            raise HallmarkFailed("no watermark: turn one on; nothing leaves unmarked")
        identity = sampling.identity if sampling else new_identity()
        if self.config.label is not None:
            pixels = labelled(pixels, self.config.label)
        packet = xmp_packet(identity, self.config.claim.source_type, self.config.tc260)
        encoded, word = self._watermarked(pixels, packet)
        bindings = _bindings(sampling, self.posthoc, word)
        pdq, quality = _fingerprint(encoded)
        opened = self.parent is not None
        fingerprint = Fingerprint(pdq.hex(), quality)
        manifest = definition(identity, facts, bindings, fingerprint, self.config.claim, opened)
        signed = self.sealer.seal(encoded, MEDIA[self.config.format], manifest, self.parent)
        self._register(identity, signed, (pdq, quality), facts, (word, sampling))
        return Marked(identity, signed.data, signed.stamped)

    def issue(
        self, store: Store, name: str, pixels: np.ndarray, facts: Facts, sampling: SamplingMark | None = None
    ) -> Marked:
        """Mark a picture and write it as `name` (ending included) atomically; return it.

        Killed at any point, it leaves the whole file or none; a row in the register without a file does no harm.
        """
        wanted = SUFFIXES[self.config.format]
        if not name.endswith(wanted):
            raise BadInput(f"{name}: {self.config.format} files end in {wanted}")
        marked = self.mark(pixels, facts, sampling)
        store.write(name, marked.data)
        return marked

    def _watermarked(self, pixels: np.ndarray, packet: bytes) -> tuple[bytes, str | None]:
        """Return the encoded picture, and the word that was put into it.

        Some pictures hardly take one word and easily another: a few get a try.
        """
        if self.posthoc is None:
            return _encoded(pixels, packet, self.config), None
        first = self.posthoc.new_value()
        others = [value for value in self.posthoc.values() if value != first]
        for value in [first, *others][:_TRIES]:
            encoded = _encoded(self.posthoc.embed(pixels, value), packet, self.config)
            if not self.config.check_mark:
                return encoded, value
            found = self.posthoc.detect(_decoded(encoded))
            if found.found and found.value == value:
                return encoded, value
        raise HallmarkFailed("watermarking failed: no mark that was tried can be read back from the picture")

    def _register(
        self,
        identity: str,
        signed: Signed,
        fingerprint: tuple[bytes, int],
        facts: Facts,
        marks: tuple[str | None, SamplingMark | None],
    ) -> None:
        word, sampling = marks
        pdq, quality = fingerprint
        entry = Entry(
            id=identity,
            sha256=entry_hash(signed.data),
            pdq=pdq,
            quality=quality,
            store=signed.store,
            checkpoint=facts.model.checkpoint,
            dataset=facts.dataset.content_hash,
            mark=word,
            nonce=sampling.nonce if sampling else None,
            created_at=facts.created_at,
        )
        try:
            self.registry.add(entry)
        except BadInput as error:
            raise HallmarkFailed(f"registering failed: {error}") from None


def _check(pixels: np.ndarray) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or min(pixels.shape) < 1:
        raise ValueError(f"pixels of shape {pixels.shape}, {pixels.dtype}; uint8 (h, w, 3) is marked")


def _bindings(sampling: SamplingMark | None, posthoc: Watermark | None, word: str | None) -> tuple[Binding, ...]:
    found = []
    if sampling is not None:
        found.append(Binding(gaussian_shading.ALGORITHM, sampling.identity))
    if posthoc is not None and word is not None:
        found.append(Binding(posthoc.algorithm, word))
    return tuple(found)


def _encoded(pixels: np.ndarray, packet: bytes, config: HallmarkConfig) -> bytes:
    """Return the picture's file with its XMP packet."""
    image, out = Image.fromarray(pixels), io.BytesIO()
    if config.format == "PNG":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", packet.decode())
        image.save(out, "PNG", pnginfo=chunks)
    elif config.format == "JPEG":
        image.save(out, "JPEG", quality=config.quality, subsampling=0, xmp=packet)
    else:
        image.save(out, "WEBP", quality=config.quality, xmp=packet)
    return out.getvalue()


def _decoded(encoded: bytes) -> np.ndarray:
    return np.asarray(decode(encoded).image)


def _fingerprint(encoded: bytes) -> tuple[bytes, int]:
    """Return the PDQ hash and its quality of the picture as anybody will decode it."""
    try:
        return pdq_hash(decode(encoded).image)
    except Undecodable as error:
        raise HallmarkFailed(f"the picture cannot be read back: {error.detail}") from None
