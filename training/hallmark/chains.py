"""Development chains for signing credentials, and certificate requests for real ones.

A leaf carries two purposes: emailProtection, which readers without settings of their own ask for, and C2PA's claim
signing (1.3.6.1.4.1.62558.2.1). With either of the two alone some readers refuse it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from filters.errors import BadInput
from training.hallmark.keys import ALGORITHMS, DEVELOPMENT, NEEDED_PURPOSE, PrivateKey

#: C2PA's own purpose of a certificate that signs claims.
CLAIM_SIGNING = x509.ObjectIdentifier("1.3.6.1.4.1.62558.2.1")

_ORGANISATION = "Assay development"
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Chain:
    """Private key of the leaf, the certificates leaf first without the root, and the root; all PEM."""

    key: bytes
    certificates: bytes
    root: bytes


def new_key(algorithm: str) -> PrivateKey:
    """Return a new private key for `es256`, `ps256` or `ed25519`. Raises `BadInput` for another algorithm."""
    if algorithm == "es256":
        return ec.generate_private_key(ec.SECP256R1())
    if algorithm == "ps256":
        return rsa.generate_private_key(public_exponent=65537, key_size=3072)
    if algorithm == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    raise BadInput(f"{algorithm}: not a signing algorithm; one of {', '.join(ALGORITHMS)}")


def development_chain(algorithm: str, ends: datetime | None = None, label: str = DEVELOPMENT) -> Chain:
    """Return a fresh chain of root, intermediate and leaf; the names of all three say what it is.

    `ends` is when the leaf expires, by default in 365 days. The root's and the intermediate's private keys are
    forgotten: nothing else can be issued under them.
    """
    now = datetime.now(timezone.utc)
    root_key, middle_key, leaf_key = (new_key(algorithm) for _ in range(3))
    root_name, middle_name, leaf_name = (_name(f"{label} ({part})") for part in ("root", "intermediate", "leaf"))
    root = _certificate(root_name, root_key, root_name, root_key, now + 3650 * _DAY, None)
    middle = _certificate(middle_name, middle_key, root_name, root_key, now + 3650 * _DAY, 0)
    leaf = _certificate(leaf_name, leaf_key, middle_name, middle_key, ends or now + 365 * _DAY, -1)
    return Chain(private_pem(leaf_key), _pem(leaf) + _pem(middle), _pem(root))


def _certificate(
    subject: x509.Name, key: PrivateKey, issuer: x509.Name, issuer_key: PrivateKey, ends: datetime, below: int | None
) -> x509.Certificate:
    """Return one certificate. `below` is how many authorities may stand under it, None for any, -1 for a leaf."""
    is_leaf = below == -1
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A day early: clocks differ.
        .not_valid_before(datetime.now(timezone.utc) - _DAY)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=not is_leaf, path_length=None if is_leaf else below), critical=True)
        .add_extension(_usage(is_leaf), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    if is_leaf:
        builder = builder.add_extension(x509.ExtendedKeyUsage([NEEDED_PURPOSE, CLAIM_SIGNING]), critical=False)
    return builder.sign(issuer_key, _digest(issuer_key))


def _usage(is_leaf: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=is_leaf,
        key_cert_sign=not is_leaf,
        crl_sign=not is_leaf,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def request(key: PrivateKey, organisation: str, name: str, country: str | None) -> bytes:
    """Return a certificate request (PEM) with both purposes. Raises `BadInput` for names that X.509 does not hold."""
    try:
        parts = [x509.NameAttribute(NameOID.COUNTRY_NAME, country.upper())] if country else []
        parts += [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    except ValueError:
        raise BadInput("a country has two letters, organisation and name 1 to 64 characters") from None
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name(parts))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([NEEDED_PURPOSE, CLAIM_SIGNING]), critical=False)
    )
    return builder.sign(key, _digest(key)).public_bytes(serialization.Encoding.PEM)


def write_new(path: Path, data: bytes, secret: bool = False) -> None:
    """Write a file that must not be there yet; a secret one with mode 0600. Raises `BadInput`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o644)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
    except FileExistsError:
        raise BadInput(f"{path}: there is a file already, and keys are never overwritten") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be written ({error.strerror})") from None


def _digest(key: PrivateKey) -> hashes.SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def private_pem(key: PrivateKey) -> bytes:
    """Return the key in PEM form (PKCS #8, no password)."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
