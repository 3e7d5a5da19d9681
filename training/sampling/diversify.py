"""Prompt diversification: who is asked for without an attribute gets one, drawn by seed from stated shares.

A prompt that states the attribute is never changed in it; one that names somebody, a place or a year is not changed at
all, for there the people are known. The changed prompt is what the model reads; both go on record.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from audit.groups.lexicon import Lexicon, Term
from audit.groups.matcher import Matcher
from training.hallmark.claim import prompt_digest
from training.sampling.axes_file import Axes, Axis, load_axes
from training.sampling.people import Left, PeopleFinder
from training.sampling.plan import Slot

#: Where the changes of a folder of pictures are written down, one JSON object a line.
LOG = "diversified.jsonl"


@dataclass(frozen=True)
class Change:
    """A prompt as the model reads it. `drawn`: axis and value; `left`: why nothing, or not all, was drawn."""

    text: str
    drawn: tuple[tuple[str, str], ...] = ()
    left: Mapping[str, Left] = field(default_factory=dict)


class Diversifier:
    """Changes prompts along the axes of one file. Made by `diversifier_of`."""

    def __init__(self, axes: Axes) -> None:
        """Compile the file's words. Raises `BadInput` where a lexicon is not to be had."""
        self.axes = axes
        people = axes.people
        self._people = PeopleFinder(people.loaded("english"), people.words, axes.openers)
        self._stated = {name: _matcher(name, axis) for name, axis in axes.axes.items()}

    @property
    def name(self) -> str:
        """Return the file's name and the beginning of its digest."""
        return f"{self.axes.name}@{self.axes.digest[:16]}"

    def states(self, prompt: str, axis: str) -> bool:
        """Tell whether a prompt states an attribute."""
        return bool(self._stated[axis].match(prompt))

    def change(self, prompt: str, seed: int) -> Change:
        """Return the prompt with a value of each axis that it does not state; the same for the same seed."""
        place = self._people.find(prompt)
        if isinstance(place, Left):
            return Change(prompt, left=dict.fromkeys(self.axes.axes, place))
        before, after, drawn = [], [], []
        left: dict[str, Left] = {}
        for name, axis in self.axes.axes.items():
            if self.states(prompt, name):
                left[name] = Left.STATED
                continue
            value = draw({value: one.share for value, one in axis.values.items()}, seed, name, prompt)
            drawn.append((name, value))
            before.append(axis.values[value].before.strip())
            after.append(axis.values[value].after.strip())
        text = _put(
            prompt, place.start, place.end, [word for word in before if word], [word for word in after if word]
        )
        return Change(text, tuple(drawn), left)

    def slot(self, slot: Slot) -> Slot:
        """Return a picture's slot with its changed prompt; every seed has its own draw."""
        change = self.change(slot.text, slot.seed)
        if not change.drawn:
            return slot
        return replace(slot, text=change.text, asked=slot.text, drawn=change.drawn)


def diversifier_of(named: str) -> Diversifier:
    """Return the diversifier of a shipped file's name or a path. Raises `BadInput`."""
    return Diversifier(load_axes(named))


def draw(shares: Mapping[str, float], seed: int, axis: str, prompt: str) -> str:
    """Return a value by its share: a hash of seed, axis and prompt decides, so that nothing else does."""
    text = json.dumps([seed, axis, prompt])
    point = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64 * sum(shares.values())
    for value, share in shares.items():
        point -= share
        if point < 0:
            return value
    return next(value for value, share in reversed(list(shares.items())) if share > 0)  # rounding


def parameters(diversifier: Diversifier | None, slot: Slot) -> dict[str, str]:
    """Return what a credential says of the change: the axes, what was drawn, a salted digest of the prompt asked for.

    The credential's own prompt is the changed one.
    """
    if diversifier is None:
        return {}
    found = {"diversify": diversifier.name, "diversified": _listed(slot.drawn)}
    if slot.drawn:
        salt = secrets.token_hex(16)
        found |= {"asked_prompt_salt": salt, "asked_prompt_sha256": prompt_digest(slot.asked, salt)}
    return found


def log(folder: Path, name: str, slot: Slot, recorded: Mapping[str, str | int | float]) -> None:
    """Append what happened to a written picture's prompt, on the disk before the next one. Only under the lock.

    Prompts stand there as salted digests, as in credentials; `recorded`: what `parameters` gave its credential.
    """
    if not slot.drawn:
        return
    salt = secrets.token_hex(16)
    body = {
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "file": name,
        "seed": slot.seed,
        "axes": recorded["diversify"],
        "drawn": dict(slot.drawn),
        "asked": {"alg": "sha256", "salt": recorded["asked_prompt_salt"], "hash": recorded["asked_prompt_sha256"]},
        "changed": {"alg": "sha256", "salt": salt, "hash": prompt_digest(slot.text, salt)},
    }
    with (folder / LOG).open("ab") as stream:
        stream.write(json.dumps(body, sort_keys=True).encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def counts(slots: Sequence[Slot]) -> dict[str, Any]:
    """Return how many pictures' prompts were changed, and the draws by axis and value."""
    by_axis: dict[str, Counter[str]] = {}
    for slot in slots:
        for axis, value in slot.drawn:
            by_axis.setdefault(axis, Counter())[value] += 1
    changed = sum(bool(slot.drawn) for slot in slots)
    return {"pictures": len(slots), "changed": changed, "drawn": {axis: dict(n) for axis, n in by_axis.items()}}


def _listed(drawn: Sequence[tuple[str, str]]) -> str:
    return ",".join(f"{axis}={value}" for axis, value in drawn) or "nothing"


def _matcher(name: str, axis: Axis) -> Matcher:
    own = Lexicon(name, 1, "", "en", "", {"words": tuple(Term(word, True, False) for word in axis.words)})
    return Matcher([(lexicon.name, lexicon) for lexicon in axis.loaded("all")] + [("own words", own)])


def _put(prompt: str, start: int, end: int, before: Sequence[str], after: Sequence[str]) -> str:
    """Put words before and behind a place of a prompt; an article right before them follows the new word's sound."""
    head, person, tail = prompt[:start], prompt[start:end], prompt[end:]
    if before:
        words = head.rstrip().rpartition(" ")
        if words[2].casefold() in ("a", "an"):
            article = "an" if before[0][0].casefold() in "aeiou" else "a"
            kept = article.capitalize() if words[2][0].isupper() else article
            head = f"{words[0]}{words[1]}{kept} "
        if person[0].isupper() and not head:
            person = person[0].lower() + person[1:]
            before = [before[0][0].upper() + before[0][1:], *before[1:]]
    return head + " ".join([*before, person, *after]) + tail
