"""JSON of strangers is read to a fixed depth, whatever Python reads it and however deep its caller stands."""

import json

import pytest

from filters.json_text import DEEPEST, read_json


def nested(depth, inside=""):
    return "[" * depth + inside + "]" * depth


def test_it_reads_what_json_reads():
    for text in ('{"a": [1, "x]]]"]}', '"[[["', "3", '["\\"[[", "\\\\"]', nested(DEEPEST), "[" + "[]," * 5000 + "[]]"):
        assert read_json(text) == read_json(text.encode()) == read_json(text.encode("utf-16")) == json.loads(text)
    assert read_json(b'"\\ud800"') == "\ud800"


def test_brackets_inside_strings_are_no_depth():
    text = json.dumps([nested(1000), '"' + nested(1000, "\\")])
    assert read_json(text) == json.loads(text)


@pytest.mark.parametrize(
    "text", [nested(DEEPEST + 1), '{"a":' * 5000 + "1" + "}" * 5000, "[" * 1_000_000, '{"a":"x",' * 1000]
)
def test_what_is_nested_deeper_is_refused_without_recursion(text):
    with pytest.raises(ValueError, match="nested deeper than 200"):
        read_json(text)


@pytest.mark.parametrize("text", ["", "{", '"' * 999, "]" * 999, b"\xff\xfe\xff", nested(3, "x"), '"[' * 500])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011
        read_json(text)
