"""A whole Markdown page: title, what speaks against the dataset, the form, and what is missing."""

from __future__ import annotations

from audit.documents import answers_rights as r
from audit.documents.answers import citation
from audit.documents.facts import Facts
from audit.documents.form import Part, markdown_form, missing, questions
from audit.documents.text import block, markdown


def page(title: str, about: str, parts: tuple[Part, ...], facts: Facts) -> bytes:
    """Return a document as Markdown. What a reader must know first stands first."""
    name = facts.dataset.value.name if facts.dataset.value else "unnamed dataset"
    lines = [f"# {markdown(f'{title}: {name}')}", "", block(about), ""]
    for alarm in r.alarms(facts):
        lines += [f"> **ATTENTION.** {markdown(alarm)}", ""]
    known = citation(facts).value
    if known:
        lines += [f"Dataset: {markdown(known)}.", ""]
    lines += _open(parts, facts)
    lines += markdown_form(parts, facts)
    return ("\n".join(lines).rstrip() + "\n").encode()


def _open(parts: tuple[Part, ...], facts: Facts) -> list[str]:
    """Return what the page leaves open, before the answers, so that nobody takes silence for an answer."""
    left = missing(questions(parts), facts)
    if not left:
        return ["No question is left open.", ""]
    listed = "; ".join(item.field.split(" ")[0] for item in left)
    return [f"**{len(left)} of {len(questions(parts))} questions are left open**: {markdown(listed)}.", ""]
