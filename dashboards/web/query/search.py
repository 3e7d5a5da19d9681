"""Is my work in here? One plain sentence with its evidence, and the entry by which it would be taken out."""

from __future__ import annotations

import csv
import hashlib
import io
import shlex
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from dashboards.text import number
from dashboards.text import score as score_text
from dashboards.web.catalogue import Opened
from dashboards.web.query.samples import fetch
from dashboards.web.query.search_address import by_address, domain_of
from dashboards.web.query.search_encoder import Encoders
from dashboards.web.query.search_files import SearchFiles, search_files
from dashboards.web.query.search_keys import Found, Hit, by_creator, by_sha256, found_of
from dashboards.web.text import reveal
from filters.decoding import Undecodable, decode
from filters.decoding_apart import Apart, Step
from filters.errors import BadInput
from filters.optout.look_alike import MIN_QUALITY
from filters.scorers.hashes import phashes
from filters.scorers.pdq import dihedral_hashes
from filters.scoring import Picture

#: Pixels of an upload that are decoded at most (150 MB as RGB).
MAX_PIXELS = 50_000_000

#: Seconds of processor time, and of real time, that a decoder may take for an upload.
CPU_SECONDS, REAL_SECONDS = 20.0, 60.0

#: PDQ bits within which two pictures look the same (Meta's own bound), pHash bits (the recipe's default).
PDQ_BITS, PHASH_BITS = 31, 4

#: Pictures of a list of alike ones, characters of a text.
ALIKE, LONGEST = 24, 1000


@dataclass(frozen=True)
class OptOut:
    """How what was asked for would be opted out: a command, and the same as rows of a CSV file for import."""

    command: str
    csv: str
    apply: str


@dataclass(frozen=True)
class Answer:
    """The answer to one question.

    `state`: in (kept samples answer), out (they came in and were dropped), none, or shown (nothing was asserted: a
    list of pictures that are alike). `evidence` says what was compared and what not. `samples` is the query string of
    the samples page that shows all of them, empty where there is none.
    """

    kind: str
    asked: str
    state: str
    sentence: str
    evidence: list[str]
    kept: int
    dropped: dict[str, int]
    hits: list[Hit]
    alike: list[Hit]
    similar: list[str]
    samples: dict[str, str]
    opt_out: OptOut | None


@dataclass
class Searcher:
    """What searches share: the folder of their files, the encoders, and one upload at a time.

    `apart` is the process in which an upload is tried first: one that crashes a decoder ends that process alone.
    """

    cache: Path
    threads: int = 1
    encoders: Encoders = field(default_factory=Encoders)
    lock: threading.Lock = field(default_factory=threading.Lock)
    decoding: threading.Lock = field(default_factory=threading.Lock)
    apart: Apart = field(default_factory=lambda: Apart(CPU_SECONDS, REAL_SECONDS))

    def files(self, opened: Opened) -> SearchFiles:
        """Return hashes and vectors of the run."""
        return search_files(opened, self.cache, self.lock)


def answer_sha256(opened: Opened, text: str) -> Answer:
    """Answer for a file by its SHA-256."""
    found = by_sha256(opened, text)
    if found is None:
        return _unasked("sha256", text, "That is no SHA-256: it has 64 hexadecimal digits.")
    digest = text.strip().lower().removeprefix("sha256:")
    evidence = ["Compared with the SHA-256 of every file of the run. A copy that was saved again has another one."]
    return _answer("sha256", digest, found, "this very file", evidence, [("sha256", digest)], opened)


def answer_address(opened: Opened, text: str) -> Answer:
    """Answer for an address: of a picture, of a page, or of a site."""
    known = by_address(opened, text)
    if known is None:
        return _unasked("url", text, "That names no host; write it as https://host/path.")
    domain, samples, kept = known.address.host, known.domain_samples, known.domain_kept
    notes = ["Addresses are compared without their scheme, in one canonical spelling. Nothing was fetched."]
    if samples:
        words = f"{number(samples)} samples come from {domain} and its subdomains, {number(kept)} of them kept."
        notes.insert(0, words)
    found = _answer("url", text, known.found, "this address", notes, _address_entry(text, domain), opened)
    if not samples or known.found.total:
        return found
    if known.host:  # the samples page knows one host at a time
        found = replace(found, samples={"domain": known.host})
    if known.address.key.rstrip("/") != known.address.host:
        return found
    if not kept:
        sentence = f"It is not in the dataset: {number(samples)} samples from {domain} came in, and none was kept."
        return replace(found, state="out", sentence=sentence)
    return replace(found, state="in", kept=kept, sentence=f"Yes: {number(kept)} kept samples come from {domain}.")


