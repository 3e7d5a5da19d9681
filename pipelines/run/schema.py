"""Every parquet schema that a run holds, in one place. `docs/schemas.md` is generated from here.

Each file carries `schema_version` in its metadata; a reader refuses a major version that it does not know.
"""

from __future__ import annotations

import pyarrow as pa

from filters.errors import BadInput

#: MAJOR.MINOR. A new nullable column raises MINOR; anything that an old reader would misread raises MAJOR.
SCHEMA_VERSION = "1.2"

_CODE = pa.dictionary(pa.int8(), pa.string())


def _field(name: str, kind: pa.DataType, doc: str, nullable: bool = True) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"doc": doc})


def _versioned(name: str, fields: list[pa.Field]) -> pa.Schema:
    return pa.schema(fields, metadata={"artefact": name, "schema_version": SCHEMA_VERSION})


SAMPLES = _versioned(
    "samples",
    [
        _field("uid", pa.string(), "32 hex digits: BLAKE2b-128 over image SHA-256, caption and canonical URL", False),
        _field("key", pa.string(), "the record's key in its shard", False),
        _field("shard", pa.string(), "the input shard, relative to the input", False),
        _field("caption", pa.string(), "the text as it came in (cut at limits.max_caption_bytes)"),
        _field("url", pa.string(), "where the picture is from"),
        _field("page_url", pa.string(), "the page that shows the picture"),
        _field("domain", pa.string(), "host of `url`, else of `page_url`: lower case, punycode, no trailing dot"),
        _field("creator", pa.string(), "who made the picture, as stated by the input"),
        _field("licence", pa.string(), "licence as stated by the input, a URI where there is one"),
        _field("folder", pa.string(), "folder of the record's name in the input"),
        _field("metadata", pa.string(), "all further fields of the input's JSON, as JSON with sorted keys"),
        _field("width", pa.int32(), "pixels as stored, before EXIF orientation"),
        _field("height", pa.int32(), "pixels as stored, before EXIF orientation"),
        _field("format", pa.string(), "png, jpeg, webp, gif, tiff, bmp, avif: sniffed, not believed"),
        _field(
            "gps_country", pa.string(), "ISO 3166-1 alpha-2 code of the country of the EXIF position, itself not kept"
        ),
        _field("nbytes", pa.int64(), "size of the picture's file in bytes"),
        _field("sha256", pa.string(), "SHA-256 of the original bytes, 64 hex digits"),
        _field("fetched_at", pa.timestamp("ms", tz="UTC"), "when the picture was downloaded; null for local input"),
        _field("failure", _CODE, "reason code where the record is not a readable pair"),
        _field("failure_detail", pa.string(), "what exactly was wrong"),
    ],
)

SIGNALS = _versioned(
    "signals",
    [
        _field("uid", pa.string(), "as in samples", False),
        _field("channel", _CODE, "the channel that holds the statement", False),
        _field("source", pa.string(), "URL, or part of the file or record, that holds it", False),
        _field("raw", pa.string(), "the statement as it was written (cut at 2,000 characters)", False),
        _field("verdict", _CODE, "deny, allow or unknown", False),
        _field("spec", _CODE, "specification and version by which it was read", False),
        _field("detail", pa.string(), "one sentence for people", False),
        _field("unreadable", pa.bool_(), "evidence is there, or its host gave no answer, and cannot be read", False),
        _field("fetched_at", pa.timestamp("ms", tz="UTC"), "when the evidence was fetched; null for local input"),
        _field("evidence_sha256", pa.string(), "SHA-256 of the evidence; its body stands in policies/"),
    ],
)

POLICIES = _versioned(
    "policies",
    [
        _field("sha256", pa.string(), "SHA-256 of the body, 64 hex digits", False),
        _field("body", pa.binary(), "the metadata packet as it stood in the picture", False),
    ],
)

MATCHES = _versioned(
    "matches",
    [
        _field("uid", pa.string(), "as in samples", False),
        _field("entry", pa.int64(), "number of the registry's entry", False),
        _field("kind", _CODE, "kind of the entry", False),
        _field("method", _CODE, "what was compared: the kind's own key, or `caption`", False),
        _field("outcome", _CODE, "deny, grant or review", False),
        _field("distance", pa.float32(), "differing bits (PDQ) or cosine (embedding); null for exact keys"),
        _field("detail", pa.string(), "what matched", False),
    ],
)

EVIDENCE = _versioned(
    "evidence",
    [
        _field("uid", pa.string(), "as in samples", False),
        _field("scorer", _CODE, "the scorer whose score rests on it", False),
        _field("kind", _CODE, "what was found: kind of mark or text, or body part", False),
        _field("text", pa.string(), "the text that was read; null where there is none"),
        _field("confidence", pa.float32(), "how sure the detector or reader was, 0 to 1", False),
        _field("box", pa.list_(pa.float32(), 4), "left, top, right, bottom: pixels of the upright picture", False),
    ],
)

#: The columns that every scores part starts with; the scorers' own columns follow.
SCORES_HEAD = [
    _field("uid", pa.string(), "as in samples", False),
    _field("failure", _CODE, "reason code where the picture could not be decoded"),
    _field("failure_detail", pa.string(), "what exactly was wrong"),
    _field("skipped", _CODE, "reason for which the sample was spared its costly scorers (cascade, opt-out)"),
]


def scores_schema(fields: list[pa.Field]) -> pa.Schema:
    """Return the schema of a scores part: its head and the scorers' columns (with their own metadata)."""
    return _versioned("scores", [*SCORES_HEAD, *fields])


