from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from openclipart_debs import build_debs, png, records, svg

from pipelines.sources.openclipart import write_corpus

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed")


def one_svg(tmp_path: Path, content: bytes | Path | None) -> dict[str, Any]:
    """Write a corpus of one picture whose twin has this content, and return its record."""
    svgs: dict[str, bytes | Path] = {"other.svg": svg("other")}
    if content is not None:
        svgs["x.svg"] = content
    write_corpus(tmp_path / "out", build_debs(tmp_path / "debs", {"x.png": png(9)}, svgs))
    found = records(tmp_path / "out")
    assert found["x"]["png"] == png(9)
    return found["x"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "there is no SVG of this name"),
        (b"", "the SVG is not well-formed XML"),
        (svg("cut")[:-200], "the SVG is not well-formed XML"),
        (b'<?xml version="1.0" encoding="klingon"?><svg/>', "the SVG is not well-formed XML"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "the SVG has no RDF description"),
        (b"<svg>" + b" " * (8 << 20) + b"</svg>", "the SVG is larger than 8 MiB"),
        (Path("nowhere.svg"), "the SVG is a link that leaves the packages or ends nowhere"),
        (Path("x.svg"), "the SVG is a link that leaves the packages or ends nowhere"),
        (Path("/dev/zero"), "the SVG is a link that leaves the packages or ends nowhere"),
    ],
    ids=["missing", "empty", "cut", "encoding", "bare", "large", "dangling", "circle", "device"],
)
def test_a_bad_svg_costs_only_the_metadata(tmp_path: Path, content: bytes | Path | None, reason: str) -> None:
    record = one_svg(tmp_path, content)
    assert record["metadata_error"] == reason
    assert (record["caption"], record["title"], record["licence"], record["keywords"]) == ("", None, None, [])


def test_internal_entities_are_expanded(tmp_path: Path) -> None:
    # As Adobe Illustrator writes them: the namespaces themselves are entities.
    doctype = '<!DOCTYPE svg [ <!ENTITY cc "http://web.resource.org/cc/"> <!ENTITY word "drawn"> ]>'
    record = one_svg(tmp_path, svg("&word; by hand", doctype=doctype, ns="&cc;"))
    assert record["caption"] == "drawn by hand"
    assert "metadata_error" not in record


def test_an_external_dtd_is_not_fetched_and_does_no_harm(tmp_path: Path) -> None:
    doctype = f'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.0//EN" "{(tmp_path / "no.dtd").as_uri()}">'
    assert one_svg(tmp_path, svg("harmless", doctype=doctype))["caption"] == "harmless"


LAUGHS = '<!DOCTYPE svg [ <!ENTITY a "ha"> ' + "".join(
    f'<!ENTITY {name} "{f"&{inner};" * 10}"> ' for inner, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("doctype", "title"),
    [
        ('<!DOCTYPE svg [ <!ENTITY x SYSTEM "SECRET"> ]>', "&x;"),
        ('<!DOCTYPE svg [ <!ENTITY x SYSTEM "SECRET"> ]>', "declared only"),
        ('<!DOCTYPE svg [ <!ENTITY % x SYSTEM "SECRET"> %x; ]>', "parameter"),
        (LAUGHS + "]>", "&i;"),
        (f'<!DOCTYPE svg [ <!ENTITY x "{"y" * 20_000}"> ]>', "&x;" * 20_000),
    ],
    ids=["external", "declared", "parameter", "laughs", "quadratic"],
)
def test_hostile_entities_read_nothing_and_do_not_explode(tmp_path: Path, doctype: str, title: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the secret")
    record = one_svg(tmp_path, svg(title, doctype=doctype.replace("SECRET", secret.as_uri())))
    assert record["metadata_error"] == "the SVG declares an entity that is external, nested or too long"
    assert "secret" not in json.dumps({key: value for key, value in record.items() if key != "png"})
