"""Keys and chains: what loads, what is refused and in which words."""

from datetime import datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hallmarking import key_of

from filters.errors import BadInput
from training.hallmark import chains
from training.hallmark.chains import CLAIM_SIGNING, development_chain, new_key, private_pem, request
from training.hallmark.keys import (
    DEVELOPMENT,
    SigningKey,
    check_profile,
    key_from_callback,
    key_from_environment,
    key_from_files,
)


def leaf_with(monkeypatch, needed, claim=CLAIM_SIGNING):
    """A leaf whose two purposes are these."""
    monkeypatch.setattr(chains, "NEEDED_PURPOSE", needed)
    monkeypatch.setattr(chains, "CLAIM_SIGNING", claim)
    return x509.load_pem_x509_certificates(development_chain("ed25519").certificates)[0]


def test_a_development_chain_says_so_in_every_certificate_and_in_the_key(signing_key, chain):
    certificates = x509.load_pem_x509_certificates(chain.certificates + chain.root)
    assert len(certificates) == 3
    assert all(DEVELOPMENT in one.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value for one in certificates)
    assert signing_key.development


def test_a_key_never_shows_itself(signing_key):
    assert "PRIVATE" not in repr(signing_key)


def test_a_root_in_the_chain_is_left_out(chain, tmp_path):
    with_root = chains.Chain(chain.key, chain.certificates + chain.root, chain.root)
    assert key_of(with_root, tmp_path).chain.count("BEGIN CERTIFICATE") == 2


def test_the_environment_holds_a_key(chain, monkeypatch):
    monkeypatch.setenv("ASSAY_SIGNING_KEY", chain.key.decode())
    monkeypatch.setenv("ASSAY_SIGNING_CHAIN", chain.certificates.decode())
    assert key_from_environment().algorithm == "es256"
    monkeypatch.delenv("ASSAY_SIGNING_CHAIN")
    with pytest.raises(BadInput, match="no signing key"):
        key_from_environment()


@pytest.mark.parametrize(
    ("key", "certificates", "words"),
    [
        (b"nothing", None, "not a private key"),
        (None, b"nothing", "no certificates"),
        ("other", None, "not that of"),
        ("p384", None, "P-256"),
    ],
)
def test_files_that_do_not_fit_are_refused_by_name(chain, tmp_path, key, certificates, words):
    made = {"other": private_pem(new_key("es256")), "p384": private_pem(ec.generate_private_key(ec.SECP384R1()))}
    (tmp_path / "k").write_bytes(made.get(key, key) or chain.key)
    (tmp_path / "c").write_bytes(certificates or chain.certificates)
    with pytest.raises(BadInput, match=words):
        key_from_files(tmp_path / "k", tmp_path / "c")


def test_a_leaf_for_claims_alone_is_refused_before_a_reader_does(monkeypatch):
    leaf = leaf_with(monkeypatch, ExtendedKeyUsageOID.CODE_SIGNING)
    with pytest.raises(BadInput, match="emailProtection"):
        check_profile(leaf, "leaf")


def test_any_purpose_at_all_is_refused(monkeypatch):
    leaf = leaf_with(monkeypatch, ExtendedKeyUsageOID.EMAIL_PROTECTION, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    with pytest.raises(BadInput, match="anyExtendedKeyUsage"):
        check_profile(leaf, "leaf")


def test_an_expired_certificate_does_not_sign(tmp_path):
    with pytest.raises(BadInput, match="expired"):
        key_of(development_chain("es256", ends=datetime.now(timezone.utc) - timedelta(hours=1)), tmp_path)


def test_a_self_signed_certificate_does_not_sign():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "self")])
    now = datetime.now(timezone.utc)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1)).sign(
        key, hashes.SHA256()
    )
    with pytest.raises(BadInput, match="self-signed"):
        check_profile(made, "leaf")


def test_a_callback_needs_the_algorithm_of_its_certificate(chain):
    assert isinstance(key_from_callback("es256", chain.certificates, bytes), SigningKey)
    with pytest.raises(BadInput, match="not for ed25519"):
        key_from_callback("ed25519", chain.certificates, bytes)
    with pytest.raises(BadInput, match="not a signing algorithm"):
        key_from_callback("rs1", chain.certificates, bytes)


@pytest.mark.parametrize("algorithm", ["es256", "ed25519"])
def test_a_request_asks_for_both_purposes(algorithm):
    made = x509.load_pem_x509_csr(request(new_key(algorithm), "Example GmbH", "pictures", "de"))
    assert made.is_signature_valid
    purposes = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert {ExtendedKeyUsageOID.EMAIL_PROTECTION, CLAIM_SIGNING} == set(purposes)
    assert made.subject.rfc4514_string() == "CN=pictures,O=Example GmbH,C=DE"


def test_a_request_with_an_impossible_country_is_refused():
    with pytest.raises(BadInput, match="two letters"):
        request(new_key("ed25519"), "Example", "pictures", "germany")


def test_keys_are_secret_files_and_never_overwritten(tmp_path):
    path = tmp_path / "new" / "key.pem"
    chains.write_new(path, b"1", secret=True)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(BadInput, match="never overwritten"):
        chains.write_new(path, b"2", secret=True)
    assert path.read_bytes() == b"1"


def test_private_keys_are_pem_without_a_password():
    assert serialization.load_pem_private_key(private_pem(new_key("es256")), None)
