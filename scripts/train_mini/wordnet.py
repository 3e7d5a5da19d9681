"""WordNet 3.0 as Debian's packages `wordnet-base` and `wordnet-sense-index` carry it, read without nltk."""

from __future__ import annotations

import gzip
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

_FILES = {"n": "data.noun", "v": "data.verb", "a": "data.adj", "r": "data.adv"}


@dataclass(frozen=True)
class Synset:
    """One set of synonyms. `lexfile` is the lexicographer's file (5 animals, 6 artifacts, 18 persons, ...)."""

    key: str
    lemmas: list[str]
    definition: str
    examples: list[str]
    lexfile: int
    hypernyms: list[str]


@dataclass
class WordNet:
    """All synsets by key (part of speech and offset, as in ImageNet's `n02084071`)."""

    folder: Path
    synsets: dict[str, Synset] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for part, name in _FILES.items():
            for line in (self.folder / name).read_text(encoding="utf-8").splitlines():
                if not line.startswith("  "):  # the licence stands at the top
                    synset = _parse(part, line)
                    self.synsets[synset.key] = synset

    @cached_property
    def counts(self) -> dict[tuple[str, int], int]:
        """How often the lemma of a lexicographer's file was met in the texts that WordNet's makers tagged."""
        counts: dict[tuple[str, int], int] = defaultdict(int)
        plain, packed = self.folder / "cntlist.rev", self.folder / "cntlist.rev.gz"
        text = plain.read_text() if plain.exists() else gzip.decompress(packed.read_bytes()).decode()
        for line in text.splitlines():
            sense, _, count = line.split()
            lemma, _, rest = sense.partition("%")
            counts[lemma.replace("_", " "), int(rest.split(":")[1])] += int(count)
        return counts

    def count(self, synset: Synset) -> int:
        """Return the count of the synset's first lemma in its lexicographer's file."""
        return self.counts.get((synset.lemmas[0].lower(), synset.lexfile), 0)

    @cached_property
    def _hyponyms(self) -> dict[str, list[str]]:
        below: dict[str, list[str]] = defaultdict(list)
        for synset in self.synsets.values():
            for above in synset.hypernyms:
                below[above].append(synset.key)
        return below

    def under(self, key: str) -> list[Synset]:
        """Return the synset `key` and everything below it, in the order of the keys."""
        found, waiting = set(), [key]
        while waiting:
            current = waiting.pop()
            if current not in found:
                found.add(current)
                waiting.extend(self._hyponyms[current])
        return [self.synsets[name] for name in sorted(found)]


def _parse(part: str, line: str) -> Synset:
    head, _, gloss = line.partition(" | ")
    fields = head.split()
    number = int(fields[3], 16)
    lemmas = [fields[4 + 2 * i].split("(")[0].replace("_", " ") for i in range(number)]
    start = 4 + 2 * number
    pointers = fields[start + 1 : start + 1 + 4 * int(fields[start])]
    hypernyms = [pointers[i + 2] + pointers[i + 1] for i in range(0, len(pointers), 4) if pointers[i] in ("@", "@i")]
    parts = [piece.strip() for piece in gloss.strip().split('; "')]
    examples = [piece.strip('"; ').split('"')[0] for piece in parts[1:]]
    return Synset(part + fields[0], lemmas, parts[0].strip('"; '), examples, int(fields[1]), hypernyms)
