"""The public summary of training content that Article 53(1)(d) of the EU AI Act asks of providers of models.

The sections are those of the Commission's template (C(2025) 8311 of 5 December 2025), its questions in our own
words. The template speaks of a model; the run knows one dataset, so what concerns other training data of the model
is the provider's to state.
"""

from __future__ import annotations

from audit.documents import answers as a
from audit.documents import answers_rights as r
from audit.documents.facts import Facts
from audit.documents.form import Document, Part, Question, json_form, missing, questions
from audit.documents.page import page
from audit.documents.text import clean, json_bytes

PARTS = (
    Part(
        "1.1 Provider",
        (
            Question("1.1.1", "Provider: name", a.stated("name")),
            Question("1.1.2", "Provider: address", a.stated("address")),
            Question("1.1.3", "Provider: contact", a.stated("contact")),
            Question("1.1.4", "Authorised representative in the Union", a.stated("representative")),
        ),
    ),
    Part(
        "1.2 Model",
        (
            Question("1.2.1", "Names and versions of the models that this summary is for", a.stated("models")),
            Question("1.2.2", "Models that they were made from", a.stated("base_models")),
            Question("1.2.3", "Day on which they were placed on the Union market", a.stated("placed_on_market")),
        ),
    ),
    Part(
        "1.3 Modalities, size and other characteristics of the training data",
        (
            Question("1.3.1", "Modalities and size", a.modalities),
            Question("1.3.2", "Types of content", a.stated("content_types")),
            Question("1.3.3", "Last day on which data were acquired", r.latest),
            Question("1.3.4", "Is the model trained further on new data?", a.stated("continuous_training")),
            Question("1.3.5", "Languages of the captions", a.languages),
            Question("1.3.6", "File formats and sizes", a.formats),
            Question("1.3.7", "Other characteristics: which dataset this is", a.name),
        ),
    ),
    Part(
        "2.1 Publicly available datasets",
        (
            Question("2.1.1", "Public datasets that were used", a.stated("public_datasets")),
            Question("2.1.2", "What this run read", a.origin),
        ),
    ),
    Part(
        "2.2 Private datasets of third parties",
        (
            Question("2.2.1", "Data licensed by rightsholders or their representatives", a.stated("licensed_data")),
            Question("2.2.2", "Private data obtained from other third parties", a.stated("third_party_data")),
        ),
    ),
    Part(
        "2.3 Data crawled and scraped from online sources",
        (
            Question("2.3.1", "Were crawlers used by the provider or on its behalf?", r.crawled),
            Question("2.3.2", "Crawler: name, operator, behaviour", r.crawler),
            Question("2.3.3", "Purpose of the crawl", r.crawl_purpose),
            Question("2.3.4", "Period of collection", r.collected),
            Question("2.3.5", "What came of the addresses", r.crawl_results),
            Question("2.3.6", "Largest domains by size of content", r.domains),
        ),
    ),
    Part("2.4 User data", (Question("2.4.1", "Data from users of the provider's services", a.stated("user_data")),)),
    Part(
        "2.5 Synthetic data",
        (Question("2.5.1", "Data made by AI models for the training; the models", a.stated("synthetic_data")),),
    ),
    Part("2.6 Other sources", (Question("2.6.1", "Data from any other source", a.stated("other_data")),)),
    Part(
        "3.1 Respect of reservations of rights",
        (
            Question("3.1.1", "Signatory of the Code of Practice?", a.stated("code_of_practice")),
            Question("3.1.2", "Copyright policy", a.stated("copyright_policy")),
            Question("3.1.3", "Measures in this run", r.measures),
            Question("3.1.4", "Rights statements found, by channel", r.channels),
            Question("3.1.5", "Requests in the opt-out registry that matched", r.matches),
            Question("3.1.6", "Opt-outs applied after the dataset was made", r.retractions),
            Question("3.1.7", "Licences of the records", a.licences),
        ),
    ),
    Part("3.2 Removal of illegal content", (Question("3.2.1", "Measures", r.harmful),)),
    Part(
        "3.3 Other information (voluntary)",
        (
            Question("3.3.1", "Processing of this run", a.processing),
            Question("3.3.2", "What was dropped, and why", a.dropped),
            Question("3.3.3", "Bias audit", r.biases),
            Question("3.3.4", "Gates", r.gates, optional=True),
            Question("3.3.5", "Further remarks of the provider", a.stated("other_processing"), optional=True),
        ),
    ),
)

_TITLE = "Public summary of training content"
_ABOUT = (
    "After the template for Article 53(1)(d) of Regulation (EU) 2024/1689. It covers one dataset; other data that a "
    "model was trained on is not known to this program. Each answer names its source."
)


def markdown_document(facts: Facts) -> Document:
    """Return the summary as Markdown."""
    return Document("eu-summary.md", page(_TITLE, _ABOUT, PARTS, facts), missing(questions(PARTS), facts))


def json_document(facts: Facts) -> Document:
    """Return the summary as JSON."""
    body = {
        "title": _TITLE,
        "about": _ABOUT,
        "dataset": clean(facts.dataset.value.content_hash) if facts.dataset.value else None,
        "attention": [clean(text, 2000) for text in r.alarms(facts)],
        "parts": json_form(PARTS, facts),
    }
    return Document("eu-summary.json", json_bytes(body), missing(questions(PARTS), facts))
