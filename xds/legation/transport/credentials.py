"""The server's side of TLS: certificate, key and the authorities of its clients, each of which may change while it runs.

gRPC asks for a configuration at every handshake, so connections that stand are left alone and new ones see the new one.
"""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from cryptography import x509

from legation.model import certificates
from legation.problems import Problem, Severity
from legation.transport.fresh import UNFIT, Fresh, Unfit


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
        content = {"tls.crt": certificate, "tls.key": key}
        files = dict(zip((*content, "ca.crt"), self._files, strict=True))
        if client_ca is not None:
            content["ca.crt"] = client_ca
        found = [
            Problem(
                Severity.ERROR, UNFIT,
                fault.message.removeprefix(f"`{fault.key}` ").replace("`tls.crt`", self._files[0]),
                files[fault.key], hint=fault.hint,
            )
            for fault in certificates.faults(content)
        ]  # fmt: skip
        if found:
            raise Unfit(*found)
        until = min(one.not_valid_after_utc.timestamp() for one in x509.load_pem_x509_certificates(certificate))
        return Material(grpc.ssl_server_certificate_configuration([(key, certificate)], client_ca), until)