KEYS = _versioned(
    "index",
    [
        _field("hash", pa.uint64(), "64 bits of the BLAKE2b of a key (`kind:key`) of a sample; sorted", False),
        _field("position", pa.int64(), "position of the sample in the run (parts in order)", False),
    ],
)

LEDGER = _versioned(
    "ledger",
    [
        _field("uid", pa.string(), "as in samples", False),
        _field("decision", _CODE, "kept or dropped", False),
        _field("primary_reason", _CODE, "first of the reasons in order of precedence; null when kept"),
        _field("reasons", pa.list_(_CODE), "every reason that applies, in order of precedence", False),
        _field("weight", pa.float32(), "sampling weight for training, mean 1 over the kept; null when dropped"),
        _field("cluster", pa.int64(), "duplicate cluster; null when the sample has no duplicate"),
        _field("duplicate_of", pa.string(), "uid of the sample kept in its place"),
        _field("duplicate_method", _CODE, "how that was found: method as in duplicates/edges"),
        _field("duplicate_distance", pa.float32(), "how far it is from that one, in the method's unit"),
        _field("alike_opt_out", pa.string(), "uid of an opted-out sample that this kept one is a duplicate of"),
        _field("group", pa.string(), "value of the column that balance.cap counts by"),
        _field("shard", pa.int32(), "output shard that holds the sample; null when dropped"),
    ],
)

EDGES = _versioned(
    "duplicates/edges",
    [
        _field("a", pa.int64(), "position of one sample in the run (parts in order)", False),
        _field("b", pa.int64(), "position of the other", False),
        _field("method", _CODE, "sha256, pixels, phash, pdq, pdq_dihedral or embedding", False),
        _field("distance", pa.float32(), "differing bits; 1 - cosine for embedding; 0 for sha256 and pixels", False),
    ],
)

CLUSTERS = _versioned(
    "duplicates/clusters",
    [
        _field("position", pa.int64(), "position of the sample in the run (parts in order)", False),
        _field("uid", pa.string(), "as in samples", False),
        _field("cluster", pa.int64(), "smallest position of the cluster's members", False),
        _field("exact", pa.int64(), "smallest position with the same SHA-256", False),
    ],
)

CONTAMINATION = _versioned(
    "duplicates/contamination",
    [
        _field("position", pa.int64(), "position of the sample in the run (parts in order)", False),
        _field("source", pa.int32(), "which entry of `duplicates.against`, from 0", False),
        _field("other", pa.string(), "uid, else the row, of the nearest sample there", False),
        _field("method", _CODE, "as in duplicates/edges", False),
        _field("distance", pa.float32(), "as in duplicates/edges", False),
    ],
)

CAPTION_COUNTS = _versioned(
    "statistics/captions",
    [
        _field("hash", pa.uint64(), "hash of the normalised caption", False),
        _field("count", pa.int64(), "samples of the corpus that carry it (2 or more)", False),
    ],
)

WORD_COUNTS = _versioned(
    "statistics/words",
    [
        _field("word", pa.string(), "content word of captions", False),
        _field("count", pa.int64(), "samples of the corpus whose caption has it", False),
    ],
)

#: The column that every groups part starts with; one column a declared group follows.
GROUPS_HEAD = [_field("uid", pa.string(), "as in samples", False)]


def groups_schema(groups: list[tuple[str, str]]) -> pa.Schema:
    """Return the schema of a groups part: its head and, for each (name, how it is found), the sample's values."""
    kind = pa.list_(pa.string())
    return _versioned("groups", [*GROUPS_HEAD, *(_field(name, kind, doc, False) for name, doc in groups)])


SIDECAR_HEAD = [
    _field("uid", pa.string(), "as in samples", False),
    _field("key", pa.string(), "key in the output shard", False),
    _field("weight", pa.float32(), "sampling weight for training", False),
    _field("sha256", pa.string(), "SHA-256 of the picture's bytes", False),
    _field("caption", pa.string(), "as in samples", False),
]


def sidecar_schema(fields: list[pa.Field]) -> pa.Schema:
    """Return the schema of a shard's sidecar: its head and the score columns."""
    return _versioned("shards", [*SIDECAR_HEAD, *fields])


def embeddings_schema(dimension: int) -> pa.Schema:
    """Return the schema of an embeddings part: vectors of picture and caption, half precision, rows as in samples."""
    vector = pa.list_(pa.float16(), dimension)
    return _versioned(
        "embeddings",
        [
            _field("uid", pa.string(), "as in samples", False),
            # not null: parquet readers refuse fixed-size lists with nulls
            _field("image", vector, "L2-normalised picture embedding; zeros where there is none", False),
            _field("text", vector, "L2-normalised caption embedding; zeros where there is none", False),
        ],
    )


#: Artefacts with a fixed schema, by name.
FIXED = {
    "samples": SAMPLES,
    "signals": SIGNALS,
    "policies": POLICIES,
    "matches": MATCHES,
    "evidence": EVIDENCE,
    "ledger": LEDGER,
    "duplicates/edges": EDGES,
    "duplicates/clusters": CLUSTERS,
    "duplicates/contamination": CONTAMINATION,
    "statistics/captions": CAPTION_COUNTS,
    "statistics/words": WORD_COUNTS,
}


def check_version(schema: pa.Schema, path: str) -> None:
    """Refuse a parquet file whose schema has another major version. Raises `BadInput`."""
    metadata = schema.metadata or {}
    version = metadata.get(b"schema_version", b"none").decode()
    if version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        raise BadInput(
            f"{path}: schema version {version}, this Assay reads {SCHEMA_VERSION}: use the Assay that wrote it"
        )
