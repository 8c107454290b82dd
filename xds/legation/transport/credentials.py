"""The server's side of TLS: certificate, key and the authorities of its clients, each of which may change while it runs.

gRPC asks for a configuration at every handshake, so connections that stand are left alone and new ones see the new one.
"""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from legation.transport.fresh import Fresh, unfit

_FORMAT = serialization.PublicFormat.SubjectPublicKeyInfo


@dataclass(frozen=True, slots=True)
class Material:
    """What a handshake needs; `until` is when the first of the server's own certificates expires (epoch)."""

    configuration: grpc.ServerCertificateConfiguration
    until: float


class ServerTLS:
    """A certificate chain and key in PEM, and perhaps a bundle of authorities: with it every client must show a
    certificate, without it none is asked for. Raises Unfit if it cannot begin with these files.
    """

    def __init__(self, certificate: str, key: str, client_ca: str = "") -> None:
        self._files = (certificate, key, client_ca)
        self._fresh = Fresh([path for path in self._files if path], self._made)

    @property
    def fresh(self) -> Fresh[Material]:
        """The files."""
        return self._fresh

    def credentials(self) -> grpc.ServerCredentials:
        """For one port."""
        given = self._fresh.value

        def newest() -> grpc.ServerCertificateConfiguration | None:
            """Called by gRPC at each handshake, in a thread of its own; None: as before."""
            nonlocal given
            found = self._fresh.look()
            if found is given:
                return None
            given = found
            return found.configuration

        return grpc.dynamic_ssl_server_credentials(given.configuration, newest, bool(self._files[2]))

    def _made(self, certificate: bytes, key: bytes, client_ca: bytes | None = None) -> Material:
        chain = _certificates(self._files[0], certificate)
        try:
            private = serialization.load_pem_private_key(key, None)
        except (ValueError, TypeError, x509.UnsupportedGeneralNameType) as error:
            raise unfit(self._files[1], "is no private key in PEM without a password") from error
        if private.public_key().public_bytes(_DER, _FORMAT) != chain[0].public_key().public_bytes(_DER, _FORMAT):
            raise unfit(self._files[1], f"is not the key of the certificate in {self._files[0]}")
        if client_ca is not None:
            _certificates(self._files[2], client_ca)
        configuration = grpc.ssl_server_certificate_configuration([(key, certificate)], client_ca)
        return Material(configuration, min(one.not_valid_after_utc.timestamp() for one in chain))


_DER = serialization.Encoding.DER


def _certificates(file: str, pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise unfit(file, "holds no certificate in PEM, or a damaged one") from error
