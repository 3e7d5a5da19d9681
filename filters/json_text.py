"""Reads JSON of strangers alike everywhere: how deep Python itself goes depends on its version and on its caller."""

from __future__ import annotations

import json
import re
from typing import Any

#: Deepest nesting of arrays and objects that is read (ours; metadata of real corpora nests a few levels).
DEEPEST = 200

_MARKS = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)


def read_json(data: str | bytes) -> Any:
    """Return what a JSON text holds. Raises `ValueError` for what is no JSON, or nested deeper than `DEEPEST`."""
    text = data if isinstance(data, str) else data.decode(json.detect_encoding(data), "surrogatepass")
    if text.count("[") + text.count("{") > DEEPEST and _depth(text) > DEEPEST:
        raise ValueError(f"nested deeper than {DEEPEST}")
    return json.loads(text)


def _depth(text: str) -> int:
    """Return how deep brackets nest, those in strings left out."""
    deepest = depth = 0
    for mark in _MARKS.finditer(text):
        if mark[0] in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif mark[0] in "]}":
            depth -= 1
    return deepest