def _address_entry(text: str, host: str) -> list[tuple[str, str]]:
    path = text.strip().partition("://")[2].partition("/")[2]
    domain = domain_of(host)
    return [("url", text.strip())] if path else [("domain", domain)] if domain else []


def answer_creator(opened: Opened, text: str) -> Answer:
    """Answer for a creator's name, as the opt-out registry would compare it."""
    known = by_creator(opened, text)
    if known is None:
        return _unasked("creator", text, "That is no name: it has letters or digits, at most 200.")
    evidence = ["Compared with the creator that the input states, without case, accents and punctuation."]
    if known.names:
        written = ", ".join(f"“{reveal(name, 60)}” ({number(n)})" for name, n, _ in known.names)
        evidence.append(f"Written as {written}.")
    if known.captions:
        evidence.append(f"{number(known.captions)} captions hold the name as you wrote it.")
    entry = [("creator", text.strip())]
    found = _answer("creator", text, known.found, "work under this name", evidence, entry, opened)
    samples: dict[str, str] = {}
    if len(known.names) == 1:
        samples = {"creator": known.names[0][0]}
    elif known.captions and not known.names:
        samples = {"q": text[:300]}
    return replace(found, similar=[name for name, _, _ in known.similar], samples=samples)


def answer_text(opened: Opened, searcher: Searcher, text: str) -> Answer:
    """Show the pictures nearest to a text by the run's encoder; that asserts nothing about any of them."""
    try:
        vector = searcher.encoders.of_text(opened, text[:LONGEST])
        near = searcher.files(opened).alike(vector, ALIKE, searcher.threads)
    except BadInput as error:
        return _unasked("text", text, f"Pictures cannot be compared with words here: {error}")
    hits = _alike(opened, near)
    if not hits:
        return _unasked("text", text, "This run keeps no embeddings, so its pictures cannot be compared with words.")
    words = "The pictures nearest to the words, by the run's own encoder. That says nothing about whose they are."
    model = [f"Cosine of vectors by {opened.run.recipe.similarity.model}."]
    return Answer("text", text, "shown", words, model, 0, {}, [], hits, [], {"q": text[:300]}, None)


def answer_picture(opened: Opened, searcher: Searcher, data: bytes) -> Answer:
    """Answer for a picture: the same file, pictures that look the same, pictures that are merely alike.

    The picture is looked at and forgotten. Raises `Undecodable` where it is none, or ends its decoder's process.
    """
    digest = hashlib.sha256(data).hexdigest()
    with searcher.decoding:
        trouble = searcher.apart.trouble(Step.PIXELS, data, MAX_PIXELS)
        if trouble is not None:
            raise trouble
        picture = decode(data, MAX_PIXELS)
        codes, quality = dihedral_hashes(picture.image)
        files = searcher.files(opened)
        near, bits, words, compared = _near(files, picture, codes, quality)
        exact = by_sha256(opened, digest)
        assert exact is not None  # a digest is one
        others = ~np.isin(near, exact.rows)
        near, bits = near[others], bits[others]
        notes = [f"The file's SHA-256 is {digest}; your picture was not kept.", *compared]
        alike: list[Hit] = []
        if files.vectors is not None:
            try:
                vector = searcher.encoders.of_picture(opened, picture.image)
                known = np.union1d(near, exact.rows)
                alike = _alike(opened, files.alike(vector, ALIKE, searcher.threads, known))
            except BadInput as error:
                notes.append(f"Not compared by embedding: {error}.")
        else:
            notes.append("Not compared by embedding: this run keeps none.")
    looks = found_of(opened, near, lambda place: ("near", f"{bits[place]} {words}"))
    entry = [("sha256", digest), *([("pdq", ",".join(c.hex() for c in codes))] if quality >= MIN_QUALITY else [])]
    unread = opened.reader.rows("SELECT count(*) FROM samples WHERE NOT readable")[0][0]
    if unread:
        notes.append(f"{number(int(unread))} samples could not be read and were compared by SHA-256 alone.")
    if exact.total:
        base = _answer("picture", digest, exact, "this very file", notes, entry, opened)
        return replace(_with_looks(base, looks), alike=alike)
    base = _answer("picture", digest, looks, "a picture that looks the same", notes, entry, opened)
    if not looks.total:
        total = number(sum(part.rows for part in opened.parts))
        sentence = f"No: neither this file nor a picture that looks the same is among the {total} samples."
        base = replace(base, sentence=sentence)
    return replace(base, alike=alike)


