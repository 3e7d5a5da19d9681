"""Which word sequences of a prompt may be a creator's name: candidates for a look-up in the opt-out registry."""

from __future__ import annotations

import re

from filters.optout.names import MAX_WORDS, foldings

#: Most words of a prompt that are looked at; prompts on record hold at most 10,000 characters anyway.
MOST_WORDS = 2000

_WORD = re.compile(r"[^\W_]+")
_TURNED = re.compile(r"([^\W_]+),\s*([^\W_]+)")


def name_phrases(prompt: str) -> list[str]:
    """Return `by NAME` for every two to six words in a row, and for two words with a comma, turned round.

    Captions name a creator behind words like `by`; prompts often name one without them ("castle, Jane Doe, oil").
    Single words are left to the finder of captions: most that are also somebody's name are not meant as one.
    """
    return [f"by {run}." for run in dict.fromkeys(run for folded in foldings(prompt) for run in _runs(folded))]


def _runs(folded: str) -> list[str]:
    words = _WORD.findall(folded)[:MOST_WORDS]
    runs = [
        " ".join(words[start : start + length])
        for start in range(len(words))
        for length in range(2, min(MAX_WORDS, len(words) - start) + 1)
    ]
    return [*runs, *(f"{first} {last}" for last, first in _TURNED.findall(folded))]
