"""A form: the questions that a law or a format asks, and where each answer comes from.

A format is a tuple of `Question`s, so that its text, its JSON, its list of what is missing and the page
`docs/documents.md` all come from one table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from audit.documents.facts import Fact, Facts
from audit.documents.text import block, clean, markdown


@dataclass(frozen=True)
class Table:
    """A table of an answer; `note` is a sentence below it."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str | int, ...], ...]
    note: str = ""


#: A sentence, several of them, or a table.
Answer = str | tuple[str, ...] | Table


@dataclass(frozen=True)
class Question:
    """One question: its number or key in the format, what it asks in our words, and how the facts answer it.

    `optional`: the format does not demand it, so it is not missing where nothing states it.
    """

    ident: str
    asks: str
    answer: Callable[[Facts], Fact[Answer]]
    optional: bool = False


@dataclass(frozen=True)
class Part:
    """A heading and the questions below it."""

    title: str
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class Missing:
    """A field that nothing states: its name in the format, where a value would come from, why there is none."""

    field: str
    where: str
    why: str = ""


@dataclass(frozen=True)
class Document:
    """One document: the file name it likes to have, its bytes, and what it had to leave open."""

    name: str
    data: bytes
    missing: tuple[Missing, ...]


def questions(parts: Iterable[Part]) -> tuple[Question, ...]:
    """Return all questions of a form, in order."""
    return tuple(question for part in parts for question in part.questions)


def missing(asked: Iterable[Question], facts: Facts) -> tuple[Missing, ...]:
    """Return the questions that the facts leave open, the optional ones not among them."""
    found = []
    for question in asked:
        fact = question.answer(facts)
        if fact.value is None and not question.optional:
            found.append(Missing(f"{question.ident} {question.asks}".strip(), fact.source, fact.why))
    return tuple(found)


def open_words(fact: Fact[Answer]) -> str:
    """Return the sentence that stands where an answer would."""
    if fact.why:
        return f"Not stated: {fact.why}."
    return f"Not stated. To be given in the {fact.source}."


def markdown_form(parts: Iterable[Part], facts: Facts) -> list[str]:
    """Return the lines of a form as Markdown; everything in it is escaped."""
    lines: list[str] = []
    for part in parts:
        lines += [f"## {markdown(part.title)}", ""]
        for question in part.questions:
            title = f"{question.ident} {question.asks}".strip()
            lines += [f"### {markdown(title)}", ""]
            fact = question.answer(facts)
            if fact.value is None:
                lines += [f"**{markdown(open_words(fact))}**", ""]
            else:
                lines += [*_markdown_answer(fact.value), f"*Source: {markdown(fact.source)}*", ""]
    return lines


def _markdown_answer(answer: Answer) -> list[str]:
    if isinstance(answer, str):
        return [block(answer), ""]
    if isinstance(answer, tuple):
        return [*(f"- {block(item)}" for item in answer), ""] if answer else ["None.", ""]
    lines = []
    if answer.rows:
        lines.append(_row(answer.headers))
        numbers = [isinstance(cell, int) for cell in answer.rows[0]]
        lines.append("| " + " | ".join("---:" if right else "---" for right in numbers) + " |")
        lines += [_row(row) for row in answer.rows] + [""]
    return [*lines, block(answer.note), ""] if answer.note else lines


def _row(cells: tuple[str | int, ...]) -> str:
    return "| " + " | ".join(f"{c:,}" if isinstance(c, int) else markdown(c, 300) for c in cells) + " |"


def json_form(parts: Iterable[Part], facts: Facts) -> list[dict[str, object]]:
    """Return a form as plain JSON values: of each question its answer, its source, and whether it is missing."""
    return [
        {"title": part.title, "questions": [_json_question(question, facts) for question in part.questions]}
        for part in parts
    ]


def _json_question(question: Question, facts: Facts) -> dict[str, object]:
    fact = question.answer(facts)
    found: dict[str, object] = {"id": question.ident, "question": question.asks, "source": fact.source}
    if fact.value is None:
        return {**found, "answer": None, "status": "missing", "note": open_words(fact)}
    return {**found, "answer": plain(fact.value), "status": "stated"}


def plain(answer: Answer) -> object:
    """Return an answer as JSON values; a table as a list of objects."""
    if isinstance(answer, str):
        return clean(answer, 4000)
    if isinstance(answer, tuple):
        return [clean(item, 4000) for item in answer]
    rows = [
        {name: cell if isinstance(cell, int) else clean(cell) for name, cell in zip(answer.headers, row, strict=True)}
        for row in answer.rows
    ]
    return {"rows": rows, "note": clean(answer.note, 4000)} if answer.note else {"rows": rows}


def words(fact: Fact[Answer]) -> list[str]:
    """Return an answer as sentences, for formats that know no tables; what stands for it where it is open."""
    if fact.value is None:
        return [open_words(fact)]
    if isinstance(fact.value, str):
        return [clean(fact.value, 4000)]
    if isinstance(fact.value, tuple):
        return [clean(item, 4000) for item in fact.value]
    rows = [", ".join(f"{n}: {c}" for n, c in zip(fact.value.headers, row, strict=True)) for row in fact.value.rows]
    return [clean(row, 4000) for row in (*rows, fact.value.note) if row]


def line(fact: Fact[Answer]) -> str:
    """Return an answer as one text."""
    return " ".join(words(fact))
