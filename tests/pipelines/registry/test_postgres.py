"""What only PostgreSQL has: passwords, TLS settings, a server that is not there, TRUNCATE."""

from __future__ import annotations

import pytest

from filters.errors import BadInput
from filters.optout.entries import Draft, Kind
from pipelines.registry import create_registry, open_registry
from pipelines.registry.matcher import Matcher
from pipelines.registry.postgres import _settings, _without_password


def test_a_registry_is_matched_while_others_write(postgres_url, tmp_path, samples_of):

    with create_registry(postgres_url) as registry:
        snapshot = registry.append([Draft(Kind.DOMAIN, "x.org"), Draft(Kind.CREATOR, "Jane Doe")]).snapshot
        with open_registry(postgres_url) as other:
            other.append([Draft(Kind.DOMAIN, "y.org")])
        matcher = Matcher(registry, snapshot, folder=tmp_path)
        rows = matcher.match(samples_of(url=["https://a.x.org/1", "https://y.org/1"])).to_pylist()
        assert [(row["entry"], row["outcome"]) for row in rows] == [(1, "deny")]


def test_truncating_is_refused(postgres_url):
    with create_registry(postgres_url) as registry:
        with pytest.raises(BadInput, match="append-only"):
            registry.database.rows("TRUNCATE optout_entries")
        with pytest.raises(BadInput, match="there is a registry already"):
            create_registry(postgres_url)


def test_no_password_is_shown(postgres_url, postgres_server):
    for url in (postgres_url.replace("se%3A", "wrong"), postgres_server + "/nothere", postgres_url):
        with pytest.raises(BadInput) as caught:
            open_registry(url)
        assert "cret" not in str(caught.value)
    with pytest.raises(BadInput) as caught:
        open_registry("postgresql://assay:se%3Acret%401@127.0.0.1:1/x")
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        *("postgresql://host/db", "postgresql://u@host", "postgresql://u@host:99999/db", "postgresql://u@host/db?a=b"),
        "postgresql://u@host/db?sslmode=maybe",
    ],
)
def test_urls_that_say_too_little_are_refused(url):
    with pytest.raises(BadInput):
        _settings(url, _without_password(url))


def test_settings_of_a_url():
    found = _settings("postgresql://us%40er:p%2Fw@db.example:6432/name?sslmode=verify-full", "x")
    assert (found["user"], found["password"], found["host"], found["port"], found["database"]) == (
        *("us@er", "p/w", "db.example", 6432, "name"),
    )
    assert found["ssl_context"].check_hostname
    assert _settings("postgresql://u@h/db?host=/run/pg", "x")["unix_sock"] == "/run/pg/.s.PGSQL.5432"
