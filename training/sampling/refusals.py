"""The log of pictures that were not written: one JSON object a line, on the disk before the next picture begins."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from filters.json_text import read_json
from training.hallmark.claim import prompt_digest
from training.sampling.guards import Code, Refusal
from training.sampling.plan import Slot

LOG = "refused.jsonl"


@dataclass(frozen=True)
class RefusalLog:
    """The log in a folder of pictures. Only under the folder's lock."""

    folder: Path

    def add(self, slot: Slot, name: str, refusal: Refusal, candidate: int | None, final: bool) -> dict[str, Any]:
        """Append a refusal; return it as it stands there.

        `candidate`: which one, None for all; `final`: no candidate is left, so there will be no such picture. The
        prompt stands there as a salted digest, as in credentials.
        """
        salt = secrets.token_hex(16)
        body = {
            "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "file": name,
            "prompt": slot.prompt,
            "prompt_digest": {"alg": "sha256", "salt": salt, "hash": prompt_digest(slot.text, salt)},
            "seed": slot.seed if candidate is None else slot.candidate_seed(candidate),
            "candidate": candidate,
            "final": final,
            "code": refusal.code.value,
            "detail": refusal.detail,
        }
        data = json.dumps(body, sort_keys=True).encode() + b"\n"
        with (self.folder / LOG).open("ab+") as stream:
            if stream.tell() and _last(stream.fileno(), stream.tell()) != b"\n":
                data = b"\n" + data  # a killed job left half a line
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        return body

    def finals(self) -> dict[str, dict[str, Any]]:
        """Return the final refusals by file name. Those for want of a mark are left out: they are tried again."""
        path = self.folder / LOG
        lines = path.read_bytes().splitlines() if path.is_file() else []
        found = [body for line in lines if (body := _read(line)) is not None]
        return {
            str(body.get("file")): body
            for body in found
            if body.get("final") is True and body.get("code") != Code.MARKING_FAILED.value
        }


def _last(descriptor: int, size: int) -> bytes:
    return os.pread(descriptor, 1, size - 1)


def _read(line: bytes) -> dict[str, Any] | None:
    try:
        body = read_json(line)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None
