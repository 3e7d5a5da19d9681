"""Text of others is printed as one line without control characters, and a reader who leaves disturbs nothing."""

from __future__ import annotations

import json
import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.terminal import all_printable, json_shown, printable, quiet_when_closed, tell

#: Sequences that terminals obey: a title, a cleared screen, the same in one octet, a turned direction, a new line.
HOSTILE = ["\x1b]0;owned\x07", "\x1b[2J", "\x9b2J", "\u202e", "\r", "\x85", "\u2028", "\x00", "\x7f", "\ud800", "\b"]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_control_character_is_left_and_a_line_stays_one(text):
    line = printable(f"a{text}b")
    assert line.isprintable()
    assert line[0] + line[-1] == "ab"


@pytest.mark.parametrize("text", ["plain", "Ærø 草間彌生 🎨", "", "a  b"])
def test_what_has_none_stays_as_it_is(text):
    assert printable(text) == text


def test_a_line_end_within_a_line_makes_no_new_one(capsys):
    tell("first\nassay: cleared", "second")
    assert capsys.readouterr().out == "first assay: cleared\nsecond\n"
    tell("wrong\x1b[2J", stream=sys.stderr)
    assert capsys.readouterr().err == "wrong\ufffd[2J\n"


def test_all_texts_of_a_json_value_become_printable_however_deep():
    assert all_printable({"a\x1b": ["\x07", {"b": "c\nd"}, 1, None]}) == {"a\ufffd": ["\ufffd", {"b": "c d"}, 1, None]}
    deep: object = "\x1b"
    for _ in range(900):
        deep = [deep]
    assert "\x1b" not in str(all_printable(deep))


@given(st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_that_is_shown_says_the_same_without_a_control_character(value):
    shown = json_shown(json.dumps(value, ensure_ascii=False, indent=1))
    assert json.loads(shown) == value
    assert all(line.isprintable() for line in shown.split("\n"))


def test_what_a_terminal_heeds_beyond_ascii_stands_as_its_escape():
    assert json_shown('{\n "é\x9b2J\u202e": "\x7f\U000e0001"\n}') == (
        '{\n "é\\u009b2J\\u202e": "\\u007f\\udb40\\udc01"\n}'
    )


@pytest.mark.parametrize("amount", [1, 1_000_000])
def test_a_reader_who_leaves_is_no_error(amount):
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        os.close(reading)
        quiet = quiet_when_closed(stream)
        assert quiet.write("x" * amount) == amount
        quiet.flush()
        print("more", file=quiet, flush=True)
        assert quiet.buffer.write(b"y" * amount) == amount
        quiet.buffer.flush()
