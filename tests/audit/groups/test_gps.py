"""Positions become countries: cities, islands on the 180th meridian, enclaves, sea and poles; the rest has none."""

import json
import math
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from audit.groups import Assigner, Group
from audit.groups.gps import NEAR_KM, country_of, map_version
from audit.groups.places import countries
from filters.errors import BadInput

CITIES = {
    "Paris": (48.857, 2.352, "FR"),
    "Nairobi": (-1.292, 36.822, "KE"),
    "Suva": (-18.142, 178.442, "FJ"),
    "Fiji, east of the 180th meridian": (-16.85, -179.98, "FJ"),
    "Lau islands": (-17.2, -178.95, "FJ"),
    "Wrangel island": (71.2, -179.5, "RU"),
    "Anadyr": (64.73, 177.5, "RU"),
    "Chukotka": (66.0, -173.0, "RU"),
    "Moscow": (55.75, 37.62, "RU"),
    "Attu": (52.9, 173.0, "US"),
    "Honolulu": (21.3, -157.86, "US"),
    "New York": (40.71, -74.0, "US"),
    "Singapore": (1.352, 103.82, "SG"),
    "Hong Kong": (22.32, 114.17, "HK"),
    "Tokyo": (35.68, 139.69, "JP"),
    "Delhi": (28.61, 77.21, "IN"),
    "Lagos": (6.45, 3.39, "NG"),
    "Cairo": (30.04, 31.24, "EG"),
    "Johannesburg": (-26.2, 28.05, "ZA"),
    "Maseru, inside South Africa": (-29.31, 27.48, "LS"),
    "San Marino, inside Italy": (43.94, 12.45, "SM"),
    "Rome": (41.89, 12.51, "IT"),
    "Cayenne": (4.92, -52.31, "GF"),
    "Saint-Denis, Réunion": (-20.88, 55.45, "RE"),
    "Mamoudzou": (-12.78, 45.23, "YT"),
    "Longyearbyen": (78.22, 15.64, "SJ"),
    "North Cape": (71.17, 25.78, "NO"),
    "Kralendijk": (12.15, -68.27, "BQ"),
    "Pristina": (42.66, 21.16, "XK"),
    "São Paulo": (-23.55, -46.63, "BR"),
    "Ushuaia": (-54.8, -68.3, "AR"),
    "Sydney": (-33.87, 151.21, "AU"),
    "Auckland": (-36.85, 174.76, "NZ"),
    "Chatham islands": (-43.95, -176.55, "NZ"),
    "Mexico City": (19.43, -99.13, "MX"),
    "Taipei": (25.03, 121.56, "TW"),
    "Malé": (4.175, 73.51, "MV"),
    "McMurdo": (-77.85, 166.67, "AQ"),
}


def one(latitude, longitude):
    return country_of([latitude], [longitude])[0]


def test_cities_of_all_continents_and_both_sides_of_the_180th_meridian():
    latitudes, longitudes, codes = zip(*CITIES.values(), strict=True)
    assert dict(zip(CITIES, country_of(latitudes, longitudes), strict=True)) == dict(zip(CITIES, codes, strict=True))
    assert [one(y, x) for y, x in zip(latitudes, longitudes, strict=True)] == list(codes)


def test_the_meridian_itself_has_one_country_from_both_sides():
    assert one(-16.8, 180.0) == one(-16.8, -180.0) == "FJ"
    assert one(68.0, 180.0) == one(68.0, -180.0) == "RU"
    assert one(-85.0, 180.0) == one(-85.0, -180.0) == "AQ"


def test_the_south_pole_is_land_and_the_north_pole_is_not():
    assert [one(-90.0, x) for x in (-180.0, -90.0, 0.0, 45.0, 180.0)] == ["AQ"] * 5
    assert [one(90.0, x) for x in (-180.0, 0.0, 180.0)] == [None] * 3