def _with_looks(exact: Answer, looks: Found) -> Answer:
    """Add the pictures that look the same to an answer about the very file."""
    if not looks.total:
        return exact
    count = f"{number(looks.total)} other sample{' looks' if looks.total == 1 else 's look'} the same"
    if exact.kept or not looks.kept:
        return replace(exact, sentence=f"{exact.sentence} {count}.", hits=[*exact.hits, *looks.hits])
    all_kept = " and is kept" if looks.total == 1 else " and are kept"
    kept = f", {number(looks.kept)} of them kept" if looks.dropped else all_kept
    sentence = f"Yes, as a copy: the file itself was left out, but {count}{kept}."
    return replace(exact, state="in", sentence=sentence, kept=looks.kept, hits=[*looks.hits, *exact.hits])


def _near(
    files: SearchFiles, picture: Picture, codes: list[bytes], quality: int
) -> tuple[np.ndarray, np.ndarray, str, list[str]]:
    """Return positions of pictures that look the same with differing bits, both int64 (n,), the nearest first;

    the words that follow the bits; and what they were compared by.
    """
    if files.has_pdq:
        unit = "of 256 bits differ (PDQ)"
        if quality < MIN_QUALITY:
            words = f"Your picture is too plain for a PDQ hash (quality {quality} of 100); looks were not compared."
            nothing = np.empty(0, np.int64)
            return nothing, nothing, unit, [words]
        words = f"Looks were compared by PDQ, in all flips and turns: at most {PDQ_BITS} of 256 bits may differ."
        return *files.near(codes, PDQ_BITS), unit, [words]
    code = int(phashes([picture])[0])
    words = f"This run has no PDQ hashes; looks were compared by pHash: at most {PHASH_BITS} of 64 bits may differ."
    return *files.near_phash(code, PHASH_BITS), "of 64 bits differ (pHash)", [words]


def _alike(opened: Opened, near: list[tuple[int, float]]) -> list[Hit]:
    samples = fetch(opened, [(row, cosine, True) for row, cosine in near])
    return [Hit(sample, "alike", f"cosine {score_text(sample.value or 0.0, 3)}") for sample in samples]


def _answer(
    kind: str, asked: str, found: Found, what: str, evidence: list[str], entries: list[tuple[str, str]], opened: Opened
) -> Answer:
    many = "sample" if found.total == 1 else "samples"
    if found.kept:
        state, kept = "in", "1 kept sample" if found.kept == 1 else f"{number(found.kept)} kept samples"
        sentence = f"Yes: {what} is in the dataset, in {kept}."
        if found.dropped:
            sentence += f" {number(found.total - found.kept)} more came in and {_was(found)} left out."
    elif found.total:
        state = "out"
        sentence = f"It is not in the dataset: {what} came in, in {number(found.total)} {many}, and was left out."
    else:
        state, sentence = "none", f"No: {what} is not among the samples of this run."
    reasons = ", ".join(f"{code} ({number(count)})" for code, count in sorted(found.dropped.items()))
    told = [f"Left out by: {reasons}."] if reasons else []
    return Answer(
        kind, asked, state, sentence, [*told, *evidence], found.kept, found.dropped, found.hits, [], [], {},
        _opt_out(entries, opened),
    )  # fmt: skip


def _was(found: Found) -> str:
    return "was" if found.total - found.kept == 1 else "were"


def _unasked(kind: str, asked: str, words: str) -> Answer:
    return Answer(kind, asked, "none" if kind != "text" else "shown", words, [], 0, {}, [], [], [], {}, None)


def _opt_out(entries: list[tuple[str, str]], opened: Opened) -> OptOut | None:
    """Return command and rows; none for text that a reader could not see as it is."""
    if not entries or any(reveal(value, 100_000) != value or "\n" in value or "\t" in value for _, value in entries):
        return None
    options = [f"--{kind}={value}" for kind, value in entries]
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(["kind", "value", "aliases", "requester", "basis", "note"])
    rows.writerows([kind, value, "", "", "", ""] for kind, value in entries)
    return OptOut(
        shlex.join(["assay", "optout", "add", "REGISTRY", *options]),
        stream.getvalue(),
        shlex.join(["assay", "optout", "apply", opened.name, "--registry", "REGISTRY"]),
    )


def undecodable_words(error: Undecodable) -> str:
    """Return why an upload cannot be searched by, in one line."""
    return f"That is no picture that can be read: {reveal(error.detail, 200)}"
