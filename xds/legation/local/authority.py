"""An authority of one's own, in a folder, for people who have none: it signs certificates for the server and for proxies.

Keys are ECDSA P-256 and readable by their owner only. The authority's certificate says its trust domain, as a SPIFFE ID.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS: Final = 3650
DAYS: Final = 365


class Purpose(StrEnum):
    """Which end of the channel a certificate is for. One for the server is no client's, and the other way round."""

    SERVER = "server"
    CLIENT = "client"


class Signer(NamedTuple):
    """An authority, read from its folder."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def trust_domain(self) -> str:
        """As its certificate says; "" if it does not."""
        with suppress(x509.ExtensionNotFound):
            names = self.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            for uri in names.get_values_for_type(x509.UniformResourceIdentifier):
                if uri.startswith("spiffe://"):
                    return str(uri).removeprefix("spiffe://").partition("/")[0]
        return ""


def initialise(folder: Path, trust_domain: str, days: int = AUTHORITY_DAYS, *, force: bool = False) -> None:
    """Makes an authority: `ca.crt`, `ca.key`. Raises OSError, FileExistsError among it if one is there (unless `force`)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = common_name(f"legation authority of {trust_domain}")
    made = _builder(name, name, key.public_key(), days)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    made = made.add_extension(_usage(signs=True), critical=True)
    spiffe = x509.UniformResourceIdentifier(f"spiffe://{trust_domain}")
    made = made.add_extension(x509.SubjectAlternativeName([spiffe]), critical=False)
    certificate = made.sign(key, hashes.SHA256())
    _write(folder, {"ca.key": _key_pem(key), "ca.crt": _pem(certificate)}, force=force)


def read(folder: Path) -> Signer:
    """An authority. Raises OSError for one that is not there, ValueError for one that is none."""
    certificate = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ValueError("ca.key is not the key of ca.crt")
    return Signer(certificate, key)


def issue(
    signer: Signer, folder: Path, purpose: Purpose, names: list[str], days: int = DAYS, *, force: bool = False
) -> datetime:
    """Signs a certificate for SPIFFE IDs, host names and IP addresses: `tls.crt`, `tls.key`, `ca.crt` in a folder.

    Until when it holds: never longer than the authority itself. Raises OSError like `initialise`.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    until = signer.certificate.not_valid_after_utc
    made = _builder(common_name(names[0]), signer.certificate.subject, key.public_key(), days, until)
    made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    made = made.add_extension(_usage(signs=False), critical=True)
    end = ExtendedKeyUsageOID.SERVER_AUTH if purpose is Purpose.SERVER else ExtendedKeyUsageOID.CLIENT_AUTH
    made = made.add_extension(x509.ExtendedKeyUsage([end]), critical=False)
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
    made = made.add_extension(above, critical=False)
    made = made.add_extension(x509.SubjectAlternativeName([general_name(name) for name in names]), critical=False)
    certificate = made.sign(signer.key, hashes.SHA256())
    content = {"ca.crt": _pem(signer.certificate), "tls.key": _key_pem(key), "tls.crt": _pem(certificate)}
    _write(folder, content, force=force)
    return certificate.not_valid_after_utc


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int, until: datetime | None = None
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    end = min(now + timedelta(days), until or datetime.max.replace(tzinfo=UTC))
    made = x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(minutes=5)).not_valid_after(end)  # clocks differ
    return made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs, key_cert_sign=signs, crl_sign=signs, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def common_name(name: str) -> x509.Name:
    """A subject or issuer of that name, as far as X.509 has room for it."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def general_name(name: str) -> x509.GeneralName:
    """A URI, an IP address or a host name, as a certificate's subjectAltName has it."""
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form)


def _write(folder: Path, content: dict[str, bytes], *, force: bool) -> None:
    """Each file whole or not at all; keys first, so that a certificate never waits for its key."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    there = [name for name in content if os.path.lexists(folder / name)]
    if there and not force:
        raise FileExistsError(f"{folder / there[0]} is there already; say --force to replace it")
    for name, data in content.items():
        descriptor, beside = tempfile.mkstemp(prefix=f".{name}.", dir=folder)  # 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            if not name.endswith(".key"):
                os.chmod(beside, 0o644)
            os.replace(beside, folder / name)
        except BaseException:
            with suppress(OSError):
                os.unlink(beside)
            raise
