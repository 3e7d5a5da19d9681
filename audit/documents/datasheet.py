"""A datasheet: what a user of the dataset should know, after the seven themes of Gebru et al., in our own words.

Themes: Datasheets for Datasets (Communications of the ACM 64(12), 2021). The questions are our own.
"""

from __future__ import annotations

from audit.documents import answers as a
from audit.documents import answers_rights as r
from audit.documents.facts import Facts
from audit.documents.form import Document, Part, Question, missing, questions
from audit.documents.page import page

PARTS = (
    Part(
        "1 Motivation",
        (
            Question("1.1", "What is the dataset for?", a.stated("purpose")),
            Question("1.2", "Who made it?", a.stated("name")),
            Question("1.3", "Who paid for it?", a.stated("funding")),
        ),
    ),
    Part(
        "2 Composition",
        (
            Question("2.1", "What is one sample, and how many are there?", a.amount),
            Question("2.2", "How large is it?", a.sizes),
            Question("2.3", "What do the pictures show?", a.stated("content_types")),
            Question("2.4", "File formats", a.formats),
            Question("2.5", "Languages of the captions", a.languages),
            Question("2.6", "Who made the pictures?", a.creators),
            Question("2.7", "Under which licences?", a.licences),
            Question("2.8", "What do records lack?", a.missing_data),
            Question("2.9", "Where do the pictures come from?", r.domains),
            Question("2.10", "Does it tell anything about people?", a.stated("personal_information")),
            Question("2.11", "Who is in it, whom did the filters remove? (bias audit)", r.biases),
            Question("2.12", "Which gates were set, and did they pass?", r.gates),
        ),
    ),
    Part(
        "3 Collection",
        (
            Question("3.1", "How was the material got?", a.stated("collection")),
            Question("3.2", "What did the run read?", a.origin),
            Question("3.3", "Crawler", r.crawler),
            Question("3.4", "When was it collected?", r.collected),
            Question("3.5", "Did the people concerned know and agree?", a.stated("consent")),
            Question("3.6", "How were opt-outs looked for?", r.measures),
            Question("3.7", "Which rights statements were found?", r.channels),
            Question("3.8", "What did the opt-out registry match?", r.matches),
        ),
    ),
    Part(
        "4 Cleaning and selection",
        (
            Question("4.1", "What was done to the samples?", a.processing),
            Question("4.2", "What was dropped, and why?", a.dropped),
            Question("4.3", "How was illegal material kept out?", r.harmful),
        ),
    ),
    Part(
        "5 Uses",
        (
            Question("5.1", "What can it be used for?", a.stated("use_cases")),
            Question("5.2", "What should it not be used for?", a.stated("unsuitable_uses")),
            Question("5.3", "What are its limits?", a.stated("limitations")),
            Question("5.4", "What may its use do to people?", a.stated("social_impact")),
        ),
    ),
    Part(
        "6 Distribution",
        (
            Question("6.1", "Where is it to be had?", a.stated("url")),
            Question("6.2", "Under which licence is it given away?", a.licence),
            Question("6.3", "Which files is it made of?", a.shards),
            Question("6.4", "Which version is this, and how is it checked?", a.made),
        ),
    ),
    Part(
        "7 Maintenance",
        (
            Question("7.1", "Who answers questions?", a.stated("contact")),
            Question("7.2", "How is it kept up?", a.maintenance),
            Question("7.3", "Which opt-outs were applied after it was made?", r.retractions),
        ),
    ),
)


def document(facts: Facts) -> Document:
    """Return the datasheet as Markdown."""
    about = "What a user of this dataset should know. Each answer names its source."
    return Document("datasheet.md", page("Datasheet", about, PARTS, facts), missing(questions(PARTS), facts))
