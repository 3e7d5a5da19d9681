"""Countries and UN regions: by a domain's country code, and by the names, capitals and nationalities in a caption."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import cast

from audit.groups.base import Level
from audit.groups.lexicon import Lexicon, data_file, parse
from filters.errors import BadInput

#: Prefix of a value that names a region and no country ("African").
_REGION = "region:"


@dataclass(frozen=True)
class Country:
    """One country or territory of ISO 3166-1: its name, UN M49 region (six of them) and subregion."""

    code: str
    name: str
    region: str
    subregion: str


@cache
def countries() -> Mapping[str, Country]:
    """Return the countries by ISO 3166-1 alpha-2 code."""
    found = cast(dict[str, dict[str, str]], data_file("places.json")["countries"])
    return {code: Country(code, item["name"], item["region"], item["subregion"]) for code, item in found.items()}


@cache
def _by_tld() -> Mapping[str, str]:
    found = cast(dict[str, dict[str, list[str]]], data_file("places.json")["countries"])
    generic = set(cast(list[str], data_file("places.json")["generic_tlds"]))
    return {tld: code for code, item in found.items() for tld in item["tld"] if tld not in generic}


def country_of_domain(domain: str) -> str | None:
    """Return the country whose top-level domain a host name ends in, as a code; None where it says no country.

    Country codes that are sold to all the world (.io, .ai, .tv, .me, .co, …) say none.
    """
    return _by_tld().get(tld(domain))


def tld(domain: str) -> str:
    """Return the last label of a host name, lower case and in its ASCII form; empty for an address or none."""
    last = domain.strip().rstrip(".").rpartition(".")[2].lower()
    if not last or last.isdigit() or ":" in last or "]" in last or not domain.strip().strip("."):
        return ""
    if last.isascii():
        return last
    try:
        return "xn--" + last.encode("punycode").decode("ascii")
    except UnicodeError:
        return ""


@cache
def gazetteer() -> Lexicon:
    """Return the words for places as a lexicon: a value is a country's code, or `region:` and a region."""
    data = data_file("places.json")
    found = cast(dict[str, dict[str, list[str]]], data["countries"])
    regions = cast(dict[str, list[str]], data["regions"])
    values = {code: item["terms"] for code, item in found.items() if item["terms"]}
    values |= {_REGION + name: terms for name, terms in regions.items() if terms}
    return parse({**data, "values": values}, "places")


def at_level(value: str, level: Level) -> str | None:
    """Return the value of a gazetteer's value at a level (`country` gives the code); None where it has none there."""
    if value.startswith(_REGION):
        return value.removeprefix(_REGION) if level == "region" else None
    country = countries()[value]
    return {"country": country.code, "subregion": country.subregion, "region": country.region}[level]


@dataclass(frozen=True)
class Reference:
    """Shares that a group is compared with: value -> share (adding up to 1), a short name, and where they are from."""

    name: str
    shares: Mapping[str, float]
    source: str
    date: str


@cache
def un_population() -> Reference:
    """Return the shares of the world's population by the six UN regions, with their source and year."""
    data = data_file("un_population.json")
    people = cast(dict[str, int], data["values"])
    total = sum(people.values())
    shares = {region: count / total for region, count in people.items()}
    return Reference(f"UN population {data['year']}", shares, cast(str, data["source"]), cast(str, data["date"]))


def reference(name: str, shares: Mapping[str, float], source: str, date: str) -> Reference:
    """Make a reference of a user's own shares or counts (they are divided by their sum). Raises `BadInput`."""
    for value, share in shares.items():
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < float("inf"):
            raise BadInput(f"reference.{value}: {share} is no share: give a number of 0 or more")
    total = float(sum(shares.values()))
    if not 0 < total < float("inf"):
        raise BadInput("reference: the shares add up to nothing: give at least one above 0")
    return Reference(name, {value: share / total for value, share in shares.items()}, source, date)
