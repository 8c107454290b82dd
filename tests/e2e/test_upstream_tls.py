"""Encrypted connections to services: which name is asked for, whose certificate is believed, who the caller is."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .mesh import Mesh, Proxy, document, service

pytestmark = pytest.mark.envoy

HOST = "red.test"
CLUSTER = f"outbound|80||{HOST}"


@dataclass(frozen=True)
class Authority:
    """Signs certificates; everything is a file below `folder`."""

    folder: Path
    name: str
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def file(self) -> Path:
        """Its own certificate."""
        path = self.folder / f"{self.name}.pem"
        if not path.exists():
            authority = x509.BasicConstraints(ca=True, path_length=None)
            made = self._certificate(self.name, self.key, []).add_extension(authority, critical=True)
            self._write(path, made)
        return path

    def certificate(self, name: str, *hosts: str) -> tuple[Path, Path]:
        """A certificate of a name for hosts (`spiffe://…` too), and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate, of_key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        self._write(certificate, self._certificate(name, key, hosts))
        pkcs8, bare = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        of_key.write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, bare))
        return certificate, of_key

    def revoked(self, *certificates: Path) -> Path:
        """A list of certificates that count no longer."""
        now = datetime.datetime.now(datetime.UTC)
        made = x509.CertificateRevocationListBuilder(
            issuer_name=_called(self.name), last_update=now, next_update=now + datetime.timedelta(hours=1)
        )
        for path in certificates:
            serial = x509.load_pem_x509_certificate(path.read_bytes()).serial_number
            one = x509.RevokedCertificateBuilder(serial_number=serial, revocation_date=now).build()
            made = made.add_revoked_certificate(one)
        path = self.folder / f"revoked-{len(certificates)}.pem"
        signed = made.sign(self.key, hashes.SHA256())
        path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        return path

    def _certificate(self, name: str, key: ec.EllipticCurvePrivateKey, hosts: Iterable[str]) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        made = x509.CertificateBuilder(
            issuer_name=_called(self.name), subject_name=_called(name), public_key=key.public_key(),
            serial_number=x509.random_serial_number(), not_valid_before=now - datetime.timedelta(hours=1),
            not_valid_after=now + datetime.timedelta(hours=1),
        )  # fmt: skip
        names = [x509.UniformResourceIdentifier(host) if "://" in host else x509.DNSName(host) for host in hosts]
        return made.add_extension(x509.SubjectAlternativeName(names), critical=False) if names else made

    def _write(self, path: Path, made: x509.CertificateBuilder) -> None:
        signed = made.sign(self.key, hashes.SHA256())
        path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))


def _called(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@dataclass
class Server:
    """Answers `ok`, and knows which names it was asked for and who asked."""

    port: int
    asked_for: list[str | None]
    callers: list[str]


@contextlib.asynccontextmanager
async def serving(certificate: tuple[Path, Path], callers: Path | None = None) -> AsyncIterator[Server]:
    """With `callers`, only those who come with a certificate of that authority are heard."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    if callers is not None:
        context.load_verify_locations(callers)
        context.verify_mode = ssl.CERT_REQUIRED
    made = Server(0, [], [])

    def asked(_socket: object, name: str | None, _context: object) -> None:
        made.asked_for.append(name)

    context.sni_callback = asked  # type: ignore[assignment]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proof = writer.get_extra_info("peercert") or {}
        made.callers += [value for part in proof.get("subject", ()) for _, value in part]
        with contextlib.suppress(OSError, EOFError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        writer.close()

    running = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    made.port = running.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        running.close()


def rule(**tls: Any) -> dict[str, Any]:
    written = {key: str(value) if isinstance(value, Path) else value for key, value in tls.items()}
    return document("DestinationRule", "red", {"host": HOST, "trafficPolicy": {"tls": written}})


async def encrypted(mesh: Mesh, port: int, **tls: Any) -> Proxy:
    """A caller's sidecar, at which the server is asked as `red.test`; and `blue.test`, which has nothing to hide."""
    mesh.write("services.yaml", service("red", port), service("blue", await mesh.stand_in("blue")))
    mesh.write("rule.yaml", rule(**tls))
    await mesh.serve()
    proxy = await mesh.sidecar(80)
    await proxy.at(80).status(200, host="blue.test")
    return proxy


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "trusted")


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "stranger")