def test_the_sea_belongs_to_the_nearest_coast_up_to_thirty_kilometres():
    assert country_of([30.0, -40.0, 0.0, 48.0], [-40.0, -120.0, 0.0, -6.0]) == [None] * 4
    degree = 111.13
    # the coast of the Landes runs north and south at 1.3 degrees west
    shrink = math.cos(math.radians(44.5))
    off = [-1.26 - km / degree / shrink for km in (5.0, NEAR_KM - 5, NEAR_KM + 5)]
    assert country_of([44.5] * 3, off) == ["FR", "FR", None]
    assert one(54.56, 11.3) in ("DK", "DE")  # between two coasts, 10 km from each


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [(math.nan, 2.0), (48.0, math.nan), (math.inf, 2.0), (48.0, -math.inf), (91.0, 2.0), (-90.01, 0.0), (48.0, 181.0)],
)
def test_what_is_no_position_has_no_country_and_leaves_the_others_theirs(latitude, longitude):
    assert country_of([48.857, latitude, -1.292], [2.352, longitude, 36.822]) == ["FR", None, "KE"]


def test_no_points_and_lists_of_two_lengths():
    assert country_of([], []) == []
    assert country_of(np.zeros(0), np.zeros(0)) == []
    with pytest.raises(ValueError, match="1 latitudes, 2 longitudes"):
        country_of([1.0], [1.0, 2.0])


def test_countries_have_the_shares_of_the_globe_that_they_have():
    number = np.arange(10_000) + 0.5  # a spiral of equal areas round the globe
    latitudes = np.degrees(np.arcsin(1 - 2 * number / len(number)))
    longitudes = np.degrees(np.pi * (1 + math.sqrt(5)) * number) % 360 - 180
    found = country_of(latitudes, longitudes)
    # 29.2 % land, less ice shelves, and a strip of 30 km along the coasts
    assert 0.29 < sum(code is not None for code in found) / len(found) < 0.34
    # million square kilometres (rounded, land and lakes), of 510 of the globe; long coasts add to it
    for code, area in (("RU", 17.1), ("CN", 9.6), ("BR", 8.5), ("AU", 7.7), ("IN", 3.3), ("KZ", 2.7), ("DZ", 2.4)):
        assert found.count(code) / len(found) == pytest.approx(area / 510, rel=0.12)
    assert found[:300] == [one(y, x) for y, x in zip(latitudes[:300], longitudes[:300], strict=True)]


def test_ten_thousand_positions_take_seconds_not_minutes():
    one(0.0, 0.0)
    begun = time.process_time()
    country_of(np.full(10_000, 62.0), np.full(10_000, 100.0))
    assert time.process_time() - begun < 10


def test_the_map_states_its_source_and_knows_only_codes_of_the_gazetteer_and_antarctica():
    path = Path(__file__).parents[3] / "audit" / "groups" / "data" / "country_shapes.json"
    stated = json.loads(path.read_text("utf-8"))
    assert "Natural Earth 4.1.0" in stated["source"]
    assert "public domain" in stated["licence"]
    assert "disputed" in stated["note"]
    assert set(stated["countries"]) - set(countries()) == {"", "AQ"}
    assert path.stat().st_size < 500_000
    assert map_version() == "country_shapes 1"


def values(level, codes, **columns):
    (found,) = Assigner([Group("taken", "gps", level=level)]).assign(pa.table({"gps_country": codes, **columns}))
    return [(int(row), found.values[code]) for row, code in zip(found.rows, found.codes, strict=True)]


def test_a_gps_group_has_the_values_of_places_at_every_level():
    codes = ["KE", None, "FR", "AQ", "XX", "RE"]
    assert values("country", codes) == [(0, "KE"), (2, "FR"), (3, "AQ"), (5, "RE")]
    assert values("subregion", codes) == [(0, "Eastern Africa"), (2, "Western Europe"), (5, "Eastern Africa")]
    assert values("region", codes) == [(0, "Africa"), (2, "Europe"), (5, "Africa")]
    assert values("region", pa.array([None, None], pa.string())) == []


def test_a_run_from_before_the_column_has_no_values_but_a_column_asked_for_by_name_must_be_there():
    (found,) = Assigner([Group("taken", "gps")]).assign(pa.table({"caption": ["a", "b"]}))
    assert (found.values, len(found.rows)) == ((), 0)
    with pytest.raises(BadInput, match="no column land"):
        Assigner([Group("taken", "gps", column="land")]).assign(pa.table({"caption": ["a"]}))


def test_levels_that_positions_do_not_have_are_refused():
    with pytest.raises(BadInput, match="level host"):
        Group("taken", "gps", level="host")
