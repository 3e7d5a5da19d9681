"""Rights signals of one part: what the source captured, the picture's file and the record itself say.

They are read while ingest has the picture's bytes in hand, so no picture is read twice for them.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from filters.errors import BadInput, first_line
from filters.optout.base import Evidence, Signal, clipped
from filters.optout.image_rights import ImageRights
from pipelines.run.parts import PartWriter, part_name
from pipelines.run.recipe_rights import Rights
from pipelines.run.schema import POLICIES, SIGNALS
from pipelines.sources.base import Record

#: Raised when a channel reads the same evidence in another way than before.
VERSION = "1"


class SignalWriter:
    """Collects the signals of a part's records and the metadata packets that they were read from."""

    def __init__(self, settings: Rights) -> None:
        self._settings = settings
        self._image = ImageRights(trusted_anchors(settings))
        self._rows: list[dict[str, Any]] = []
        self._packets: dict[str, bytes] = {}

    def versions(self) -> list[object]:
        """Return what the signals depend on, for the part's fingerprint."""
        return [VERSION, self._settings.agents, self._settings.noindex, trusted_anchors(self._settings)]

    def add(self, record: Record, row: dict[str, Any]) -> None:
        """Read one record's signals; `row` is its row of `samples`."""
        evidence = Evidence(
            url=row["url"],
            image=record.image,
            caption=row["caption"],
            creator=row["creator"],
            licence=row["licence"],
            metadata=json.loads(row["metadata"]) if row["metadata"] else {},
        )
        found, packets = self._image.read(evidence)
        self._packets.update(packets)
        self._rows += [signal_row(row["uid"], signal) for signal in (*record.facts.get("signals", ()), *found)]

    def write(self, writer: PartWriter, index: int) -> dict[str, Any]:
        """Write `signals` and `policies` of part `index`; return the facts for its marker."""
        table = pa.Table.from_pylist(self._rows, schema=SIGNALS)
        writer.add_table(part_name("signals", index), table)
        bodies = [{"sha256": sha256, "body": body} for sha256, body in sorted(self._packets.items())]
        writer.add_table(part_name("policies", index), pa.Table.from_pylist(bodies, schema=POLICIES))
        return {"signals": len(self._rows), "signals_content": signals_digest(self._rows)}


def trusted_anchors(settings: Rights) -> str:
    """Return the certificates of the recipe's `rights.c2pa_anchors`, one text. Raises `BadInput`."""
    texts = []
    for path in map(Path, settings.c2pa_anchors):
        try:
            text = path.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"{path}: cannot be read ({first_line(error)})") from None
        if "-----BEGIN CERTIFICATE-----" not in text:
            raise BadInput(f"{path}: no certificate (PEM)")
        texts.append(text.strip() + "\n")
    return "".join(texts)


def signal_row(uid: str, signal: Signal) -> dict[str, Any]:
    """Return a signal as a row of `signals`."""
    return {
        "uid": uid,
        "channel": signal.channel,
        "source": clipped(signal.source),
        "raw": clipped(signal.raw),
        "verdict": signal.verdict.value,
        "spec": signal.spec,
        "detail": clipped(signal.detail),
        "unreadable": signal.unreadable,
        "fetched_at": signal.fetched_at,
        "evidence_sha256": signal.evidence_sha256,
    }


def signals_digest(rows: list[dict[str, Any]]) -> str:
    """Return a SHA-256 over the rows' content, times set aside."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps({k: v for k, v in row.items() if k != "fetched_at"}, sort_keys=True).encode())
        digest.update(b"\n")
    return digest.hexdigest()
