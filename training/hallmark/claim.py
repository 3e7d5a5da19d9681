"""What a hallmark says about a picture: from facts to a C2PA manifest definition, and back from the manifest read."""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal

from filters import __version__
from filters.errors import BadInput

#: IPTC's vocabulary of digital source types.
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"

#: Label of our own assertion, and the version of its fields.
LABEL, VERSION = "org.assay-data.hallmark", 1

#: Label of the ingredient that is a signed picture which this one was made from.
PARENT = "parent"

_USES = ("allowed", "notAllowed", "constrained")
_MAX_PROMPT = 10_000

SourceType = Literal["trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"]


@dataclass(frozen=True)
class ModelFacts:
    """The model: its name and version, and the SHA-256 of its checkpoint (64 hex digits)."""

    name: str
    version: str
    checkpoint: str


@dataclass(frozen=True)
class DatasetFacts:
    """The dataset that the model was trained on: name, content hash of its manifest (64 hex digits), a location."""

    name: str
    content_hash: str
    location: str = ""


@dataclass(frozen=True)
class Part:
    """A further model that took part, such as a control network, and the dataset that it was trained on."""

    model: ModelFacts
    dataset: DatasetFacts


@dataclass(frozen=True)
class Facts:
    """What is known about one picture. `provider` is who answers for it; `parameters` are the sampler's settings.

    `parts`: models beside the main one.
    """

    model: ModelFacts
    dataset: DatasetFacts
    prompt: str
    provider: str
    created_at: datetime
    parameters: Mapping[str, str | int | float] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        for one in self._models():
            for what, digest in (("checkpoint", one.model.checkpoint), ("dataset", one.dataset.content_hash)):
                if not is_digest(digest):
                    raise BadInput(f"{what} {digest[:80]!r}: not a SHA-256 of 64 hex digits")
        if self.created_at.tzinfo is None:
            raise BadInput("created_at has no time zone")
        if len(self.prompt) > _MAX_PROMPT:
            raise BadInput(f"a prompt of {len(self.prompt)} characters; at most {_MAX_PROMPT} are put on record")
        for what, value in self._values():
            if isinstance(value, str) and value != value.encode("utf-8", "replace").decode():
                raise BadInput(f"{what} holds half a character (a lone surrogate); write it in Unicode")
            if isinstance(value, float) and not math.isfinite(value):
                raise BadInput(f"{what} is {value}, which no record holds")

    def _models(self) -> tuple[Part, ...]:
        return (Part(self.model, self.dataset), *self.parts)

    def _values(self) -> list[tuple[str, object]]:
        """Return all that is put on record, by name."""
        named = [
            pair
            for one in self._models()
            for pair in (
                ("the model's name", f"{one.model.name} {one.model.version}"),
                ("the dataset's name or location", f"{one.dataset.name} {one.dataset.location}"),
            )
        ]
        return [
            ("the prompt", self.prompt),
            ("the provider", self.provider),
            *named,
            *((f"the parameter {name}", value) for name, value in self.parameters.items()),
        ]


@dataclass(frozen=True)
class Binding:
    """A watermark in the picture: its algorithm's name and its value, in hex."""

    algorithm: str
    value: str


@dataclass(frozen=True)
class Fingerprint:
    """PDQ hash of the signed pixels (64 hex digits) and its quality, 0 to 100; below 50 the hash says nothing."""

    pdq: str
    quality: int


@dataclass(frozen=True)
class ClaimConfig:
    """What goes into the manifest.

    `prompt`: its salted digest, or its text. `training_mining`: CAWG entries by name, each with a use (`allowed`,
    `notAllowed`, `constrained`); none leaves the assertion out.
    """

    prompt: Literal["digest", "text"] = "digest"
    source_type: SourceType = "trainedAlgorithmicMedia"
    training_mining: Mapping[str, str] = field(
        default_factory=lambda: {"cawg.ai_generative_training": "notAllowed", "cawg.ai_training": "notAllowed"}
    )

    def __post_init__(self) -> None:
        for name, use in self.training_mining.items():
            if use not in _USES:
                raise BadInput(f"training_mining.{name}: {use!r} is not one of {', '.join(_USES)}")


@dataclass(frozen=True)
class ClaimedPart:
    """A further model that took part, and the dataset that it was trained on, as they were read back."""

    checkpoint: str
    model: str
    dataset: str
    dataset_name: str


