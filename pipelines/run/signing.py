"""Ed25519 signatures over manifests."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from audit.compliance import Problem
from filters import environment
from filters.errors import BadInput
from pipelines.run.directory import MANIFEST, Run
from pipelines.run.manifest import SIGNATURE


def generate(path: Path) -> Path:
    """Write a new private key (PEM, PKCS #8, mode 0600) and its public half beside it; return the latter's path.

    Raises `BadInput` where a file is in the way: a key is never overwritten.
    """
    public_path = _public_path(path)
    key = Ed25519PrivateKey.generate()
    try:
        if public_path.exists():
            raise FileExistsError
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(_private_pem(key))
        public_path.write_bytes(_public_pem(key))
    except FileExistsError:
        raise BadInput(f"{path}: there is a key already; choose another name") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be written ({error.strerror})") from None
    return public_path


def _public_path(path: Path) -> Path:
    return path.with_name(path.name + ".pub")


def _private_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _public_pem(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def load_private(path: Path) -> Ed25519PrivateKey:
    """Read a private key. Raises `BadInput`."""
    key = _load(path, lambda data: serialization.load_pem_private_key(data, password=None))
    if not isinstance(key, Ed25519PrivateKey):
        raise BadInput(f"{path}: not an Ed25519 private key; make one with assay keygen")
    return key


def load_public(path: Path) -> Ed25519PublicKey:
    """Read a public key. Raises `BadInput`."""
    key = _load(path, serialization.load_pem_public_key)
    if not isinstance(key, Ed25519PublicKey):
        raise BadInput(f"{path}: not an Ed25519 public key")
    return key


def _load(path: Path, parse: object) -> object:
    assert callable(parse)
    try:
        return parse(path.read_bytes())
    except OSError as error:
        raise BadInput(f"{path}: cannot read the key ({error.strerror})") from None
    except (ValueError, TypeError):
        raise BadInput(f"{path}: not a PEM key without a password") from None


def key_id(key: Ed25519PublicKey) -> str:
    """Return the key's fingerprint: SHA-256 of its raw bytes, first 16 hex digits."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def operator_key() -> Ed25519PrivateKey:
    """Return the key of whoever runs this machine's jobs, made on first use in the user's configuration folder.

    It signs what must be signed when no key is named. Of processes that ask for the first time at once, one makes it
    and all get that one. Raises `BadInput` where the folder cannot be written.
    """
    base = Path(os.environ.get(environment.XDG_CONFIG) or Path.home() / ".config")
    path = base / "assay" / "operator.pem"
    public = _public_path(path)
    try:
        # the private half comes first, so a public one alone is what somebody kept of a key that was taken away
        if public.exists() and not path.exists():
            raise BadInput(f"{public}: its private key is gone; put it back, move this away, or name a key with --key")
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _put_new(path, _private_pem(Ed25519PrivateKey.generate()), 0o600)
        key = load_private(path)
        if not public.exists():  # its maker was killed in between, or is about to write it
            _put_new(public, _public_pem(key), 0o644)
    except OSError as error:
        raise BadInput(f"{path}: cannot be written ({error.strerror}); name a key with --key") from None
    return key


def _put_new(path: Path, data: bytes, mode: int) -> None:
    """Let a file appear whole, or leave the one that is there: a link, unlike a rename, replaces nothing."""
    temporary = path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):  # another process was quicker
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def signature(data: bytes, key: Ed25519PrivateKey) -> dict[str, str]:
    """Return a signature over `data` with the public key that it can be checked by."""
    public = key.public_key()
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return {
        "algorithm": "Ed25519",
        "key_id": key_id(public),
        "public_key": base64.b64encode(raw).decode(),
        "signature": base64.b64encode(key.sign(data)).decode(),
    }


def check(data: bytes, body: Any, trusted: Ed25519PublicKey | None, what: str) -> tuple[str, list[Problem]]:
    """Check a signature that `signature` made over `data`; return a state and what is wrong.

    States: `valid` (the key that the signature names made it), `trusted` (and that is the given key), `invalid`.
    """
    try:
        stated = Ed25519PublicKey.from_public_bytes(base64.b64decode(body["public_key"], validate=True))
        found = base64.b64decode(body["signature"], validate=True)
    except (ValueError, KeyError, TypeError):
        return "invalid", [Problem("SIGNATURE_UNREADABLE", f"the signature of {what} is not a signature")]
    try:
        stated.verify(found, data)
    except InvalidSignature:
        return "invalid", [Problem("SIGNATURE_INVALID", f"{what} is not what was signed")]
    if trusted is None:
        return "valid", []
    if key_id(trusted) != key_id(stated):
        return "invalid", [Problem("WRONG_KEY", f"signed by {key_id(stated)}, not by {key_id(trusted)}")]
    return "trusted", []


def sign(run: Run, key: Ed25519PrivateKey) -> None:
    """Sign the manifest's bytes; write `manifest.sig`."""
    body = signature(run.store.read(MANIFEST), key)
    run.store.write(SIGNATURE, json.dumps(body, indent=1).encode() + b"\n")


def check_signature(run: Run, trusted: Ed25519PublicKey | None) -> tuple[str, list[Problem]]:
    """Return the manifest's state (`unsigned`, `valid`, `trusted`, `invalid`) and what is wrong."""
    if not run.store.exists(SIGNATURE):
        problems = [Problem("NOT_SIGNED", f"no {SIGNATURE}, and a public key was given")] if trusted else []
        return "unsigned", problems
    try:
        body = json.loads(run.store.read(SIGNATURE))
    except ValueError:
        return "invalid", [Problem("SIGNATURE_UNREADABLE", f"{SIGNATURE} is not a signature file")]
    return check(run.store.read(MANIFEST), body, trusted, "the manifest")
