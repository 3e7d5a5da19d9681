"""The strict check finds each thing that a loader lets pass."""

import copy
import json

import pytest
from made_facts import full_facts

from audit.documents.croissant import document
from audit.documents.croissant_check import problems

GOOD = json.loads(document(full_facts()).data)


def _without(key):
    def change(body):
        del body[key]

    return change


def _file(**values):
    return lambda body: body["distribution"][0].update(values)


def _set(**values):
    return lambda body: next(n for n in body["distribution"] if n["@type"] == "cr:FileSet").update(values)


def _field(**values):
    return lambda body: body["recordSet"][0]["field"][0].update(values)


BAD = {
    "name: missing": _without("name"),
    "license: missing": _without("license"),
    "license: has the wrong type": lambda b: b.update(license="CC0"),
    "license: says nothing": lambda b: b.update(license=[]),
    "version: is not MAJOR": lambda b: b.update(version="1"),
    "datePublished: '2026-11-31' is no day": lambda b: b.update(datePublished="2026-11-31"),
    "conformsTo": lambda b: b.update(conformsTo=["http://mlcommons.org/croissant/1.0"]),
    "creator: has no name": lambda b: b.update(creator={"@type": "sc:Person"}),
    "rai:dataBiases: says nothing": _without("rai:dataBiases"),
    "hidden: unknown property": lambda b: b.update(hidden=1),
    "description: has a control character": lambda b: b.update(description="a\x00b"),
    "has no SHA-256": _file(sha256="0" * 63),
    "has no size in bytes": _file(contentSize="12 kB"),
    "has no media type": _file(encodingFormat="tar"),
    "contentUrl is neither": _file(contentUrl="/etc/passwd"),
    "is no identifier, or there twice": _file(**{"@id": "a b"}),
    "containedIn names no file": _set(containedIn=[{"@id": "elsewhere"}]),
    "says not which files": _set(includes=[]),
    "its source is no file set": _field(source={"fileSet": {"@id": "nothing"}}),
    "extracts nothing": lambda b: b["recordSet"][0]["field"][1]["source"]["extract"].update(fileProperty="colour"),
    "its pattern has not one group": lambda b: b["recordSet"][0]["field"][0]["source"].update(
        transform={"regex": ".*"}
    ),
    "has no known type": _field(dataType="sc:Thing"),
    "its key is none of its fields": lambda b: b["recordSet"][0].update(key={"@id": "x"}),
}


def test_the_projects_own_document_passes():
    assert problems(GOOD) == []


@pytest.mark.parametrize("expected", BAD)
def test_each_fault_is_found(expected):
    body = copy.deepcopy(GOOD)
    BAD[expected](body)
    assert any(expected in problem for problem in problems(body)), problems(body)