@dataclass(frozen=True)
class Claim:
    """What the manifest of one of our pictures says, as it was read back. `parts`: models beside the main one."""

    id: str
    checkpoint: str
    model: str
    dataset: str
    dataset_name: str
    location: str
    fingerprint: Fingerprint | None
    bindings: tuple[Binding, ...]
    created_at: str
    parts: tuple[ClaimedPart, ...] = ()


def definition(
    identity: str,
    facts: Facts,
    bindings: tuple[Binding, ...],
    fingerprint: Fingerprint,
    config: ClaimConfig,
    opened: bool = False,
) -> dict[str, Any]:
    """Return the manifest definition for C2PA's builder.

    The first action is `c2pa.created` and names dataset and model as its inputs. With `opened` the picture was made
    from a signed one, which the sealer adds as the ingredient `PARENT`: then it is `c2pa.opened`, and `c2pa.edited`
    names dataset and model. In both cases each watermark has a soft binding,
    and `c2pa.watermarked.bound` stands where there is one. JSON holds no byte strings, so a soft binding's value is
    text; our own assertion repeats it.
    """
    assertions: list[dict[str, Any]] = [
        {
            "label": "c2pa.actions",
            "data": {"actions": _actions(facts, bindings, config, opened), "allActionsIncluded": True},
        },
        {"label": LABEL, "data": _own(identity, facts, bindings, fingerprint, config)},
    ]
    if config.training_mining:
        entries = {name: {"use": use} for name, use in config.training_mining.items()}
        assertions.append({"label": "cawg.training-mining", "data": {"entries": entries}})
    for binding in bindings:
        block = {"scope": {}, "value": binding.value}
        assertions.append(
            {"label": "c2pa.soft-binding", "data": {"alg": binding.algorithm, "pad": "", "blocks": [block]}}
        )
    return {
        "claim_generator_info": [{"name": "assay", "version": __version__}],
        "title": f"generated picture {identity}",
        "ingredients": _ingredients(facts),
        "assertions": assertions,
    }


def _actions(facts: Facts, bindings: tuple[Binding, ...], config: ClaimConfig, opened: bool) -> list[dict[str, Any]]:
    when = facts.created_at.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    actions: list[dict[str, Any]] = [
        {
            "action": "c2pa.edited" if opened else "c2pa.created",
            "digitalSourceType": SOURCE_TYPES + config.source_type,
            "softwareAgent": {"name": facts.model.name, "version": facts.model.version},
            "when": when,
            "parameters": {"ingredientIds": [one["label"] for one in _ingredients(facts)]},
        }
    ]
    if opened:
        actions.insert(0, {"action": "c2pa.opened", "when": when, "parameters": {"ingredientIds": [PARENT]}})
    if bindings:
        actions.append({"action": "c2pa.watermarked.bound", "when": when})
    return actions


def _own(
    identity: str, facts: Facts, bindings: tuple[Binding, ...], fingerprint: Fingerprint, config: ClaimConfig
) -> dict[str, Any]:
    return {
        "version": VERSION,
        "id": identity,
        "provider": facts.provider,
        "created_at": facts.created_at.astimezone(timezone.utc).isoformat(timespec="seconds"),
        "dataset": {
            "name": facts.dataset.name,
            "alg": "sha256",
            "hash": facts.dataset.content_hash,
            "location": facts.dataset.location,
        },
        "model": {
            "name": facts.model.name,
            "version": facts.model.version,
            "alg": "sha256",
            "hash": facts.model.checkpoint,
        },
        **_own_parts(facts),
        "prompt": _prompt(facts.prompt, config),
        "parameters": dict(facts.parameters),
        "pdq": {"hash": fingerprint.pdq, "quality": fingerprint.quality},
        "watermarks": [{"alg": binding.algorithm, "value": binding.value} for binding in bindings],
    }


def _own_parts(facts: Facts) -> dict[str, Any]:
    """Return the entry of further models, none where there are none: such pictures' assertions stay as they were."""
    if not facts.parts:
        return {}
    bodies = [
        {
            "name": part.model.name,
            "version": part.model.version,
            "alg": "sha256",
            "hash": part.model.checkpoint,
            "dataset": {"name": part.dataset.name, "alg": "sha256", "hash": part.dataset.content_hash},
        }
        for part in facts.parts
    ]
    return {"parts": bodies}


def _prompt(prompt: str, config: ClaimConfig) -> dict[str, str]:
    """Return the prompt's entry. The salt keeps ready-made tables out; a short prompt can still be guessed."""
    if config.prompt == "text":
        return {"text": prompt}
    salt = secrets.token_hex(16)
    return {"alg": "sha256", "salt": salt, "hash": prompt_digest(prompt, salt)}


