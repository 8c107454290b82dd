"""Certificates that nobody has given: for `run`, an authority of its own signs one for every Secret that a Gateway or a
DestinationRule names and that is not there, and for stand-ins that speak TLS. They are in memory, and the authority's key
is never written.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from legation import names
from legation.local.authority import common_name, general_name
from legation.model import analysis, gateway_analysis, servers
from legation.model.kubernetes import Secret
from legation.model.meta import Key, Object, ObjectMeta
from legation.model.world import World

DAYS = 30
"""How long what is made here holds."""


class Signed(NamedTuple):
    """A certificate and its key, in PEM."""

    certificate: str
    key: str


class Authority:
    """Signs certificates as long as this process runs."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = common_name("legation run")
        made = _builder(self._name, self._name, self._key.public_key())
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.certificate = _pem(made.sign(self._key, hashes.SHA256()))
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        """For a server that shows a certificate for whatever name it is asked."""
        self.server.sni_callback = self._answer
        _load(self.server, self.sign("localhost"))

    def sign(self, *wanted: str) -> Signed:
        """A certificate for names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = _builder(common_name(wanted[0]), self._name, key.public_key())
        made = made.add_extension(x509.SubjectAlternativeName([general_name(name) for name in wanted]), critical=False)
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return Signed(_pem(made.sign(self._key, hashes.SHA256())), key.private_bytes(*form).decode())

    def _answer(self, connection: Any, name: str | None, _: ssl.SSLContext) -> None:
        if name:
            connection.context = self._for(name)

    @lru_cache(256)  # noqa: B019 (it lives as long as the process)
    def _for(self, name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _load(context, self.sign(name))
        return context


class StandInCertificates:
    """The Secrets that stand in for those that are missing; `folder` gets what a client needs."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority()
        self.folder = folder
        self._given: dict[Key, tuple[str, ...]] = {}

    def follow(self, world: World, own: Iterable[Key], namespace: str = "default") -> tuple[list[Object], list[Key]]:
        """The Secrets to add and remove, for gateways of a namespace; `own` are the documents that somebody wrote."""
        written = set(own)
        now = {key: hosts for key, hosts in _wanted(world, namespace).items() if key not in written}
        removed = [key for key in self._given if key not in now and key not in written]
        added = [self._secret(key, hosts) for key, hosts in now.items() if self._given.get(key) != hosts]
        if added and not self._given:
            self._write_for_clients()
        self._given = now
        return added, removed

    @property
    def summary(self) -> list[str]:
        """The names of the Secrets that stand in."""
        return sorted(key.name for key in self._given)

    def _secret(self, key: Key, hosts: tuple[str, ...]) -> Object:
        made = self.authority.sign(*hosts)
        content = {"tls.crt": made.certificate, "tls.key": made.key, "ca.crt": self.authority.certificate}
        return Object(key, ObjectMeta(), Secret.model_validate({"stringData": content}, by_alias=True, by_name=False))

    def _write_for_clients(self) -> None:
        client = self.authority.sign("client")
        for name, text in (
            ("ca.crt", self.authority.certificate), ("client.crt", client.certificate), ("client.key", client.key)
        ):  # fmt: skip
            with open(os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(text)


def _wanted(world: World, namespace: str) -> dict[Key, tuple[str, ...]]:
    """The Secrets that Gateways name, with the hosts of the servers that show them; and those by which DestinationRules
    say whom to believe and who is calling.
    """
    found: dict[Key, dict[str, None]] = {}
    for name in world.names("Gateway"):
        for item in world.get("Gateway", name):
            for reference in gateway_analysis.credentials(item):
                place = int(reference.path[2])
                hosts = (servers.server_host(host, "").host for host in item.spec.servers[place].hosts)
                named = found.setdefault(Key("Secret", namespace, reference.names[0]), {})
                named.update(dict.fromkeys("localhost" if host == "*" else host for host in hosts))
    for name in world.names("DestinationRule"):
        for item in world.get("DestinationRule", name):
            for reference in analysis.credentials(item):
                found.setdefault(Key("Secret", namespace, reference.names[0]), {})["client"] = None
    return {
        key: tuple(sorted(hosts)) for key, hosts in sorted(found.items()) if not key.name.endswith(names.AUTHORITIES)
    }


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
    return made.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(DAYS))


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _load(context: ssl.SSLContext, made: Signed) -> None:
    """Python's library reads certificates from files only; this one is gone at once."""
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(made.certificate + made.key)
        file.flush()
        context.load_cert_chain(file.name)
