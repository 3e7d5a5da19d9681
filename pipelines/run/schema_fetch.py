"""Parquet schemas of a URL list's slices and of what came of their rows."""

from __future__ import annotations

import pyarrow as pa

from pipelines.run.schema import SCHEMA_VERSION, SIGNALS


def _field(name: str, kind: pa.DataType, doc: str, nullable: bool = True) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"doc": doc})


_TIME = pa.timestamp("ms", tz="UTC")
_CODE = pa.dictionary(pa.int8(), pa.string())

LISTS = pa.schema(
    [
        _field("row", pa.int64(), "number of the row in the whole list, from 0", False),
        _field("key", pa.string(), "the row's key, `row-` and its number where the list has none", False),
        _field("url", pa.string(), "address of the picture as the list states it"),
        _field("page_url", pa.string(), "address of the page that shows it"),
        _field("columns", pa.string(), "all columns of the row as JSON with sorted keys"),
        _field("failure", _CODE, "reason code where the row could not be read"),
        _field("failure_detail", pa.string(), "what exactly was wrong"),
    ],
    metadata={"artefact": "lists", "schema_version": SCHEMA_VERSION},
)

#: One rights statement, as in `signals` but for the uid, which a picture gets later.
SIGNAL = pa.struct(
    [
        pa.field(f.name, pa.string() if pa.types.is_dictionary(f.type) else f.type, f.nullable)
        for f in SIGNALS
        if f.name != "uid"
    ]
)

#: One policy document that a row relied on; bodies stand in policies/ by hash.
POLICY = pa.struct(
    [
        pa.field("kind", pa.string(), False),
        pa.field("url", pa.string(), False),
        pa.field("state", pa.string(), False),
        pa.field("http_status", pa.int32()),
        pa.field("fetched_at", pa.string()),
        pa.field("sha256", pa.string()),
        pa.field("error", pa.string()),
    ]
)

DOWNLOADS = pa.schema(
    [
        *(LISTS.field(name) for name in ("row", "key", "url", "page_url", "columns")),
        _field("final_url", pa.string(), "the address that was asked last, after redirects; null where none was"),
        _field("status", _CODE, "ok, opt_out, refused, network, http, size, decode or harmful", False),
        _field("reason", _CODE, "reason code; null for ok"),
        _field("detail", pa.string(), "what exactly went wrong"),
        _field("http_status", pa.int32(), "status of the last answer"),
        _field("attempts", pa.int32(), "tries, the first included; 0 where nothing had to be asked", False),
        _field("headers", pa.string(), "fields of the last answer as a JSON list of pairs, cookies left out"),
        _field("fetched_at", _TIME, "when the last answer began; null where there was none"),
        _field("sha256", pa.string(), "SHA-256 of the picture's bytes"),
        _field("nbytes", pa.int64(), "size of the picture's bytes"),
        _field("robots_sha256", pa.string(), "SHA-256 of the last host's robots.txt; null where it has none"),
        _field("tdmrep_sha256", pa.string(), "the same for /.well-known/tdmrep.json"),
        _field("ai_txt_sha256", pa.string(), "the same for /ai.txt"),
        _field("policies", pa.list_(POLICY), "every policy document that was relied on, of all hosts on the way"),
        _field("signals", pa.list_(SIGNAL), "rights statements of hosts, headers and the page"),
    ],
    metadata={"artefact": "downloads", "schema_version": SCHEMA_VERSION},
)
