"""What a registry keeps of a picture that its maker hands in: hashes and vectors, never the picture."""

from __future__ import annotations

import hashlib
from pathlib import Path

from filters.decoding import Undecodable, decode
from filters.errors import BadInput
from filters.optout.entries import Kind, embedding_value
from filters.optout.look_alike import MIN_QUALITY


def picture_values(path: Path, model: str | None = None) -> list[tuple[Kind, str]]:
    """Return the values of a picture's entries: SHA-256, its eight PDQ hashes, and an embedding by `model`.

    A picture whose PDQ quality is below 50 (blank, very dark) gets no PDQ entry: it would fit too much. Raises
    `BadInput` for a file that is no picture.
    """
    from filters.scorers.pdq import dihedral_hashes

    try:
        data = path.read_bytes()
        image = decode(data).image
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from None
    except Undecodable as error:
        raise BadInput(f"{path}: no picture ({error.detail})") from None
    values = [(Kind.SHA256, hashlib.sha256(data).hexdigest())]
    codes, quality = dihedral_hashes(image)
    if quality >= MIN_QUALITY:
        values.append((Kind.PDQ, ",".join(code.hex() for code in codes)))
    if model is not None:
        from filters.encoders.uri import load_encoder

        encoder = load_encoder(model)
        values.append((Kind.EMBEDDING, embedding_value(encoder.model_id(), encoder.encode_images([image])[0])))
    return values
