"""The recipe: what a run does, in YAML, checked before anything starts.

Unknown keys and impossible values are refused with file, line and key. `docs/recipe.schema.json` and
`docs/recipe.md` are generated from the models below.
"""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from audit.groups import Group
from filters.decoding import MAX_PIXELS
from filters.encoders.uri import parse_uri
from filters.errors import BadInput
from filters.heads.table import head_for
from filters.reasons import Reason
from filters.registry import COSTLY, DEFAULT, HEADS, SCORERS
from filters.rules import MATCH_PROBABILITY, RULES, AllowRule, AnyRule, Rule
from pipelines.run.checked_yaml import checked
from pipelines.run.recipe_audit import Audit
from pipelines.run.recipe_balance import Balance, ByGroup, check_balance
from pipelines.run.recipe_duplicates import Duplicates
from pipelines.run.recipe_fetch import Fetch
from pipelines.run.recipe_gates import GateChoice, check_gates
from pipelines.run.recipe_provider import Provider
from pipelines.run.recipe_rights import Rights


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FieldNames(_Model):
    """Where the input keeps each field: key of the record's JSON, or column of the parquet."""

    caption: str = Field("caption", description="caption, where the record has no .txt of its own")
    image: str = Field("image", description="picture bytes (parquet only; a struct with `bytes` is understood)")
    key: str = Field("key", description="record key (parquet only; row numbers where the column is absent)")
    url: str = Field("url", description="address of the picture")
    page_url: str = Field("page_url", description="address of the page that shows it")
    creator: str = Field("creator", description="who made it")
    licence: str = Field("licence", description="licence, best as a URI")
    folder: str = Field("folder", description="folder or category; else the folder part of the key")


class Input(_Model):
    """What comes in."""

    kind: Literal["webdataset", "folder", "parquet", "url"] = Field(
        description="kind of the input; `url` is a list (parquet, CSV or JSON lines) whose pictures are downloaded"
    )
    path: str = Field(
        min_length=1, description="file, folder or glob; any fsspec URL; relative paths are relative to the recipe"
    )
    fields: FieldNames = Field(FieldNames(), description="names of the fields")
    files_per_part: int = Field(1000, ge=1, le=100_000, description="pictures a part, for folders")


class Limits(_Model):
    """Bounds that protect the machine; a sample beyond one gets a reason."""

    max_pixels: int = Field(
        MAX_PIXELS, ge=1, description="pixels of one picture (default: Pillow's own warning limit)"
    )
    max_image_bytes: int = Field(64 << 20, ge=1, description="bytes of one picture's file")
    max_caption_bytes: int = Field(16 << 10, ge=1, description="bytes of one caption")
    max_metadata_bytes: int = Field(1 << 20, ge=1, description="bytes of one record's JSON")
    max_failures: float = Field(
        0.5,
        ge=0,
        le=1,
        description="fraction of samples that may fail in ingest and decode; more ends with exit code 4",
    )


class Similarity(_Model):
    """The image-text encoder."""

    model: str = Field("builtin:mini", min_length=1, description="model URI; bounds on similarity belong to one model")

    @field_validator("model")
    @classmethod
    def _readable(cls, uri: str) -> str:
        try:
            parse_uri(uri)
        except BadInput as error:
            raise ValueError(str(error)) from None
        return uri


class HeadChoice(_Model):
    """A head over CLIP's embeddings."""

    head: str = Field("", description="its name; empty for the encoder's first one")
    weights: str = Field("", description="`file:` or `https:` address of its weights; empty for the published place")


class HeadChoices(_Model):
    """Heads of the scorers that read the similarity encoder's embeddings."""

    aesthetic: HeadChoice = HeadChoice()
    nsfw_clip: HeadChoice = HeadChoice()


class Bounds(_Model):
    """Bounds of one rule, both inclusive; or the best fraction of the finite scores."""

    low: float | None = Field(None, allow_inf_nan=False, description="smallest value that passes")
    high: float | None = Field(None, allow_inf_nan=False, description="largest value that passes")
    keep_top: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="keep this best fraction (resolved to a bound from the scores, and recorded)"
    )
    by_group: ByGroup = Field(
        {}, description="other bounds, by group and value; a sample with several of these values passes by any"
    )

    @model_validator(mode="after")
    def _possible(self) -> Bounds:
        bounded = self.low is not None or self.high is not None
        if self.keep_top is not None and bounded:
            raise ValueError("keep_top and bounds exclude each other")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low ({self.low}) must be at most high ({self.high})")
        if self.keep_top is None and not bounded:
            raise ValueError("give low, high or keep_top")
        return self


