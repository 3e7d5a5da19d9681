"""Which lines of text are marks, and which the caption names."""

from __future__ import annotations

import pytest

from filters.watermark_marks import marks_version, named_by, recognise


@pytest.mark.parametrize(
    ("text", "agency"),
    [
        ("shutterstock", "Shutterstock"),
        ("shutrerstock", "Shutterstock"),
        ("www.shutterstock.com", "Shutterstock"),
        ("gettvimages", "Getty Images"),
        ("Getty Images", "Getty Images"),
        ("epositphotos", "Depositphotos"),
        ("depositpho", "Depositphotos"),
        ("Alamy", "Alamy"),
        ("alamy stock photo", "Alamy"),
        ("Image: iStock", "iStock"),
        ("视觉中国", "Visual China Group"),
    ],
)
def test_agencies_are_recognised_misread_and_cut_off(text, agency):
    mark = recognise(text)
    assert mark is not None
    assert (mark.kind, mark.name) == ("agency", agency)
    assert 0.5 <= mark.quality <= 1


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("www.okulara.de", "url"),
        ("vistagrain.com", "url"),
        ("© 2024 J. Doe", "copyright"),
        ("(c) 2019 jane", "copyright"),
        ("Photo by Jane", "copyright"),
        ("Image ID: 48120731", "number"),
        ("@jane.pictures", "handle"),
        ("DO NOT COPY", "phrase"),
        ("royalty-free", "phrase"),
        ("SAMPLE", "word"),
    ],
)
def test_patterns(text, kind):
    mark = recognise(text)
    assert mark is not None
    assert mark.kind == kind


@pytest.mark.parametrize(
    "text",
    ["EXIT", "Police", "stockings", "Bank of China", "Woodstock 1969", "Happy Birthday", "No. 7", "a", "", "12:45"],
)
def test_ordinary_text_is_no_mark(text):
    assert recognise(text) is None


def test_captions_that_name_the_text():
    assert named_by("A sign reads 'Coca-Cola'", "COCA COLA")
    assert named_by("people at the police station", "POLICE")
    assert not named_by("a dog on grass", "shutterstock")
    assert not named_by("a dog, Stock Photo - Alamy", "alamy")
    assert not named_by("an exit", "go")
    assert not named_by("", "shutterstock")


def test_the_list_has_a_version():
    assert marks_version()
