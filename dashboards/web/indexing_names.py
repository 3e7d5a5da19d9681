"""Tables of an index for questions by name: distinct creators and domains, and the keys that a creator answers to.

A search reads these tables and not every row. Names are grouped by DuckDB, which spills to its scratch folder, and
their keys are made a few thousand at a time: memory does not grow with the run.
"""

from __future__ import annotations

from collections.abc import Callable

import duckdb
import pyarrow as pa

from filters.optout.names import creator_keys, name_key
from filters.optout.urls import canonical_host

#: Names whose keys are made at a time.
_NAMES = 10_000

#: Characters of a name that its words are taken from; `creator_keys` has a bound of its own.
_LONGEST = 4_000


def canonical_hosts(domains: pa.ChunkedArray) -> pa.Array:
    """Return hosts (n,) in the one spelling by which addresses are compared; what is no host stays as it is.

    Runs of earlier versions kept them as addresses spell them, which counted one host as several.
    """
    coded = domains.combine_chunks().dictionary_encode()
    hosts = [canonical_host(text) or text for text in coded.dictionary.to_pylist()]
    return pa.array(hosts, pa.string()).take(coded.indices)


def name_tables(connection: duckdb.DuckDBPyConnection, told: Callable[[], None]) -> None:
    """Add `domains`, `creators` and `creator_keys`; `told` is called between steps and may raise to stop.

    `creators.words` is the name as `name_key` spells it, `creator_keys` has all keys that it answers to.
    """
    for table, column in (("domains", "domain"), ("creators", "creator")):
        connection.execute(
            f"CREATE TABLE {table} AS SELECT row_number() OVER (ORDER BY n DESC, value) AS id, * FROM "
            f"(SELECT {column} AS value, count(*) AS n, count(*) FILTER (kept) AS kept FROM samples "
            f"WHERE coalesce({column}, '') <> '' GROUP BY {column})"
        )
        told()
    connection.execute("CREATE TABLE creator_keys (key VARCHAR, id BIGINT)")
    connection.execute("CREATE TABLE creator_words (words VARCHAR, id BIGINT)")
    ((count,),) = connection.execute("SELECT count(*) FROM creators").fetchall()
    for start in range(1, int(count) + 1, _NAMES):
        _add_keys(connection, start)
        told()
    connection.execute(
        "CREATE OR REPLACE TABLE creators AS SELECT id, value, n, kept, words FROM creators "
        "JOIN creator_words USING (id) ORDER BY id"
    )
    connection.execute("DROP TABLE creator_words")


def _add_keys(connection: duckdb.DuckDBPyConnection, start: int) -> None:
    names = connection.execute(
        f"SELECT id, left(value, {_LONGEST:d}) FROM creators WHERE id BETWEEN {start:d} AND {start + _NAMES - 1:d}"
    ).fetchall()
    pairs = [(key, number) for number, name in names for key in sorted(creator_keys(name))]
    words = [(name_key(name), number) for number, name in names]
    for table, rows in (("creator_keys", pairs), ("creator_words", words)):
        values = pa.table({"value": [text for text, _ in rows], "id": pa.array([i for _, i in rows], pa.int64())})
        connection.register("incoming_names", values)
        connection.execute(f"INSERT INTO {table} SELECT * FROM incoming_names")
        connection.unregister("incoming_names")
