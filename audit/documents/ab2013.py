"""The documentation on training data that California's AB 2013 asks for (Civil Code 3111): its twelve items."""

from __future__ import annotations

from audit.documents import answers as a
from audit.documents import answers_rights as r
from audit.documents.facts import Fact, Facts
from audit.documents.form import Answer, Document, Part, Question, missing, questions
from audit.documents.page import page


def _types(facts: Facts) -> Fact[Answer]:
    kinds = facts.said("content_types")
    return facts.material.then(
        lambda m: (
            "One data point is a picture with its caption in natural language, and its record (address, creator, "
            "licence, size, scores) as JSON.",
            "File formats of the pictures: " + ", ".join(f"{n or 'none'} ({c:,})" for n, c in m.formats.items()) + ".",
            "Nobody labelled the pictures; the scores are the output of programs.",
            *((f"Content, as the provider states: {kinds.value}",) if kinds.value else ()),
        )
    )


PARTS = (
    Part(
        "Sources and purpose",
        (
            Question("(1)", "Sources or owners of the dataset", a.stated("owners")),
            Question("(1a)", "What this run read", a.origin),
            Question("(2)", "How the dataset furthers the intended purpose", a.stated("how_it_serves")),
        ),
    ),
    Part(
        "Data points",
        (
            Question("(3)", "Number of data points", a.amount),
            Question("(4)", "Types of data points", _types),
        ),
    ),
    Part(
        "Rights and persons",
        (
            Question(
                "(5)",
                "Is data protected by copyright, trademark or patent, or all public domain?",
                a.stated("protected_by_ip"),
            ),
            Question("(5a)", "Licences of the records", a.licences),
            Question("(6)", "Was the dataset purchased or licensed?", a.stated("purchased_or_licensed")),
            Question("(7)", "Personal information (Civil Code 1798.140(v))", a.stated("personal_information")),
            Question(
                "(8)", "Aggregate consumer information (Civil Code 1798.140(b))", a.stated("consumer_information")
            ),
        ),
    ),
    Part(
        "Processing",
        (
            Question("(9)", "Cleaning, processing and other modification", a.processing),
            Question("(9)", "What the processing was for", a.stated("processing_purpose")),
            Question("(9a)", "What was dropped, and why", a.dropped),
            Question("(9b)", "Opt-outs: measures", r.measures),
        ),
    ),
    Part(
        "Time",
        (
            Question("(10)", "Period of collection, and whether it goes on", r.collected),
            Question("(11)", "Day on which the dataset was first used in development", a.stated("first_used")),
        ),
    ),
    Part("Synthetic data", (Question("(12)", "Is synthetic data used, and what for?", a.stated("synthetic_data")),)),
    Part("Further", (Question("(A)", "Bias audit", r.biases), Question("(B)", "Gates", r.gates, optional=True))),
)


def document(facts: Facts) -> Document:
    """Return the documentation as Markdown."""
    about = (
        "High-level summary of one dataset after California Civil Code 3111 (AB 2013). The numbers in brackets are "
        "those of the statute's list in subdivision (a); letters after them are additions. Each answer names its "
        "source."
    )
    return Document("ab2013.md", page("Training data", about, PARTS, facts), missing(questions(PARTS), facts))
