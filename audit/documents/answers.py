"""Answers that several documents give: what the dataset is, how large, made of what, and how it was made.

Each takes the facts and returns a `Fact[Answer]`. Sentences are plain text; the form escapes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from audit.documents.facts import Counts, Dataset, Fact, Facts, Material, Processing, Rights, Shard, Source
from audit.documents.form import Answer, Table
from audit.documents.text import counted, number, share, size, when

#: Rows of a table of values; the rest are counted together.
MOST_ROWS = 25

#: Size bands of the template for the public summary, per modality (governance facts §6.1): upper bounds and names.
IMAGE_BANDS = ((1_000_000, "less than 1 million images"), (1_000_000_000, "1 million to 1 billion images"))
TEXT_BAND = (1_000_000_000, "less than 1 billion tokens")


def stated(key: str) -> Callable[[Facts], Fact[Answer]]:
    """Return the answer that repeats what the provider states under `key`."""

    def answer(facts: Facts) -> Fact[Answer]:
        return facts.said(key).then(lambda text: text)

    return answer


def either(first: Fact[Answer], second: Fact[Answer]) -> Fact[Answer]:
    """Return `first` where it is known, else `second`; open with the place of `first` where neither is."""
    return first if first.value is not None or second.value is None else second


def name(facts: Facts) -> Fact[Answer]:
    """Say which dataset: name and content hash."""
    return facts.dataset.then(lambda d: f"{d.name}, content hash {d.content_hash} (SHA-256 of the manifest's content)")


def version(facts: Facts) -> Fact[str]:
    """Return the version MAJOR.MINOR.PATCH: the provider's, else the one that the run's own history gives."""
    told, d = facts.said("version"), facts.dataset.value
    if told.value is not None:
        return told
    return Fact(d.version, "manifest, retractions, waivers") if d else Fact(None, f"{told.source}, else the manifest")


def citation(facts: Facts) -> Fact[str]:
    """Return how to cite the dataset: the provider's wish, else what identifies it."""
    told, d = facts.said("citation"), facts.dataset.value
    if told.value is not None:
        return told
    if d is None:
        return Fact(None, f"{told.source}, else the manifest")
    day = d.created_at[:10]
    identity = f"manifest of {day}, content hash {d.content_hash}, made with Assay {d.assay}"
    return Fact(f"{d.name}, version {version(facts).value}, {identity}", facts.dataset.source)


def licence(facts: Facts) -> Fact[Answer]:
    """Say under which licence the compilation is, as the provider states it; the records keep their own."""
    return facts.said("licence").then(lambda text: f"{text} (of the compilation; each record has its own licence)")


def made(facts: Facts) -> Fact[Answer]:
    """Say when and with which program the manifest was written."""

    def words(d: Dataset) -> Answer:
        code = f", code {d.commit}" if d.commit else ""
        signed = "signed (Ed25519)" if d.signed else "not signed"
        parent = (f"It was derived from the version {d.parent}.",) if d.parent else ()
        return (f"Manifest written {when(d.created_at)} by Assay {d.assay}{code}; {signed}.", *parent)

    return facts.dataset.then(words)


def amount(facts: Facts) -> Fact[Answer]:
    """Say how many samples were read, kept and dropped."""
    return facts.counts.then(
        lambda c: (
            f"{number(c.kept)} pairs of a picture and a caption, out of {number(c.samples)} that were read; "
            f"{number(sum(c.dropped.values()))} were dropped, each with a recorded reason."
        )
    )


def dropped(facts: Facts) -> Fact[Answer]:
    """Count what was dropped by its first reason."""

    def table(c: Counts) -> Answer:
        rows = tuple((code, count, c.meanings.get(code, "")) for code, count in c.dropped.items())
        total = sum(c.dropped.values())
        note = f"{number(c.samples)} read = {number(c.kept)} kept + {number(total)} dropped."
        return Table(("reason", "samples", "meaning"), rows, note)

    return facts.counts.then(table)


def modalities(facts: Facts) -> Fact[Answer]:
    """Say how large the kept material is, by modality, with the template's size bands."""

    def table(m: Material) -> Answer:
        pictures = sum(m.formats.values())
        band = next((words for bound, words in IMAGE_BANDS if pictures < bound), "more than 1 billion images")
        # a token has at least one byte, so fewer bytes than the bound are fewer tokens
        text_band = TEXT_BAND[1] if m.caption_bytes < TEXT_BAND[0] else "not determined: tokens were not counted"
        words = f", {number(m.words)} words" if m.words is not None else ""
        rows = (
            ("image", f"{number(pictures)} pictures, {size(m.picture_bytes)}", band),
            ("text", f"{number(pictures)} captions, {size(m.caption_bytes)} of UTF-8{words}", text_band),
        )
        return Table(("modality", "size", "band of the template"), rows, "Audio, video and other: none in a shard.")

    return facts.material.then(table)


def sizes(facts: Facts) -> Fact[Answer]:
    """Say how large the kept material is, by modality."""
    return modalities(facts).then(
        lambda t: Table(t.headers[:2], tuple(row[:2] for row in t.rows), t.note) if isinstance(t, Table) else t
    )