class Licences(_Model):
    """Licence allow-list; compared exactly."""

    allow: list[str] = Field(min_length=1, description="licences that may be kept")
    missing: Literal["drop", "keep"] = Field("drop", description="what happens to samples without a licence")


class Languages(_Model):
    """Caption languages that may be kept."""

    allow: list[str] = Field(min_length=1, description="ISO 639 codes")
    missing: Literal["drop", "keep"] = Field("drop", description="what happens where none could be detected")


class Shards(_Model):
    """How the kept samples are written."""

    samples: int = Field(1000, ge=1, le=100_000, description="samples a shard")


class Recipe(_Model):
    """A whole run."""

    version: Literal[1] = Field(1, description="version of this format")
    name: str = Field(min_length=1, max_length=100, pattern=r"^[\w .-]+$", description="name of the dataset")
    input: Input
    limits: Limits = Limits()
    similarity: Similarity = Similarity()
    heads: HeadChoices = HeadChoices()
    cascade: bool = Field(
        False, description="run costly scorers only on samples that no rule has dropped yet; same samples are kept"
    )
    thumbnails: bool = Field(
        True, description="keep a small picture (2 KB) of each sample that may be shown, for report and dashboard"
    )
    scorers: list[str] = Field(list(DEFAULT), min_length=1, description="scorers to run, of those that exist")
    rules: dict[str, Bounds] = Field({}, description="bounds by rule name")
    rights: Rights = Rights()
    fetch: Fetch | None = Field(
        None, description="how a URL list is downloaded; needed for input.kind url, and only there"
    )
    licences: Licences | None = Field(None, description="licence allow-list")
    languages: Languages | None = Field(None, description="language allow-list")
    duplicates: Duplicates | None = Field(
        Duplicates(), description="null keeps duplicates (but never the same uid twice)"
    )
    balance: Balance | None = Field(None, description="null keeps groups as they are")
    shards: Shards = Shards()
    audit: Audit = Audit()
    gates: dict[str, GateChoice] = Field({}, description="what must hold before training, by a name of your own")
    provider: Provider | None = Field(
        None, description="what only the provider knows; for `assay export` and the credentials of pictures"
    )

    @field_validator("scorers")
    @classmethod
    def _known_scorers(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in SCORERS:
                raise ValueError(f"{name!r} is not one of {', '.join(SCORERS)}")
        return [name for name in SCORERS if name in names]

    @field_validator("rules")
    @classmethod
    def _known_rules(cls, rules: dict[str, Bounds]) -> dict[str, Bounds]:
        for name in rules:
            if name not in RULES:
                raise ValueError(f"{name!r} is not one of {', '.join(RULES)}")
        return rules

    @model_validator(mode="after")
    def _possible(self) -> Recipe:
        if (self.fetch is not None) != (self.input.kind == "url"):
            raise ValueError("input.kind url and a fetch section (with fetch.contact) belong together")
        for name, bounds in self.rules.items():
            scorer = RULES[name].scorer
            if scorer not in self.scorers:
                raise ValueError(f"rules.{name} needs the scorer {scorer!r}, which scorers leaves out")
            relative = bounds.keep_top is not None or name == MATCH_PROBABILITY
            if self.cascade and relative and scorer in COSTLY:
                raise ValueError(f"rules.{name} needs every sample's score: give an absolute bound, or cascade: false")
            if self.cascade and bounds.by_group:
                raise ValueError(f"rules.{name}.by_group: groups are known after scoring only; set cascade: false")
            if name == MATCH_PROBABILITY and bounds.keep_top is not None:
                raise ValueError(f"rules.{name} takes low or high; for a fraction use rules.similarity.keep_top")
        for head in (head for head in HEADS if head in self.scorers):
            if "similarity" not in self.scorers:
                raise ValueError(f"the scorer {head!r} reads the similarity's embeddings: add the scorer 'similarity'")
            try:
                head_for(head, self.similarity.model, getattr(self.heads, head).head)
            except BadInput as error:
                raise ValueError(str(error)) from None
        if self.duplicates and (self.duplicates.cosine or self.duplicates.thin) and "similarity" not in self.scorers:
            raise ValueError("duplicates.cosine and duplicates.thin read embeddings: add the scorer 'similarity'")
        if self.languages and "language" not in self.scorers:
            raise ValueError("languages needs the scorer 'language', which scorers leaves out")
        check_gates(self.gates, self.audit, self.groups())
        check_balance(self.balance, {name: bounds.by_group for name, bounds in self.rules.items()}, self.groups())
        return self

    def groups(self) -> tuple[Group, ...]:
        """Return the groups of the audit, declared or by default."""
        return self.audit.declared(self.scorers)

    def filter_rules(self) -> list[AnyRule]:
        """Return the rules in order of the recipe's sections: licences, bounds, languages."""
        found: list[AnyRule] = []
        if self.licences:
            missing = Reason.LICENCE_MISSING if self.licences.missing == "drop" else None
            allow = frozenset(self.licences.allow)
            found.append(AllowRule("licences", "licence", Reason.LICENCE_NOT_ALLOWED, allow, missing))
        for name, bounds in self.rules.items():
            rule = RULES[name]
            low = -inf if bounds.low is None else bounds.low
            high = inf if bounds.high is None else bounds.high
            found.append(Rule(name, rule.column, rule.reason, low, high, bounds.keep_top, rule.less_is_better))
        if self.languages:
            missing = Reason.SCORE_MISSING if self.languages.missing == "drop" else None
            allow = frozenset(self.languages.allow)
            found.append(AllowRule("languages", "language", Reason.LANGUAGE, allow, missing))
        return found

    def content(self) -> dict[str, Any]:
        """Return what the manifest's content hash covers: all but places and what changes no sample."""
        rights = {"registry", "grant_keys", "c2pa_anchors", "harmful", "incomparable"}
        left_out = {"provider": True, "thumbnails": True}
        found = self.model_dump(mode="json", exclude={"input": {"path"}, "rights": rights, **left_out})
        if self.duplicates:
            found["duplicates"]["against"] = [Path(where).name for where in self.duplicates.against]
        found["audit"] = self.audit.placed(lambda where: Path(where).name).model_dump(mode="json")
        return found

    def dump(self) -> str:
        """Return the resolved recipe as YAML, as it is stored in the run."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def load_recipe(path: str | Path, overrides: list[str] | None = None) -> Recipe:
    """Read a recipe file and apply `a.b=value` overrides. Raises `BadInput` naming file, line and key."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BadInput(f"{path}: no such recipe") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot read the recipe ({error})") from None
    recipe = parse_recipe(text, str(path), overrides or [])
    recipe = _absolute(recipe, path.parent)
    recipe.audit.check_files()
    return recipe


