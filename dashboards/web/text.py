"""Hostile text for people: what cannot be seen is shown, what turns the text around it is named."""

from __future__ import annotations

import unicodedata

_DIRECTION = {0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def reveal(text: str, limit: int = 20_000) -> str:
    """Return `text` cut to `limit` characters, with control and direction characters written as `⟨U+202E⟩`.

    Line ends and tabs stay; joiners inside emoji and scripts that need them stay too.
    """
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(_shown(character) for character in cut)


def _shown(character: str) -> str:
    if character in "\n\t\u200c\u200d":
        return character
    if ord(character) in _DIRECTION or unicodedata.category(character) in _UNSEEN:
        return f"⟨U+{ord(character):04X}⟩"
    return character
