"""Certificates for tests, made while they run: an authority, and what it signs."""

from __future__ import annotations

import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID


class Signed(NamedTuple):
    """A certificate and its key, in PEM."""

    certificate: str
    key: str

    def in_files(self, folder: Path) -> Path:
        """`tls.crt` and `tls.key` in a folder, as a Secret's folder has them; the key first, so that both change as one."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tls.key").write_text(self.key)
        (folder / "tls.crt").write_text(self.certificate)
        return folder

    @property
    def serial(self) -> int:
        return x509.load_pem_x509_certificate(self.certificate.encode()).serial_number

    @property
    def fingerprint(self) -> str:
        found = x509.load_pem_x509_certificate(self.certificate.encode())
        return found.fingerprint(hashes.SHA256()).hex()


class Authority:
    """Signs certificates, and knows how clients that trust it connect."""

    def __init__(self, name: str = "authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = _builder(self._name, self._name, self._key.public_key(), 365, -1)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self._certificate = made.sign(self._key, hashes.SHA256())
        self.certificate = _pem(self._certificate)

    def sign(self, *names: str, days: float = 365, rsa_key: bool = False) -> Signed:
        """A certificate for host names, IP addresses or URIs."""
        key = rsa.generate_private_key(65537, 2048) if rsa_key else ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
        made = _builder(subject, self._name, key.public_key(), days, min(-1, days - 1))
        made = made.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        return Signed(_pem(made.sign(self._key, hashes.SHA256())), _key_pem(key))

    def channel(self, with_certificate: Signed | None = None) -> grpc.ChannelCredentials:
        """The same for gRPC."""
        pair = with_certificate or Signed("", "")
        return grpc.ssl_channel_credentials(
            self.certificate.encode(), pair.key.encode() or None, pair.certificate.encode() or None
        )

    def client(self, with_certificate: Signed | None = None, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
        """A client that trusts this authority and none else."""
        context = ssl.create_default_context(cadata=self.certificate)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if with_certificate is not None:
            _load(context, with_certificate)
        return context

    def server(self, certificate: Signed) -> ssl.SSLContext:
        """A server with a certificate."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        _load(context, certificate)
        return context

    def revoking(self, *revoked: Signed) -> str:
        """A list of certificates that hold no longer."""
        now = datetime.now(UTC)
        made = x509.CertificateRevocationListBuilder().issuer_name(self._name)
        made = made.last_update(now - timedelta(1)).next_update(now + timedelta(30))
        for one in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(one.serial).revocation_date(now - timedelta(1))
            made = made.add_revoked_certificate(entry.build())
        return made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@lru_cache
def authority(name: str = "authority") -> Authority:
    """The one of that name."""
    return Authority(name)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, days: float, since: float
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
    return made.not_valid_before(now + timedelta(since)).not_valid_after(now + timedelta(days))


def _general(name: str) -> x509.GeneralName:
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form).decode()


def _load(context: ssl.SSLContext, certificate: Signed) -> None:
    with tempfile.TemporaryDirectory() as folder:  # the library reads files only
        certificate.in_files(Path(folder))
        context.load_cert_chain(f"{folder}/tls.crt", f"{folder}/tls.key")
