"""What is wrong with the content of a Secret, and until when it holds. Every fault is one that Envoy refuses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from legation.ingest import secret_folders
from legation.ingest.files import SecretFolder
from legation.model import certificates
from legation.model.recall import Recall
from legation.model.world import World

END = datetime(2099, 1, 1, tzinfo=UTC)


def pem(key: object, password: bytes = b"") -> bytes:
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)  # type: ignore[attr-defined]


def signed(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, end: datetime = END) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, end - timedelta(9), end).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM)


EC, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
RSA = rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize("key", [EC, OTHER, RSA], ids=["P-256", "P-384", "RSA"])
@pytest.mark.parametrize("spelling", [("tls.crt", "tls.key"), ("cert", "key")], ids="-".join)
def test_a_pair_that_fits(key: ec.EllipticCurvePrivateKey, spelling: tuple[str, str]) -> None:
    content = {spelling[0]: signed(key) + signed(EC), spelling[1]: pem(key), "ca.crt": signed(EC)}
    assert list(certificates.faults(content)) == []


def test_an_unrelated_secret_is_no_business_of_ours() -> None:
    assert list(certificates.faults({"password": b"x", "key": b"not ours", "token": b""})) == []


WEAK, ODD = rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP256K1())
FAULTS = {
    "no certificate": ({"tls.crt": b"hello", "tls.key": pem(EC)}, "tls.crt", "no certificate"),
    "a key for a certificate": ({"tls.crt": pem(EC), "tls.key": pem(EC)}, "tls.crt", "no certificate"),
    "empty": ({"tls.crt": b" ", "tls.key": pem(EC)}, "tls.crt", "empty"),
    "no key": ({"tls.crt": signed(EC), "tls.key": signed(EC)}, "tls.key", "no private key"),
    "cut off": ({"tls.crt": signed(EC), "tls.key": pem(EC)[:100]}, "tls.key", "no private key"),
    "another's key": ({"tls.crt": signed(EC), "tls.key": pem(OTHER)}, "tls.key", "not the key"),
    "password": ({"tls.crt": signed(EC), "tls.key": pem(EC, b"secret")}, "tls.key", "password"),
    "short": ({"tls.crt": signed(WEAK), "tls.key": pem(WEAK)}, "tls.key", "1024 bits"),
    "curve": ({"tls.crt": signed(ODD), "tls.key": pem(ODD)}, "tls.key", "secp256k1"),
    "kind": ({"tls.crt": signed(EC), "tls.key": pem(dsa.generate_private_key(1024))}, "tls.key", "kind"),
    "alone": ({"tls.key": pem(EC)}, "tls.key", "without `tls.crt`"),
    "authorities": ({"ca.crt": b"-----BEGIN CERTIFICATE-----"}, "ca.crt", "no certificate"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_what_envoy_would_refuse_is_told_without_quoting_it(fault: tuple[dict[str, bytes], str, str]) -> None:
    content, key, says = fault
    (found,) = certificates.faults(content)
    assert found.key == key
    assert says in found.message
    assert "BEGIN" not in found.message + found.hint


def test_the_wrong_order_of_a_chain_is_seen_through() -> None:
    (found,) = certificates.faults({"tls.crt": signed(OTHER) + signed(EC), "tls.key": pem(EC)})
    assert found.hint == "put the server's own certificate first"


def test_ed25519_is_taken() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    (found,) = certificates.faults({"tls.crt": signed(EC), "tls.key": pem(key)})
    assert "not the key" in found.message, "it does not fit here, and is no wrong kind"


def test_the_first_of_a_chain_to_expire_counts() -> None:
    chain = signed(EC) + signed(EC, END - timedelta(5))
    folder = SecretFolder("secrets/a/b", "a", "b", {"tls.crt": chain, "tls.key": pem(EC), "ca.crt": signed(OTHER)})
    ((version,),) = secret_folders.understand(folder).versions.values()
    assert version.object is not None
    assert version.document.line == 0, "no line of a folder"
    world, _ = World().apply([version.object])
    assert Recall(world).ask(certificates.expiries)["a", "b"] == (
        ("tls.crt", (END - timedelta(5)).timestamp()),
        ("ca.crt", END.timestamp()),
    )


def test_a_folder_of_which_something_cannot_be_read_is_not_complete() -> None:
    folder = SecretFolder("secrets/a/b", "a", "b", {"tls.crt": signed(EC)})
    assert not secret_folders.understand(folder, partly_unknown=True).complete
    ((version,),) = secret_folders.understand(folder).versions.values()
    assert version.object is None, "a certificate without its key is held back"