async def test_the_name_of_the_request_is_asked_for_and_verified(mesh: Mesh, authority: Authority) -> None:
    async with serving(authority.certificate("red", HOST)) as server:
        proxy = await encrypted(mesh, server.port, mode="SIMPLE", caCertificates=authority.file)
        place = proxy.at(80)
        assert (await place.status(200, host=HOST)).body == b"ok"
        assert set(server.asked_for) == {HOST}


async def test_a_certificate_of_another_name_is_not_believed(single: Mesh, authority: Authority) -> None:
    async with serving(authority.certificate("other", "other.test", "spiffe://mesh/other")) as server:
        proxy = await encrypted(single, server.port, mode="SIMPLE", caCertificates=authority.file)
        place = proxy.at(80)
        assert (await place.ask(host=HOST)).status == 503
        assert await proxy.stat(CLUSTER, "ssl.fail_verify_san") > 0
        for names in (["other.test"], ["nobody.test", "spiffe://mesh/other"]):
            single.write("rule.yaml", rule(mode="SIMPLE", caCertificates=authority.file, subjectAltNames=names))
            await place.status(200, host=HOST)
            single.write("rule.yaml", rule(mode="SIMPLE", caCertificates=authority.file, subjectAltNames=["nobody"]))
            await place.status(503, host=HOST)


async def test_a_certificate_of_another_authority_is_not_believed(
    single: Mesh, authority: Authority, stranger: Authority
) -> None:
    async with serving(stranger.certificate("red", HOST)) as server:
        proxy = await encrypted(single, server.port, mode="SIMPLE", caCertificates=authority.file)
        place = proxy.at(80)
        assert (await place.ask(host=HOST)).status == 503
        assert await proxy.stat(CLUSTER, "ssl.fail_verify_error") > 0
        single.write("rule.yaml", rule(mode="SIMPLE"))  # nor is it known to the system
        assert (await place.ask(host=HOST)).status == 503
        single.write("rule.yaml", rule(mode="SIMPLE", insecureSkipVerify=True))
        await place.status(200, host=HOST)


async def test_another_name_may_be_asked_for(single: Mesh, authority: Authority) -> None:
    async with serving(authority.certificate("red", "inside.test")) as server:
        how = {"mode": "SIMPLE", "caCertificates": authority.file, "sni": "inside.test"}
        proxy = await encrypted(single, server.port, **how)
        place = proxy.at(80)
        assert (await place.status(200, host=HOST)).body == b"ok"
        assert set(server.asked_for) == {"inside.test"}


async def test_the_caller_proves_who_it_is(mesh: Mesh, authority: Authority) -> None:
    certificate, key = authority.certificate("caller", "caller.test")
    async with serving(authority.certificate("red", HOST), authority.file) as server:
        proxy = await encrypted(mesh, server.port, mode="SIMPLE", caCertificates=authority.file)
        place = proxy.at(80)
        assert (await place.ask(host=HOST)).status == 503
        mutual = rule(mode="MUTUAL", clientCertificate=certificate, privateKey=key, caCertificates=authority.file)
        mesh.write("rule.yaml", mutual)
        await place.status(200, host=HOST)
        assert set(server.callers) == {"caller"}


