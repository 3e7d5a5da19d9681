"""Parquet schemas of the audit's tables."""

from __future__ import annotations

import pyarrow as pa

from pipelines.run.schema import SCHEMA_VERSION


def _field(name: str, kind: pa.DataType, doc: str, nullable: bool = True) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"doc": doc})


def _versioned(name: str, fields: list[pa.Field]) -> pa.Schema:
    return pa.schema(fields, metadata={"artefact": name, "schema_version": SCHEMA_VERSION})


TALLY = _versioned(
    "audit/tally",
    [
        _field("group", pa.string(), "group; empty for all samples", False),
        _field("value", pa.string(), "its value; empty for all samples", False),
        _field("other", pa.string(), "second group where two are crossed, else empty", False),
        _field("other_value", pa.string(), "its value, else empty", False),
        _field("outcome", pa.string(), "what is counted: all, kept, reached:STAGE, first:, failed:, only:CODE", False),
        _field("count", pa.int64(), "samples; for weight and weight2 the sum in units of 1 / 1,048,576", False),
    ],
)

FINDINGS = _versioned(
    "audit/findings",
    [
        _field("section", pa.string(), "composition, reference, rate, impact, attribution, association, …", False),
        _field("metric", pa.string(), "what was measured", False),
        _field("group", pa.string(), "group that it is about"),
        _field("value", pa.string(), "its value"),
        _field("against", pa.string(), "what it is compared with"),
        _field("concept", pa.string(), "concept, for associations"),
        _field("reason", pa.string(), "reason code of the rule, or chain"),
        _field("subject", pa.string(), "all of whom it is about, as JSON with sorted keys", False),
        _field("state", pa.string(), "found, small, unclear, described, not measured", False),
        _field("figure", pa.float64(), "the figure; null where not measured"),
        _field("low", pa.float64(), "lower end of its 95 % interval"),
        _field("high", pa.float64(), "upper end of its 95 % interval"),
        _field("p", pa.float64(), "p of the single test"),
        _field("q", pa.float64(), "q over the section: false discovery rate"),
        _field("n", pa.int64(), "samples that it rests on", False),
        _field("words", pa.string(), "the finding as a sentence", False),
    ],
)

AUDIT = {"audit/tally": TALLY, "audit/findings": FINDINGS}
