"""The country of a position on the globe, by a small packaged map; nothing is asked of any service.

The map is Natural Earth's at 1:50 million (data/country_shapes.json, written by scripts/build_countries.py). It is
right to some kilometres, and draws disputed areas as Natural Earth does. Tuvalu, Tokelau and Gibraltar are not on it,
and Vatican City is too small to be found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import numpy as np

from audit.groups.lexicon import data_file

#: Name of the map's file; its version stands in it.
SHAPES = "country_shapes.json"
#: A point off every coast has the country of the nearest one up to here, in kilometres: the territorial sea (12
#: nautical miles, UNCLOS Art. 3) and what a map of this scale leaves out, rounded to 30.
NEAR_KM = 30.0
#: Kilometres of one degree of latitude (40,008 km round the poles).
_KM = 111.13
#: Points that are compared with all boxes at once, and about the most cells (point and edge) of one comparison.
_POINTS, _CELLS = 2048, 2_000_000


@dataclass(frozen=True)
class _Map:
    """Rings in units of degrees: `points` closed, longitudes going on past 180; `boxes` (n, 4) west, south, east,
    north; `codes` of each ring's country, numbers into `names` (an empty name: nobody's)."""

    points: tuple[np.ndarray, ...]
    boxes: np.ndarray
    codes: np.ndarray
    names: tuple[str, ...]


def country_of(latitudes: Sequence[float] | np.ndarray, longitudes: Sequence[float] | np.ndarray) -> list[str | None]:
    """Return the ISO 3166-1 alpha-2 code of the country that each point is in (XK for Kosovo).

    `latitudes` (-90 to 90) and `longitudes` (-180 to 180) are degrees, as many of each. A point at sea has the country
    of the nearest coast up to `NEAR_KM`; further out, out of range, not a number or in nobody's land: None. Raises
    ValueError where one list is longer.
    """
    y, x = np.asarray(latitudes, dtype=np.float64).ravel(), np.asarray(longitudes, dtype=np.float64).ravel()
    if len(y) != len(x):
        raise ValueError(f"{len(y)} latitudes, {len(x)} longitudes")
    shapes = _shapes()
    found = np.full(len(y), -1, dtype=np.int64)
    with np.errstate(invalid="ignore"):
        sound = np.flatnonzero((np.abs(y) <= 90) & (np.abs(x) <= 180))
    for start in range(0, len(sound), _POINTS):
        some = sound[start : start + _POINTS]
        codes = _inside(shapes, y[some], x[some])
        off = np.flatnonzero(codes < 0)
        codes[off] = _nearest(shapes, y[some][off], x[some][off])
        found[some] = codes
    return [(shapes.names[code] or None) if code >= 0 else None for code in found]


def map_version() -> str:
    """Return name and version of the map, for fingerprints and reports."""
    data = data_file(SHAPES)
    return f"{data['name']} {data['version']}"


@lru_cache(maxsize=1)
def _shapes() -> _Map:
    data = data_file(SHAPES)
    step = cast(float, data["step"])
    arcs = [np.cumsum(np.reshape(arc, (-1, 2)), axis=0) for arc in cast(list[list[int]], data["arcs"])]
    countries = cast(Mapping[str, list[list[int]]], data["countries"])
    rings, codes = [], []
    for number, listed in enumerate(countries.values()):
        for ring in listed:
            parts = [arcs[n] if n >= 0 else arcs[-1 - n][::-1] for n in ring]
            rings.append(_closed(np.concatenate(parts) * step))
            codes.append(number)
    boxes = np.array([[*ring.min(axis=0), *ring.max(axis=0)] for ring in rings])
    return _Map(tuple(rings), boxes, np.array(codes), tuple(countries))


def _closed(ring: np.ndarray) -> np.ndarray:
    """Let longitudes go on past 180 instead of jumping; a ring round the South Pole is closed along it."""
    ring = np.c_[np.unwrap(ring[:, 0], period=360.0), ring[:, 1]]
    if abs(ring[-1, 0] - ring[0, 0]) > 180:
        ring = np.r_[ring, [[ring[-1, 0], -90.0], [ring[0, 0], -90.0]]]
    # from the same turn on, so that a point need be tried in three of them only
    ring[:, 0] -= 360.0 * np.floor((ring[:, 0].min() + 180.0) / 360.0)
    return np.concatenate([ring, ring[:1]])


def _candidates(
    shapes: _Map, y: np.ndarray, x: np.ndarray, margin: float, wide: np.ndarray | float
) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Return (ring, points, longitudes to try them at) for all rings whose box, made wider, holds some of the points.

    `margin` is in degrees of latitude, `wide` in degrees of longitude, (n,) or one for all.
    """
    west, south, east, north = (shapes.boxes[:, side] for side in range(4))
    in_height = (y[:, None] >= south - margin) & (y[:, None] <= north + margin)
    spread = np.broadcast_to(np.asarray(wide, dtype=np.float64), x.shape)[:, None]
    pairs = []
    for turn in (-360.0, 0.0, 360.0):
        at = (x + turn)[:, None]
        points, rings = np.nonzero(in_height & (at >= west - spread) & (at <= east + spread))
        pairs.append(np.stack([rings, points, np.full(len(rings), turn)]))
    rings, points, turns = np.concatenate(pairs, axis=1)
    order = np.argsort(rings, kind="stable")
    rings, points, turns = rings[order].astype(np.int64), points[order].astype(np.int64), turns[order]
    ends = np.r_[np.flatnonzero(rings[1:] != rings[:-1]) + 1, len(rings)] if len(rings) else np.zeros(0, dtype=int)
    found = []
    for first, last in zip(np.r_[0, ends[:-1]], ends, strict=True) if len(rings) else ():
        some = points[first:last]
        size = max(1, _CELLS // len(shapes.points[rings[first]]))
        for cut in range(0, len(some), size):
            here = some[cut : cut + size]
            found.append((int(rings[first]), here, x[here] + turns[first:last][cut : cut + size]))
    return found


def _inside(shapes: _Map, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the number of the country that holds each point, -1 for none: an odd number of its rings hold it."""
    odd: dict[int, np.ndarray] = {}
    for ring, points, at in _candidates(shapes, y, x, 0.0, 0.0):
        held = _holds(shapes.points[ring], y[points], at)
        country = int(shapes.codes[ring])
        odd.setdefault(country, np.zeros(len(y), dtype=np.int64))
        np.add.at(odd[country], points, held)
    codes = np.full(len(y), -1, dtype=np.int64)
    for country in sorted(odd):
        codes[(odd[country] % 2 == 1) & (codes < 0)] = country
    return codes


def _holds(ring: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Tell which points a ring holds: a line to the east of them crosses an odd number of edges."""
    (x0, y0), (x1, y1) = ring[:-1].T[:, None, :], ring[1:].T[:, None, :]
    across = (y0 > y[:, None]) != (y1 > y[:, None])
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = x0 + (y[:, None] - y0) / (y1 - y0) * (x1 - x0)
        return cast(np.ndarray, (across & (x[:, None] < crossing)).sum(axis=1) % 2 == 1)


def _nearest(shapes: _Map, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the country of the nearest border up to `NEAR_KM`, -1 for none; flat geometry around each point."""
    codes, least = np.full(len(y), -1, dtype=np.int64), np.full(len(y), NEAR_KM / _KM)
    shrink = np.maximum(np.cos(np.radians(y)), 0.01)  # degrees of longitude get short towards the poles
    for ring, points, at in _candidates(shapes, y, x, NEAR_KM / _KM, NEAR_KM / _KM / shrink):
        away = _distances(shapes.points[ring], y[points], at, shrink[points])
        nearer = away < least[points]
        least[points[nearer]] = away[nearer]
        codes[points[nearer]] = shapes.codes[ring]
    return codes


def _distances(ring: np.ndarray, y: np.ndarray, x: np.ndarray, shrink: np.ndarray) -> np.ndarray:
    """Return the distance of each point to the nearest edge of a ring, in degrees of latitude."""
    east = (ring[:, 0] - x[:, None]) * shrink[:, None]
    north = ring[:, 1] - y[:, None]
    step_east, step_north = np.diff(east, axis=1), np.diff(north, axis=1)
    length = step_east**2 + step_north**2
    along = -(east[:, :-1] * step_east + north[:, :-1] * step_north) / np.where(length > 0, length, 1.0)
    along = np.clip(along, 0.0, 1.0)
    away: np.ndarray = np.hypot(east[:, :-1] + along * step_east, north[:, :-1] + along * step_north)
    return cast(np.ndarray, away.min(axis=1))