def formats(facts: Facts) -> Fact[Answer]:
    """Count the pictures by file format, with the smallest and largest."""

    def table(m: Material) -> Answer:
        rows = tuple((name or "none", count) for name, count in m.formats.items())
        edges = ""
        if m.smallest and m.largest:
            edges = f"From {m.smallest[0]} × {m.smallest[1]} to {m.largest[0]} × {m.largest[1]} pixels."
        return Table(("format", "pictures"), rows, edges)

    return facts.material.then(table)


def languages(facts: Facts) -> Fact[Answer]:
    """Count the captions by detected language."""
    if facts.material.value is not None and facts.material.value.languages is None:
        return Fact(None, facts.material.source, "the scorer 'language' did not run")
    return facts.material.then(
        lambda m: _tally(
            m.languages or {},
            "language of the caption (ISO 639)",
            "not detected",
            "Detected by a program from short texts: many a single word is put down to a wrong language.",
        )
    )


def licences(facts: Facts) -> Fact[Answer]:
    """Count the kept records by licence, as the input states it."""
    note = "As each record states it; the program compares licences with the recipe's list and does not judge them."
    return facts.material.then(lambda m: _tally(m.licences, "licence", "no licence stated", note))


def creators(facts: Facts) -> Fact[Answer]:
    """Say how many creators the kept records name."""
    return facts.material.then(
        lambda m: (
            f"{number(m.creators)} names of creators as the records write them; {number(m.without_creator)} "
            "records name none. Each record's JSON carries its creator."
        )
    )


def _tally(counts: Mapping[str, int], header: str, none: str, note: str) -> Table:
    total = sum(counts.values())
    rows = [(value or none, count, share(count, total)) for value, count in list(counts.items())[:MOST_ROWS]]
    rest = total - sum(row[1] for row in rows)
    if rest:
        rows.append((f"{number(len(counts) - MOST_ROWS)} others", rest, share(rest, total)))
    return Table((header, "samples", "share"), tuple(rows), note)


def origin(facts: Facts) -> Fact[Answer]:
    """Say what the run read: kind of the input, its parts and records."""

    def words(s: Source) -> Answer:
        kinds = {
            "url": "a list of addresses, whose pictures this run downloaded",
            "webdataset": "WebDataset tar files",
            "folder": "a folder of picture files",
            "parquet": "parquet files that hold the pictures",
        }
        rows = sum(rows for _, rows, _ in s.shards)
        span = f", from {s.shards[0][0]} to {s.shards[-1][0]}" if len(s.shards) > 1 else ""
        return (
            f"The run read {kinds.get(s.kind, s.kind)}: {counted(len(s.shards), 'part')} with "
            f"{counted(rows, 'record')}{span}. The manifest names each with a digest of its content."
        )

    return facts.source.then(words)


def processing(facts: Facts) -> Fact[Answer]:
    """Say what was done to the samples: models, rules, duplicates, balance."""

    def words(p: Processing) -> Answer:
        models = ", ".join(f"{scorer} ({model})" for scorer, model in p.models.items())
        return (
            f"Scores were computed by: {models or 'no scorer'}.",
            *(f"Rule {rule}." for rule in p.rules),
            f"Duplicates: {p.duplicates}.",
            f"Balance: {p.balance}.",
            "Shards hold the original bytes of each picture and its caption as it came in, cut only where it was "
            "longer than the recipe allows. Dropped samples are in no shard.",
        )

    return facts.processing.then(words)


def shards(facts: Facts) -> Fact[Answer]:
    """List the files of the dataset with size and SHA-256."""

    def table(found: tuple[Shard, ...]) -> Answer:
        rows = tuple((s.name, s.rows, s.nbytes, s.sha256) for s in found[:MOST_ROWS])
        more = len(found) - len(rows)
        total = f"{number(len(found))} shards, {size(sum(s.nbytes for s in found))}."
        return Table(("file", "samples", "bytes", "SHA-256"), rows, total + (" More in the manifest." if more else ""))

    return facts.shards.then(table)


def missing_data(facts: Facts) -> Fact[Answer]:
    """Say what kept records lack."""

    def words(m: Material) -> Answer:
        total = sum(m.formats.values())
        return (
            f"Creator not stated: {number(m.without_creator)} of {number(total)} records.",
            f"Licence not stated: {number(m.licences.get('', 0))} of {number(total)} records.",
        )

    return facts.material.then(words)


def maintenance(facts: Facts) -> Fact[Answer]:
    """Say how the dataset is kept up: the provider's plan, and what the run records of it."""
    told, rights = facts.said("maintenance"), facts.rights
    if told.value is None or rights.value is None:
        return told.then(lambda text: text)
    return Fact((told.value, *sentences(retraction_words(rights.value))), f"{told.source}; {rights.source}")


def retraction_words(r: Rights) -> Answer:
    """Say which opt-outs were applied after the dataset was made."""
    if not r.retractions:
        return ("No opt-out has been applied to the finished dataset so far.",)
    return tuple(
        f"{when(t.at)}: {counted(t.requests, 'request')} applied; {counted(t.left, 'sample')} left the dataset"
        + (f", {number(t.came)} came in for them." if t.came else ".")
        for t in r.retractions
    )


def sentences(answer: Answer) -> tuple[str, ...]:
    """Return an answer that is no table as sentences."""
    return answer if isinstance(answer, tuple) else (str(answer),)