def prompt_digest(prompt: str, salt: str) -> str:
    """Return the SHA-256 of salt (hex), a colon and prompt in UTF-8: whoever has the prompt can show that it fits."""
    return hashlib.sha256(f"{salt}:{prompt}".encode()).hexdigest()


def _ingredients(facts: Facts) -> list[dict[str, Any]]:
    """Return datasets and models, each once; the first two are the main ones."""
    found = [_dataset_ingredient(facts.dataset), _model_ingredient(facts.model)]
    known = {one["instance_id"] for one in found}
    for number, part in enumerate(facts.parts, start=2):
        for one in (_dataset_ingredient(part.dataset), _model_ingredient(part.model)):
            if one["instance_id"] not in known:
                known.add(one["instance_id"])
                found.append({**one, "label": f"{one['label']}-{number}"})
    return found


def _dataset_ingredient(dataset: DatasetFacts) -> dict[str, Any]:
    ingredient = {
        "title": dataset.name,
        "format": "application/json",
        "relationship": "inputTo",
        "label": "dataset",
        "instance_id": f"sha256:{dataset.content_hash}",
        "description": f"training dataset, content hash of its manifest sha256:{dataset.content_hash}",
        "data_types": [{"type": "c2pa.types.dataset"}],
    }
    if dataset.location:
        ingredient["informational_URI"] = dataset.location
    return ingredient


def _model_ingredient(model: ModelFacts) -> dict[str, Any]:
    return {
        "title": f"{model.name} {model.version}",
        "format": "application/octet-stream",
        "relationship": "inputTo",
        "label": "model",
        "instance_id": f"sha256:{model.checkpoint}",
        "description": f"model checkpoint sha256:{model.checkpoint}",
        "data_types": [{"type": "c2pa.types.model.pytorch"}],
    }


def read_claim(assertions: Mapping[str, Any]) -> Claim | None:
    """Return what our assertion says, None where it is absent or not ours in shape. Only for signatures that hold."""
    own = assertions.get(LABEL)
    if not isinstance(own, dict) or own.get("version") != VERSION:
        return None
    dataset, model, pdq = (_mapping(own.get(name)) for name in ("dataset", "model", "pdq"))
    identity, checkpoint, content = own.get("id"), model.get("hash"), dataset.get("hash")
    parts = _claimed_parts(own.get("parts", []))
    if parts is None or not (_is_id(identity) and is_digest(checkpoint) and is_digest(content)):
        return None
    marks = own.get("watermarks")
    bindings = tuple(
        Binding(str(mark["alg"]), str(mark["value"]))
        for mark in (marks if isinstance(marks, list) else [])
        if isinstance(mark, dict) and {"alg", "value"} <= mark.keys()
    )
    code, quality = pdq.get("hash"), pdq.get("quality")
    fingerprint = Fingerprint(str(code), quality) if is_digest(code) and isinstance(quality, int) else None
    return Claim(
        id=str(identity),
        checkpoint=str(checkpoint),
        model=f"{model.get('name')} {model.get('version')}",
        dataset=str(content),
        dataset_name=str(dataset.get("name")),
        location=str(dataset.get("location") or ""),
        fingerprint=fingerprint,
        bindings=bindings,
        created_at=str(own.get("created_at")),
        parts=parts,
    )


def _claimed_parts(bodies: object) -> tuple[ClaimedPart, ...] | None:
    """Return the further models, None where one is not ours in shape: a model that is not told must not go unseen."""
    if not isinstance(bodies, list):
        return None
    found = []
    for body in map(_mapping, bodies):
        dataset = _mapping(body.get("dataset"))
        checkpoint, content = body.get("hash"), dataset.get("hash")
        if not (is_digest(checkpoint) and is_digest(content)):
            return None
        model = f"{body.get('name')} {body.get('version')}"
        found.append(ClaimedPart(str(checkpoint), model, str(content), str(dataset.get("name"))))
    return tuple(found)


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def is_digest(value: object) -> bool:
    """Tell whether a value is 64 lower-case hex digits."""
    return isinstance(value, str) and len(value) == 64 and not set(value) - set("0123456789abcdef")


def _is_id(value: object) -> bool:
    return isinstance(value, str) and len(value) == 32 and not set(value) - set("0123456789abcdef")
