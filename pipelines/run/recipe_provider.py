"""The recipe's `provider` section: what only the provider of a dataset or model can know.

`assay export` puts it into documents as it stands. Everything is optional; what is absent is marked as not stated and
never guessed. The section is no part of the content hash: it says nothing of what the dataset is, and much of it (the
day on which a model is placed on the market) is known only after the run. So it can also be given to `assay export`
in a file of its own (`--provider`), for a run that is finished.
"""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from audit.documents import provider as facts
from audit.documents.licences import web_address
from filters.errors import BadInput
from filters.iso_time import read_day
from pipelines.run.checked_yaml import mapping

_VERSION = re.compile(r"(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\Z", re.ASCII)


def _written(value: object) -> object:
    """YAML reads an unquoted day as a date."""
    return value.isoformat() if isinstance(value, date) else value


def _day(text: str) -> str:
    try:
        return read_day(text).isoformat()
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no day; write YYYY-MM-DD") from None


def _address(text: str) -> str:
    if not web_address(text):
        raise ValueError(f"{text[:80]!r} is no http(s) address")
    return text


def _semantic(text: str) -> str:
    if not _VERSION.match(text):
        raise ValueError(f"{text[:40]!r} is no version; write MAJOR.MINOR.PATCH, for example 1.0.0")
    return text


Text = Annotated[str, Field(min_length=1, max_length=4000)]
Texts = Annotated[tuple[Text, ...], Field(max_length=100)]
Address = Annotated[Text, AfterValidator(_address)]
Day = Annotated[Text, BeforeValidator(_written), AfterValidator(_day)]
Version = Annotated[Text, AfterValidator(_semantic)]


class YesNo(BaseModel):
    """An answer: yes or no, and what there is to say about it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    answer: bool
    detail: str = Field("", max_length=4000)


class Named(BaseModel):
    """Something with a name and, where there is one, an address."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Text
    url: str = Field("", max_length=400)
    detail: str = Field("", max_length=4000)


Listed = Annotated[tuple[Named, ...], Field(max_length=100)]


class Provider(BaseModel):
    """Facts for the documents of `assay export`; nothing here changes the dataset or its content hash."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Text | None = Field(None, description="who provides the dataset or model")
    address: Text | None = Field(None, description="postal address")
    contact: Text | None = Field(None, description="mail or web address for questions and complaints")
    representative: Text | None = Field(None, description="authorised representative in the Union, with contact")
    sme: bool | None = Field(None, description="a small or medium enterprise (fewer domains must be listed)")
    models: Listed | None = Field(None, description="models trained on it, with versions: `name`, `url`, `detail`")
    base_models: Listed | None = Field(None, description="models that these were made from; an empty list for none")
    placed_on_market: Day | None = Field(None, description="day on which the model was placed on the Union market")
    first_used: Day | None = Field(None, description="day on which the dataset was first used in development")
    continuous_training: YesNo | None = Field(None, description="is the model trained further on new data?")
    purpose: Text | None = Field(None, description="what the dataset was made for")
    how_it_serves: Text | None = Field(None, description="how the dataset furthers the model's intended purpose")
    use_cases: Texts | None = Field(None, description="what it can be used for")
    unsuitable_uses: Texts | None = Field(None, description="what it should not be used for")
    limitations: Texts | None = Field(None, description="its limits")
    social_impact: Text | None = Field(None, description="what its use may do to people")
    version: Version | None = Field(None, description="version MAJOR.MINOR.PATCH; derived where absent")
    published: Day | None = Field(None, description="day of publication")
    url: Address | None = Field(None, description="page of the dataset")
    download: Address | None = Field(None, description="address below which the run's folder is published")
    licence: Text | None = Field(None, description="licence of the compilation; SPDX identifier or address")
    citation: Text | None = Field(None, description="how to cite it; derived where absent")
    description: Text | None = Field(None, description="what it is, in a few sentences")
    funding: Text | None = Field(None, description="who paid for it")
    maintenance: Text | None = Field(None, description="who keeps it up, and how often opt-outs are applied")
    owners: Texts | None = Field(None, description="sources or owners of the input data")
    content_types: Text | None = Field(None, description="types of content: photographs, drawings, advertising, …")
    collection: Text | None = Field(None, description="how the input was collected before this run")
    collected_from: Day | None = Field(None, description="first day of that collection")
    collected_to: Day | None = Field(None, description="last day of that collection")
    collection_ongoing: YesNo | None = Field(None, description="does the collection go on?")
    crawl_purpose: Text | None = Field(None, description="purpose of the crawl")
    public_datasets: Listed | None = Field(None, description="public datasets among the input; empty list for none")
    licensed_data: YesNo | None = Field(None, description="data licensed by rightsholders?")
    third_party_data: YesNo | None = Field(None, description="private data of other third parties?")
    crawled_data: YesNo | None = Field(None, description="was the input crawled, by whom, when?")
    user_data: YesNo | None = Field(None, description="data from users of the provider's services?")
    synthetic_data: YesNo | None = Field(None, description="data made by AI models, by which, what for?")
    other_data: YesNo | None = Field(None, description="data from any other source?")
    protected_by_ip: YesNo | None = Field(None, description="data protected by copyright, trademark or patent?")
    purchased_or_licensed: YesNo | None = Field(None, description="was the dataset purchased or licensed?")
    personal_information: YesNo | None = Field(None, description="personal or sensitive information?")
    consumer_information: YesNo | None = Field(None, description="aggregate consumer information?")
    consent: Text | None = Field(None, description="did the people concerned know and agree?")
    code_of_practice: YesNo | None = Field(None, description="signatory of the Code of Practice?")
    copyright_policy: Text | None = Field(None, description="copyright policy, or its address")
    processing_purpose: Text | None = Field(None, description="what cleaning and processing were for")
    illegal_content: Text | None = Field(None, description="further measures against illegal content")
    other_processing: Text | None = Field(None, description="further remarks")

    def facts(self) -> facts.Provider:
        """Return the section as the documents take it."""
        values: dict[str, Any] = {key: _plain(getattr(self, key)) for key in facts.KEYS}
        return facts.Provider(**values)


def _plain(value: object) -> object:
    if isinstance(value, YesNo):
        return facts.YesNo(value.answer, value.detail)
    if isinstance(value, Named):
        return facts.Named(value.name, value.url, value.detail)
    return tuple(_plain(item) for item in value) if isinstance(value, tuple) else value


def read_provider(path: str | Path) -> Provider:
    """Read a provider section from a file of its own. Raises `BadInput` naming file and key."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8'})") from None
    _, body = mapping(text, str(path), "provider section", "docs/recipe.md")
    if set(body) == {"provider"}:
        body = body["provider"]
    if not isinstance(body, dict):
        raise BadInput(f"{path}: holds no mapping of the provider's keys, see docs/recipe.md")
    try:
        return Provider.model_validate(body)
    except ValidationError as error:
        item = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in item["loc"])
        message = "unknown key" if item["type"] == "extra_forbidden" else item["msg"].removeprefix("Value error, ")
        raise BadInput(f"{path}: provider.{key}: {message}") from None
