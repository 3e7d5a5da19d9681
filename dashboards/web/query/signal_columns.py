"""The columns by which every page shows a rights signal, as SQL over parts of `signals`."""

from __future__ import annotations

#: What a signal says in one word; one that cannot be read counts as `unreadable` whatever its verdict.
WORD = "CASE WHEN unreadable THEN 'unreadable' ELSE verdict::VARCHAR END"

#: Channel, word, source, the statement as written, specification, and detail: six columns of text.
SIGNAL = f"channel::VARCHAR, {WORD}, source, raw, spec::VARCHAR, detail"
