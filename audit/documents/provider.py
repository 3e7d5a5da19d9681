"""What only the provider of a dataset or model can know; everything is optional and nothing has a default.

`pipelines.run.recipe_provider` reads it from the recipe; a test holds the two to the same keys.
"""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class YesNo:
    """A question that the provider answered: yes or no, and what there is to say about it."""

    answer: bool
    detail: str = ""

    def __str__(self) -> str:
        """Return the answer as a sentence."""
        return ("Yes. " if self.answer else "No. ") + self.detail if self.detail else "Yes." if self.answer else "No."


@dataclass(frozen=True)
class Named:
    """Something with a name and an address: a public dataset, a model."""

    name: str
    url: str = ""
    detail: str = ""

    def __str__(self) -> str:
        """Return the parts that there are, in one line."""
        return "; ".join(part for part in (self.name, self.url, self.detail) if part)


@dataclass(frozen=True)
class Provider:
    """The provider's own facts. None is not stated; dates are ISO 8601 days."""

    name: str | None = None
    address: str | None = None
    contact: str | None = None
    representative: str | None = None
    sme: bool | None = None
    models: tuple[Named, ...] | None = None
    base_models: tuple[Named, ...] | None = None
    placed_on_market: str | None = None
    first_used: str | None = None
    continuous_training: YesNo | None = None
    purpose: str | None = None
    how_it_serves: str | None = None
    use_cases: tuple[str, ...] | None = None
    unsuitable_uses: tuple[str, ...] | None = None
    limitations: tuple[str, ...] | None = None
    social_impact: str | None = None
    version: str | None = None
    published: str | None = None
    url: str | None = None
    download: str | None = None
    licence: str | None = None
    citation: str | None = None
    description: str | None = None
    funding: str | None = None
    maintenance: str | None = None
    owners: tuple[str, ...] | None = None
    content_types: str | None = None
    collection: str | None = None
    collected_from: str | None = None
    collected_to: str | None = None
    collection_ongoing: YesNo | None = None
    crawl_purpose: str | None = None
    public_datasets: tuple[Named, ...] | None = None
    licensed_data: YesNo | None = None
    third_party_data: YesNo | None = None
    crawled_data: YesNo | None = None
    user_data: YesNo | None = None
    synthetic_data: YesNo | None = None
    other_data: YesNo | None = None
    protected_by_ip: YesNo | None = None
    purchased_or_licensed: YesNo | None = None
    personal_information: YesNo | None = None
    consumer_information: YesNo | None = None
    consent: str | None = None
    code_of_practice: YesNo | None = None
    copyright_policy: str | None = None
    processing_purpose: str | None = None
    illegal_content: str | None = None
    other_processing: str | None = None


#: Every key that a provider may state.
KEYS = tuple(item.name for item in fields(Provider))
