"""Text from elsewhere made safe for a document: one line, no control character, escaped for Markdown or JSON.

Captions, domain names and creators are hostile. Everything that a document prints goes through here, our own words
too, so that no place can forget it.
"""

from __future__ import annotations

import json
import re
import unicodedata

#: Characters of one value that a document shows.
LONGEST = 600

#: Characters with a meaning anywhere in a Markdown line. `<`, `>` and `&` become entities.
_SPECIAL = re.compile(r"([\\`*_\[\]|~$#!])")
#: What would make a line a heading, list or quote.
_START = re.compile(r"^(\s*)([-+](?=[\s-]|$)|=|\d{1,9}[.)](?=\s|$))")
#: Categories: control, format (bidirectional overrides are among them), surrogate, private use, line separators.
_DROPPED = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def clean(value: object, limit: int = LONGEST) -> str:
    """Return `value` as one line of at most `limit` characters, without control characters."""
    text = str(value)[: 4 * limit]
    kept = "".join(" " if unicodedata.category(c) in _DROPPED else c for c in text)
    line = " ".join(kept.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def markdown(value: object, limit: int = 4 * LONGEST) -> str:
    """Return `value` as Markdown that shows it as it is, and means nothing else."""
    line = clean(value, limit).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", line)


def block(value: object, limit: int = 4 * LONGEST) -> str:
    """Return `value` as Markdown that may stand at the begin of a line: no list, no heading, no quote."""
    return _START.sub(lambda found: f"{found[1]}{found[2][:-1]}\\{found[2][-1]}", markdown(value, limit))


def json_bytes(value: object) -> bytes:
    """Return pretty JSON with a final newline: ASCII, so that it may stand in an HTML page, and without `<`."""
    text = json.dumps(value, indent=1, ensure_ascii=True, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode("ascii") + b"\n"


def number(value: int) -> str:
    """Return a count with thousands separated by commas."""
    return f"{value:,}"


def counted(value: int, thing: str) -> str:
    """Return a count with its noun: `1 entry`, `2 entries`."""
    if value == 1:
        return f"1 {thing}"
    return f"{value:,} {thing[:-1] + 'ies' if thing.endswith('y') else thing + 's'}"


def share(part: int, whole: int) -> str:
    """Return a share as per cent with one digit; never 0 % of something, never 100 % of less than all."""
    if not whole:
        return "–"
    rounded = f"{100 * part / whole:.1f} %"
    if part and rounded == "0.0 %":
        return "under 0.1 %"
    return "over 99.9 %" if part < whole and rounded == "100.0 %" else rounded


def when(stamp: str) -> str:
    """Return an ISO 8601 time in UTC for people; as it is where it is none."""
    found = re.match(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?(?:\+00:00|Z)\Z", stamp, re.ASCII)
    return f"{found[1]} {found[2]} UTC" if found else stamp


def size(nbytes: int) -> str:
    """Return bytes for people, in powers of 1000, with the exact number."""
    for unit, step in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if nbytes >= step:
            return f"{nbytes / step:.1f} {unit} ({nbytes:,} bytes)"
    return f"{nbytes:,} bytes"
