"""Builds small real Debian packages like openclipart's, and reads the shards made of them."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import webdataset
from PIL import Image

PUBLIC_DOMAIN = "http://web.resource.org/cc/PublicDomain"
GPL = "http://creativecommons.org/licenses/GPL/2.0/"


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), (shade, 0, 255 - shade)).save(buffer, "PNG")
    return buffer.getvalue()


def svg(
    title: str = "", description: str = "", licence: str = PUBLIC_DOMAIN, doctype: str = "", ns: str = ""
) -> bytes:
    return f"""<?xml version="1.0" encoding="UTF-8"?>
{doctype}
<svg xmlns="http://www.w3.org/2000/svg" xmlns:cc="{ns or "http://web.resource.org/cc/"}"
  xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
 <title>not this one</title>
 <metadata><rdf:RDF><cc:Work rdf:about="">
  <dc:title>{title}</dc:title>
  <dc:description>{description}</dc:description>
  <dc:subject><rdf:Bag><rdf:li>pet</rdf:li><rdf:li> </rdf:li><rdf:li>house cat</rdf:li></rdf:Bag></dc:subject>
  <dc:publisher><cc:Agent><dc:title>Open Clip Art Library</dc:title></cc:Agent></dc:publisher>
  <dc:creator><cc:Agent><dc:title> Zoë Ångström</dc:title></cc:Agent></dc:creator>
  <dc:rights><cc:Agent><dc:title>CopyLeft</dc:title></cc:Agent></dc:rights>
  <dc:date>23-07-05</dc:date>
  <cc:license rdf:resource="{licence}"/>
 </cc:Work></rdf:RDF></metadata></svg>""".encode()


def build_deb(folder: Path, package: str, files: dict[str, bytes | Path], version: str = "1:0.18-19") -> Path:
    """Build a real package; a value that is a path becomes a link to it."""
    tree = folder / f"{package}-tree"
    shutil.rmtree(tree, ignore_errors=True)
    (tree / "DEBIAN").mkdir(parents=True)
    control = f"Package: {package}\nVersion: {version}\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: d\n"
    (tree / "DEBIAN" / "control").write_text(control)
    for name, content in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            path.symlink_to(content)
        else:
            path.write_bytes(content)
    deb = folder / f"{package}_{version.replace(':', '%3a')}_all.deb"
    build = ["dpkg-deb", "--build", "--root-owner-group", "-Zgzip", str(tree), str(deb)]
    subprocess.run(build, check=True, capture_output=True, timeout=60)
    shutil.rmtree(tree)
    return deb


def build_debs(folder: Path, pngs: dict[str, bytes | Path], svgs: dict[str, bytes | Path]) -> list[Path]:
    folder.mkdir(exist_ok=True)
    roots = {"png": pngs, "svg": svgs}
    return [
        build_deb(folder, f"openclipart-{kind}", {f"usr/share/openclipart/{kind}/{n}": c for n, c in files.items()})
        for kind, files in roots.items()
    ]


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """Read all shards as the pipeline's users do; each record with its JSON, caption and picture."""
    shards = sorted(str(path) for path in folder.glob("*.tar"))
    found = {}
    for sample in webdataset.WebDataset(shards, shardshuffle=False):
        found[sample["__key__"]] = {
            **json.loads(sample["json"]),
            "caption": sample["txt"].decode(),
            "png": sample["png"],
        }
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
