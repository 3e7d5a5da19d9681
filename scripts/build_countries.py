"""Makes audit/groups/data/country_shapes.json, the map that turns a picture's EXIF position into a country.

Run once, by hand, with the folders of two unpacked npm packages:

    npm pack world-atlas@2.0.2 i18n-iso-countries@7.14.0
    python scripts/build_countries.py WORLD_ATLAS ISO_COUNTRIES

world-atlas has Natural Earth's countries at 1:50 million as TopoJSON, with ISO 3166-1 numeric codes; the other package
is read for the table from those codes to two letters. Borders stay shared, so that rounding leaves no gaps.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

OUT = Path(__file__).resolve().parents[1] / "audit" / "groups" / "data" / "country_shapes.json"

#: Degrees of one unit of the coordinates that are written: 2.2 km of latitude, the map's own precision.
STEP = 0.02

#: What Natural Earth draws apart and ISO 3166-1 gives no code of its own: the code whose territory it is there; an
#: empty one where there is none.
WITHOUT_CODE = {"Somaliland": "SO", "N. Cyprus": "CY", "Kosovo": "XK", "Siachen Glacier": ""}

#: Territories with a code of their own that Natural Earth draws as part of a state: by the box (west, south, east,
#: north, degrees) that holds all of their polygons and none other of that state.
PARTS = {
    "FR": {
        "GF": (-55, 1, -50, 7),
        "GP": (-62, 15.7, -60.9, 16.7),
        "MQ": (-61.4, 14.2, -60.6, 15.1),
        "RE": (55, -22, 56, -20),
        "YT": (44.8, -13.2, 45.5, -12.4),
    },
    "NO": {"SJ": (-10, 70.5, 40, 82)},
    "NL": {"BQ": (-69, 11, -62, 18)},
    "": {"CX": (105, -11, 106, -10), "CC": (96, -13, 97, -11)},
}
#: Islands along Norway's coast that the box of Svalbard and Jan Mayen holds as well all end south of this latitude.
_SVALBARD = 74.0

_NOTE = (
    "A coarse map, not a statement on borders: disputed areas are drawn as Natural Earth draws them (who controls"
    " them). Somaliland and Northern Cyprus, which it draws apart and ISO 3166-1 gives no code, are SO and CY; Kosovo"
    " is XK; the Siachen Glacier has no country. Overseas parts of France, the Netherlands and Norway that have a code"
    " have it here. Arcs are lists x, y, dx, dy, dx, dy, ... in units of `step` degrees of longitude and latitude;"
    " `countries` maps codes to rings, each a list of arcs, n or, backwards, -1 - n. Holes are rings too: a point is"
    " inside where an odd number of rings hold it. Rings go on across the 180th meridian."
)


def arcs_of(topology: dict[str, Any]) -> list[np.ndarray]:
    """Return the arcs as whole numbers of `STEP`, (n, 2): longitude, latitude; repeated points left out."""
    scale, shift = np.array(topology["transform"]["scale"]), np.array(topology["transform"]["translate"])
    found = []
    for arc in topology["arcs"]:
        points = np.rint((np.cumsum(np.array(arc), axis=0) * scale + shift) / STEP).astype(int)
        new = np.r_[True, (np.diff(points, axis=0) != 0).any(axis=1)]
        found.append(_straight(points[new]))
    return found


def _straight(points: np.ndarray) -> np.ndarray:
    """Leave out the points that lie on the line between their neighbours."""
    if len(points) < 3:
        return points
    steps = np.diff(points, axis=0)
    turn = steps[:-1, 0] * steps[1:, 1] != steps[:-1, 1] * steps[1:, 0]
    back = (steps[:-1] * steps[1:]).sum(axis=1) < 0
    return points[np.r_[True, turn | back, True]]


def polygons(topology: dict[str, Any], codes: dict[str, str]) -> Iterator[tuple[str, list[list[int]]]]:
    """Yield every polygon as its country's code (empty for none) and its rings of arcs."""
    for shape in topology["objects"]["countries"]["geometries"]:
        name = shape["properties"]["name"]
        code = codes[shape["id"]] if shape.get("id") else WITHOUT_CODE.get(name, "")
        for polygon in [shape["arcs"]] if shape["type"] == "Polygon" else shape["arcs"]:
            yield code, polygon


def part_of(code: str, outer: np.ndarray) -> str:
    """Return the code of the territory that a polygon of a state is, else the state's own. `outer` is in degrees."""
    west, south, east, north = *outer.min(axis=0), *outer.max(axis=0)
    for part, (left, low, right, high) in PARTS.get(code, {}).items():
        inside = left <= west and low <= south and east <= right and north <= high
        mainland = part == "SJ" and north < _SVALBARD and east > 0
        if inside and not mainland:
            return part
    return code


def main(atlas: Path, iso: Path) -> None:
    """Write the map from the two packages' folders."""
    topology = json.loads((atlas / "countries-50m.json").read_text("utf-8"))
    codes = {numeric: alpha2 for alpha2, _, numeric, *_ in json.loads((iso / "codes.json").read_text("utf-8"))}
    arcs = arcs_of(topology)
    countries: dict[str, list[list[int]]] = {}
    for code, rings in polygons(topology, codes):
        outer = np.concatenate([arcs[n] if n >= 0 else arcs[-1 - n][::-1] for n in rings[0]]) * STEP
        countries.setdefault(part_of(code, outer), []).extend(rings)
    head = {
        "name": "country_shapes",
        "version": 1,
        "date": "2026-11-21",
        "source": "Natural Earth 4.1.0, Admin 0 countries, 1:50 million, by way of the npm package world-atlas 2.0.2",
        "licence": "public domain (Natural Earth); the repackaging: ISC, Copyright 2013-2019 Michael Bostock",
        "note": _NOTE,
        "step": STEP,
    }
    shapes = _lines([f"{json.dumps(code)}: {_short(countries[code])}" for code in sorted(countries)])
    deltas = _lines([_short(np.r_[arc[:1], np.diff(arc, axis=0)].ravel().tolist()) for arc in arcs])
    text = json.dumps(head, indent=1)[:-2] + f',\n "countries": {{{shapes}}},\n "arcs": [{deltas}]\n}}\n'
    OUT.write_text(text, "utf-8")
    print(f"{OUT.name}: {len(text)} bytes, {len(countries)} codes, {sum(map(len, arcs))} points")


def _short(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _lines(entries: list[str]) -> str:
    """Join entries of JSON, one a line."""
    return "\n  " + ",\n  ".join(entries) + "\n "


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
