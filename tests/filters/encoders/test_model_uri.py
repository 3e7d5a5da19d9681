"""Model URIs are parsed without a look at disk, network or torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from filters.encoders.uri import ModelUri, parse_uri
from filters.errors import BadInput


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("builtin:mini", ModelUri("builtin", name="mini")),
        ("open-clip:ViT-B-32/openai", ModelUri("open-clip", arch="ViT-B-32", tag="openai")),
        ("file:/a/b.safetensors?arch=ViT-B-32", ModelUri("file", arch="ViT-B-32", path="/a/b.safetensors")),
        ("file:///a/b.pt?arch=X&tag=openai", ModelUri("file", arch="X", tag="openai", path="/a/b.pt")),
        ("file:weights/folder", ModelUri("file", path="weights/folder")),
    ],
)
def test_known_forms(uri, expected):
    assert parse_uri(uri) == expected


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "mini",
        "builtin:",
        "builtin:maxi",
        "open-clip:",
        "open-clip:ViT-B-32",
        "open-clip:/openai",
        "open-clip:hf-hub:org/model/x",
        "file:",
        "file:?arch=ViT-B-32",
        "file://host/a?arch=ViT-B-32",
        "file:/a?arch=",
        "file:/a?tag=openai",
        "file:/a?arch=X&colour=red",
        "https://example.org/model.safetensors",
        "builtin:mini\nbuiltin:mini",
    ],
)
def test_everything_else_is_refused_in_one_line(uri):
    with pytest.raises(BadInput) as caught:
        parse_uri(uri)
    assert "\n" not in str(caught.value)


def test_parsing_needs_no_torch():
    script = "import sys, filters.scorers.similarity; assert not {'torch', 'open_clip'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
