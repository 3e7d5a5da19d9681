from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from openclipart_debs import GPL, build_debs, png, svg


@pytest.fixture
def debs(tmp_path: Path) -> list[Path]:
    """Both packages with four pictures: unicode, a name with a dot, no licence, a link."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed")
    pngs: dict[str, bytes | Path] = {"animals/cat.png": png(1), "tools/chip_v.2_01.png": png(2), "plain.png": png(3)}
    pngs["animals/link.png"] = Path("../plain.png")
    svgs: dict[str, bytes | Path] = {
        "animals/cat.svg": svg(" Кот — 猫 &amp;amp; café\n"),
        "tools/chip_v.2_01.svg": svg("", "a chip", GPL),
        "plain.svg": svg(licence=""),
        "animals/link.svg": Path("../plain.svg"),
    }
    return build_debs(tmp_path / "debs", pngs, svgs)
