"""Keys that sign content credentials: read from files, the environment, or held by somebody else who is called."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeAlias, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from filters.environment import SIGNING_CHAIN, SIGNING_KEY
from filters.errors import BadInput, first_line

#: Algorithms that files are signed with, by C2PA's names.
ALGORITHMS = ("es256", "ps256", "ed25519")

#: Stands in the name of every certificate of a development chain; whoever reads a file sees it.
DEVELOPMENT = "DEVELOPMENT ONLY, NOT FOR RELEASE"

#: The purpose that C2PA readers without settings of their own ask for. C2PA's own purpose alone is refused by them.
NEEDED_PURPOSE = ExtendedKeyUsageOID.EMAIL_PROTECTION

#: Fewest bits of an RSA key. Source: C2PA 2.2, section 14.5.
_RSA_BITS = 2048

_CHAIN_LIMIT = 10

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class SigningKey:
    """A key with its certificates, leaf first and without the root.

    Either `private` is there (PEM, without a password), or `call`: it gets the bytes to sign and returns the
    signature (ECDSA: DER as key stores give it; PSS: salt of 32 bytes; Ed25519: the 64 bytes).
    """

    algorithm: str
    chain: str
    private: bytes | None = field(default=None, repr=False)
    call: Callable[[bytes], bytes] | None = field(default=None, repr=False)

    @property
    def development(self) -> bool:
        """Tell whether it belongs to a development chain."""
        return DEVELOPMENT in self.leaf.subject.rfc4514_string().replace("\\", "")

    @property
    def leaf(self) -> x509.Certificate:
        """Return the certificate of the key itself."""
        return x509.load_pem_x509_certificates(self.chain.encode())[0]


def key_from_files(key: Path, chain: Path) -> SigningKey:
    """Read a private key and its certificates. Raises `BadInput`."""
    return _in_memory(_read(key), _read(chain), str(key), str(chain))


def key_from_environment() -> SigningKey:
    """Return the key that stands in `ASSAY_SIGNING_KEY` and `ASSAY_SIGNING_CHAIN`. Raises `BadInput`."""
    key, chain = os.environ.get(SIGNING_KEY), os.environ.get(SIGNING_CHAIN)
    if not key or not chain:
        raise BadInput(f"no signing key: set {SIGNING_KEY} and {SIGNING_CHAIN}, or name files; try assay keys init")
    return _in_memory(key.encode(), chain.encode(), f"${SIGNING_KEY}", f"${SIGNING_CHAIN}")


def key_from_callback(algorithm: str, chain: bytes, call: Callable[[bytes], bytes]) -> SigningKey:
    """Return a key that `call` signs with: a key management service, a smart card. Raises `BadInput`."""
    if algorithm not in ALGORITHMS:
        raise BadInput(f"{algorithm}: not a signing algorithm; one of {', '.join(ALGORITHMS)}")
    certificates = _certificates(chain, "the certificates")
    check_profile(certificates[0], "the certificates")
    fitting = _algorithm_of(certificates[0].public_key())
    if fitting != algorithm:
        raise BadInput(f"the certificates: a key for {fitting or 'no known algorithm'}, not for {algorithm}")
    return SigningKey(algorithm, _pem(certificates), call=call)


def _in_memory(key: bytes, chain: bytes, key_name: str, chain_name: str) -> SigningKey:
    """Return the key with its certificates, checked against each other."""
    try:
        private = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError):
        raise BadInput(f"{key_name}: not a private key in PEM form without a password") from None
    algorithm = _algorithm_of(private.public_key())
    if algorithm is None:
        raise BadInput(f"{key_name}: give a P-256, an RSA (2,048 bits or more) or an Ed25519 key")
    certificates = _certificates(chain, chain_name)
    if _public_bytes(certificates[0].public_key()) != _public_bytes(private.public_key()):
        raise BadInput(f"{chain_name}: the first certificate is not that of {key_name}; put the leaf first")
    check_profile(certificates[0], chain_name)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return SigningKey(algorithm, _pem(certificates), private=pem)


def _algorithm_of(public: object) -> str | None:
    """Return the algorithm that a key is for, None where it is for none of ours."""
    if isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1):
        return "es256"
    if isinstance(public, rsa.RSAPublicKey) and public.key_size >= _RSA_BITS:
        return "ps256"
    return "ed25519" if isinstance(public, ed25519.Ed25519PublicKey) else None


def _certificates(chain: bytes, name: str) -> list[x509.Certificate]:
    """Return the certificates without a root: readers bring their own, and one in the file is refused."""
    try:
        found = x509.load_pem_x509_certificates(chain)
    except ValueError:
        raise BadInput(f"{name}: no certificates in PEM form") from None
    kept = [found[0], *(one for one in found[1:] if one.issuer != one.subject)]
    if len(kept) > _CHAIN_LIMIT:
        raise BadInput(f"{name}: {len(kept)} certificates; a chain has at most {_CHAIN_LIMIT}")
    return kept


def check_profile(leaf: x509.Certificate, name: str) -> None:
    """Refuse, in words, a certificate that C2PA readers refuse. Raises `BadInput`.

    Source: C2PA 2.2, section 14.5. A key in its wrong time is refused too: what it signs nobody trusts.
    """
    wrong = _profile_problem(leaf)
    if wrong:
        raise BadInput(f"{name}: {wrong}")


def _profile_problem(leaf: x509.Certificate) -> str | None:
    if leaf.issuer == leaf.subject:
        return "the leaf is self-signed; C2PA wants one that another certificate issued (assay keys init, keys csr)"
    now = datetime.now(timezone.utc)
    if now > leaf.not_valid_after_utc:
        return f"the certificate expired at {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; have it renewed"
    if now < leaf.not_valid_before_utc:
        return f"the certificate is not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
    try:
        extensions = leaf.extensions
        usage = _extension(extensions, x509.KeyUsage)
        purposes = _extension(extensions, x509.ExtendedKeyUsage)
    except ValueError as error:
        return f"the certificate cannot be read ({first_line(error)})"
    if usage is None or not usage.digital_signature or usage.key_cert_sign:
        return "the certificate's key usage must be digitalSignature, without keyCertSign"
    if purposes is None or NEEDED_PURPOSE not in purposes:
        return "the certificate has not the purpose emailProtection, which C2PA readers ask for"
    if ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in purposes:
        return "the certificate has the purpose anyExtendedKeyUsage, which C2PA forbids"
    if _extension(extensions, x509.AuthorityKeyIdentifier) is None:
        return "the certificate has no authority key identifier"
    return None


def _extension(extensions: x509.Extensions, kind: type[_Extension]) -> _Extension | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _pem(certificates: list[x509.Certificate]) -> str:
    return "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in certificates)


def _public_bytes(key: object) -> bytes:
    assert hasattr(key, "public_bytes")
    data: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return data


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from None