async def test_a_service_of_the_mesh_proves_the_account_of_its_endpoints(single: Mesh, authority: Authority) -> None:
    """The mesh's own certificates are in the Secret `default`; who answers must run under an account that is expected."""
    certificate, key = authority.certificate("caller", "spiffe://mesh.test/ns/default/sa/caller")
    content = {"tls.crt": certificate.read_text(), "tls.key": key.read_text(), "ca.crt": authority.file.read_text()}
    own = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "default"}, "stringData": content}
    single.write("own.yaml", own)

    def runs_as(account: str, *aliases: str) -> None:
        written = service("red", server.port)
        written["spec"]["endpoints"][0]["serviceAccount"] = account
        everywhere = {"trustDomain": "mesh.test", "trustDomainAliases": list(aliases)}
        mesh_config = {"apiVersion": "mesh.istio.io/v1alpha1", "kind": "MeshConfig", "metadata": {"name": "mesh"}}
        single.write("red.yaml", written, {**mesh_config, "spec": everywhere})

    async with serving(authority.certificate("red", "spiffe://old.test/ns/default/sa/red"), authority.file) as server:
        runs_as("red", "old.test")
        single.write("rule.yaml", rule(mode="ISTIO_MUTUAL"))
        await single.serve()
        proxy = await single.sidecar(80)
        place = proxy.at(80)
        await place.status(200, host=HOST)
        assert set(server.callers) == {"caller"}
        runs_as("red")
        await place.status(503, host=HOST)
        assert await proxy.stat(CLUSTER, "ssl.fail_verify_san") > 0
        runs_as("red", "old.test")
        await place.status(200, host=HOST)
        runs_as("blue", "old.test")
        await place.status(503, host=HOST)


async def test_a_certificate_that_is_revoked_is_not_believed(single: Mesh, authority: Authority) -> None:
    certificate, key = authority.certificate("red", HOST)
    how = {"mode": "SIMPLE", "caCertificates": authority.file}
    async with serving((certificate, key)) as server:
        proxy = await encrypted(single, server.port, **how, caCrl=authority.revoked())
        place = proxy.at(80)
        assert (await place.ask(host=HOST)).status == 200
        single.write("rule.yaml", rule(**how, caCrl=authority.revoked(certificate)))
        await place.status(503, host=HOST)
        assert await proxy.stat(CLUSTER, "ssl.fail_verify_error") > 0


async def test_a_file_that_is_replaced_is_read_again(single: Mesh, authority: Authority, stranger: Authority) -> None:
    trusted = authority.folder / "in-use.pem"
    trusted.write_bytes(stranger.file.read_bytes())
    async with serving(authority.certificate("red", HOST)) as server:
        proxy = await encrypted(single, server.port, mode="SIMPLE", caCertificates=trusted)
        place = proxy.at(80)
        assert (await place.ask(host=HOST)).status == 503
        beside = trusted.with_suffix(".new")
        beside.write_bytes(authority.file.read_bytes())
        beside.replace(trusted)
        await place.status(200, host=HOST)


async def test_a_volume_that_is_replaced_is_read_again(single: Mesh, authority: Authority, stranger: Authority) -> None:
    """As Kubernetes does it: the files are links into a folder that is a link, and that is replaced."""
    for name, of in (("old", stranger), ("new", authority)):
        (authority.folder / name).mkdir()
        (authority.folder / name / "ca.pem").write_bytes(of.file.read_bytes())
    (authority.folder / "..data").symlink_to("old")
    (authority.folder / "ca.pem").symlink_to("..data/ca.pem")
    async with serving(authority.certificate("red", HOST)) as server:
        how = {"mode": "SIMPLE", "caCertificates": authority.folder / "ca.pem"}
        place = (await encrypted(single, server.port, **how)).at(80)
        assert (await place.ask(host=HOST)).status == 503
        (authority.folder / "..next").symlink_to("new")
        (authority.folder / "..next").rename(authority.folder / "..data")
        await place.status(200, host=HOST)


async def test_a_missing_file_costs_its_own_service_only(single: Mesh, authority: Authority) -> None:
    async with serving(authority.certificate("red", HOST)) as server:
        how = {"mode": "SIMPLE", "caCertificates": authority.folder / "nowhere.pem"}
        proxy = await encrypted(single, server.port, **how)
        place = proxy.at(80)
        assert (await place.ask(host=HOST)).status == 503
        single.write("rule.yaml", rule(mode="SIMPLE", caCertificates=authority.file))
        await place.status(200, host=HOST)
        single.write("rule.yaml", rule(mode="DISABLE"))
        answer = await place.answers(lambda answer: answer.body != b"ok", host=HOST)
        assert answer.status == 503  # in clear text the server understands nothing
