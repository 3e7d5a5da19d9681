"""Content credentials signed here, with a certificate chain made for the test (C2PA 2.2 §14.5)."""

from __future__ import annotations

import datetime
import io
from dataclasses import dataclass
from functools import lru_cache

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SETTINGS = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_after_sign": False},
    "builder": {"thumbnail": {"enabled": False}},
}
MEDIA = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "TIFF": "image/tiff", "GIF": "image/gif"}


@dataclass(frozen=True)
class Chain:
    root: str
    certificates: bytes
    key: bytes


def _certificate(subject, issuer, key, issuer_key, ca):
    now = datetime.datetime.now(datetime.timezone.utc)
    usage = [ca is False, False, False, False, False, ca, ca, False, False]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(*usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _name(common):
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test"), x509.NameAttribute(NameOID.COMMON_NAME, common)]
    )


@lru_cache(maxsize=1)
def chain() -> Chain:
    """Root, and leaf under it, made once a test session."""
    root_key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _certificate(_name("Test root"), _name("Test root"), root_key, root_key, True)
    leaf = _certificate(_name("Test signer"), _name("Test root"), leaf_key, root_key, False)
    pem = serialization.Encoding.PEM
    return Chain(
        root.public_bytes(pem).decode(),
        leaf.public_bytes(pem),
        leaf_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def training(label="cawg.training-mining", **uses) -> dict:
    """A training-and-data-mining assertion: entry names without prefix, and their use."""
    prefix = label.split(".")[0]
    return {"label": label, "data": {"entries": {f"{prefix}.{key}": {"use": use} for key, use in uses.items()}}}


def signed(
    image: bytes,
    *assertions: dict,
    format: str = "PNG",
    ingredients: tuple[tuple[str, bytes], ...] = (),
    source_type: str = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture",
    remote: str | None = None,
) -> bytes:
    """The picture with a manifest of these assertions; `ingredients` are (relationship, PNG file)."""
    made = chain()
    definition = {
        "claim_generator_info": [{"name": "test", "version": "1"}],
        "title": "test",
        "assertions": list(assertions),
    }
    action: dict = {"action": "c2pa.created", "digitalSourceType": source_type}
    if any(relation == "parentOf" for relation, _ in ingredients):
        action = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["i0"]}}
    definition["assertions"].insert(0, {"label": "c2pa.actions", "data": {"actions": [action]}})
    context = c2pa.Context.from_dict(SETTINGS)
    signer = c2pa.Signer.from_info(
        c2pa.C2paSignerInfo(alg=b"es256", sign_cert=made.certificates, private_key=made.key, ta_url=None)
    )
    out = io.BytesIO()
    with c2pa.Builder(definition, context=context) as builder:
        for number, (relation, file) in enumerate(ingredients):
            described = {"title": f"i{number}", "label": f"i{number}", "relationship": relation}
            builder.add_ingredient(described, "image/png", io.BytesIO(file))
        if remote:
            builder.set_no_embed()
            builder.set_remote_url(remote)
        builder.sign(signer, MEDIA[format], io.BytesIO(image), out)
    return out.getvalue()
