"""YAML that people write (recipes, training configurations), checked against a model before anything starts.

Unknown keys, doubled keys and impossible values are refused with file, line and key.
"""

from __future__ import annotations

from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from filters.errors import BadInput

_Model = TypeVar("_Model", bound=BaseModel)


def checked(model: type[_Model], text: str, source: str, overrides: list[str], what: str, page: str) -> _Model:
    """Return `text` as a `model`, with `a.b=value` overrides applied.

    `source` names the text in messages, `what` says what it is ("recipe"), `page` where its keys are described.
    Raises `BadInput`.
    """
    node, body = mapping(text, source, what, page)
    for override in overrides:
        _apply(body, override)
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise BadInput(_explain(error, source, node, overrides, what)) from None


def mapping(text: str, source: str, what: str, page: str) -> tuple[Any, dict[str, Any]]:
    """Return the node and the keys of a YAML mapping without aliases or doubled keys. Raises `BadInput`."""
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text, Loader=yaml.SafeLoader)):
            raise BadInput(f"{source}: YAML aliases (*name) are not supported in a {what}")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        body = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise BadInput(f"{source}{line}: not readable as YAML ({problem})") from None
    if not isinstance(body, dict):
        raise BadInput(f"{source}: a {what} is a mapping of keys, see {page}")
    _refuse_doubled_keys(node, source)
    return node, body


def _apply(body: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise BadInput(f"--set {override}: write key=value, for example rules.similarity.low=0.2")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError:
        raise BadInput(f"--set {override}: the value is not readable as YAML") from None
    *parents, last = key.split(".")
    place: Any = body
    for parent in parents:
        if place.get(parent) is None:
            place[parent] = {}
        place = place[parent]
        if not isinstance(place, dict):
            raise BadInput(f"--set {override}: {parent} is not a mapping")
    place[last] = parsed


def _refuse_doubled_keys(node: yaml.Node | None, source: str) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise BadInput(f"{source}:{key.start_mark.line + 1}: {key.value}: the key stands twice")
            seen.add(key.value)
            _refuse_doubled_keys(value, source)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_doubled_keys(value, source)


def _explain(error: ValidationError, source: str, node: yaml.Node | None, overrides: list[str], what: str) -> str:
    problems = []
    for item in error.errors(include_url=False):
        location = [str(part) for part in item["loc"]]
        key = ".".join(location)
        overridden = any(o.split("=")[0] == key or o.startswith(f"{key}.") for o in overrides)
        where = "--set" if overridden else f"{source}:{_line(node, location)}"
        unknown = item["type"] == "extra_forbidden"
        message = "unknown key" if unknown else item["msg"].removeprefix("Value error, ")
        problems.append(f"{where}: {key or what}: {message[:1].lower()}{message[1:]}")
    return "; ".join(problems)


def _line(node: yaml.Node | None, location: list[str]) -> int:
    """Return the 1-based line of the deepest part of `location` that the document has."""
    line = node.start_mark.line if node else 0
    for part in location:
        found = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == part:
                    line, found = key.start_mark.line, value
        elif isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            found = node.value[int(part)]
            line = found.start_mark.line
        if found is None:
            break
        node = found
    return line + 1