def _absolute(recipe: Recipe, folder: Path) -> Recipe:
    """Return the recipe with its relative places made absolute; they are relative to the recipe's folder."""

    def place(where: str) -> str:
        return where if "://" in where or Path(where).is_absolute() else str((folder / where).absolute())

    rights = recipe.rights
    update = {
        "registry": rights.registry and place(rights.registry),
        "grant_keys": [place(where) for where in rights.grant_keys],
        "c2pa_anchors": [place(where) for where in rights.c2pa_anchors],
        "harmful": [place(where) for where in rights.harmful],
    }
    source = recipe.input.model_copy(update={"path": place(recipe.input.path)})
    duplicates = recipe.duplicates
    if duplicates and duplicates.against:
        duplicates = duplicates.model_copy(update={"against": [place(where) for where in duplicates.against]})
    changed: dict[str, BaseModel | None] = {"input": source, "rights": rights.model_copy(update=update)}
    changed |= {"duplicates": duplicates, "audit": recipe.audit.placed(place)}
    return recipe.model_copy(update=changed)


def parse_recipe(text: str, source: str, overrides: list[str]) -> Recipe:
    """Check the recipe in `text`; `source` names it in messages. Raises `BadInput`."""
    return checked(Recipe, text, source, overrides, "recipe", "docs/recipe.md")
