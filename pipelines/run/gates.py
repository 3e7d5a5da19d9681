"""Gates in the manifest: what the audit found, and who has waived what, why and when.

A waiver is for one result of one gate. It stays with later versions of the dataset while the gate asks the same, its
state is the same, and its figure, to the three digits that were shown, is no worse than the one that was waived.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filters.errors import BadInput

#: Digits of figures in the manifest's content, so that the last bits in which processors differ do not reach its hash.
_DIGITS = 6
#: Digits that a person is shown, and that a waiver is about.
_SHOWN = 3
_FIGURES = ("value", "low", "high", "minimum", "maximum")


def gate_entries(facts: list[dict[str, Any]], before: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    """Return the manifest's entries for the audit's gates; `before` are those of the version that this one follows."""
    old = {entry["name"]: entry for entry in before or []}
    return [_entry(fact, old.get(fact["judged"]["name"])) for fact in facts]


def _entry(fact: dict[str, Any], old: dict[str, Any] | None) -> dict[str, Any]:
    judged = dict(fact["judged"])
    for name in _FIGURES:
        judged[name] = _digits(judged[name], _DIGITS)
    entry = {**judged, "passed": judged["state"] == "pass", "asked": fact["asked"], "waiver": None, "lapsed": None}
    waiver = None if old is None else old.get("waiver")
    if old is not None and waiver is not None and not entry["passed"]:
        reason = changed(old, entry)
        if reason is None:
            return {**entry, "waiver": waiver}
        return {**entry, "lapsed": {**waiver, "lapsed": reason}}
    return entry


def changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """Return why a waiver of `old` does not hold for `new`, None where it does."""
    if old["asked"] != new["asked"]:
        return "the gate asks something else"
    if old["state"] != new["state"]:
        return f"the gate was: {old['state']}, and is: {new['state']}"
    if new["value"] is None:
        return None
    if old["who"] != new["who"]:
        return f"the figure that decides is of {new['who']}, and was of {old['who']}"
    before, now = _digits(old["value"], _SHOWN), _digits(new["value"], _SHOWN)
    assert before is not None
    assert now is not None
    low, high = new["minimum"], new["maximum"]
    if (low is not None and now < low and now < before) or (high is not None and now > high and now > before):
        return f"the figure was {before:g} and is {now:g}"
    return None


def _digits(value: float | None, digits: int) -> float | None:
    return None if value is None else float(f"{value:.{digits}g}")


def waived(entries: list[dict[str, Any]], gate: str, waiver: dict[str, str]) -> list[dict[str, Any]]:
    """Return the entries with a waiver for one gate. Raises `BadInput` where there is nothing to waive."""
    names = [entry["name"] for entry in entries]
    if gate not in names:
        there = f"there is {', '.join(names)}" if names else "the recipe has no gates"
        raise BadInput(f"no gate {gate!r}: {there}")
    found = entries[names.index(gate)]
    if found["passed"]:
        raise BadInput(f"gate {gate!r} passes: there is nothing to waive")
    if found["waiver"] is not None:
        raise BadInput(f"gate {gate!r} is waived already, by {found['waiver']['by']}: {found['waiver']['why']}")
    return [{**entry, "waiver": waiver, "lapsed": None} if entry["name"] == gate else entry for entry in entries]


def standing(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the gates of a manifest's content that block: they did not pass and nobody has waived them.

    A gate that the recipe declares and that nothing measured blocks too.
    """
    entries: list[dict[str, Any]] = list(content.get("gates") or [])
    named = {entry["name"] for entry in entries}
    lost = [
        {"name": name, "passed": False, "waiver": None, "words": "declared, and never measured: run assay audit"}
        for name in content["recipe"].get("gates") or {}
        if name not in named
    ]
    return [entry for entry in [*entries, *lost] if not entry["passed"] and not entry.get("waiver")]
