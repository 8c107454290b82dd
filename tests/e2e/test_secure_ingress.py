"""What a gateway does with TLS and TCP, proven by handshakes, requests and bytes through a real Envoy."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from .authority import Authority, Signed, authority
from .mesh import Mesh, Place, document, free_port, rule, service

pytestmark = pytest.mark.envoy

FRONT = {"istio": "ingressgateway"}


# --- documents ----------------------------------------------------------------------------------------------------


def gateway(*servers: Mapping[str, Any], name: str = "front") -> dict[str, Any]:
    return document("Gateway", name, {"selector": FRONT, "servers": list(servers)})


def https(*hosts: str, name: str = "https", port: int = 443, protocol: str = "HTTPS", **tls: Any) -> dict[str, Any]:
    tls = {"mode": "SIMPLE", **tls}
    return {"port": {"number": port, "name": name, "protocol": protocol}, "hosts": list(hosts), "tls": tls}


def tcp(*hosts: str, port: int, name: str = "tcp", protocol: str = "TCP") -> dict[str, Any]:
    return {"port": {"number": port, "name": name, "protocol": protocol}, "hosts": list(hosts or ("*",))}


def secret(name: str, of: Signed | None = None, authorities: str = "", **more: str) -> dict[str, Any]:
    content = {**({"tls.crt": of.certificate, "tls.key": of.key} if of else {}), **more}
    content |= {"ca.crt": authorities} if authorities else {}
    data = {key: b64encode(text.encode()).decode() for key, text in content.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"}, "data": data}


def passing(name: str, kind: str, *rules: Mapping[str, Any], hosts: tuple[str, ...] = ("*",)) -> dict[str, Any]:
    """A VirtualService with rules for whole connections."""
    return document("VirtualService", name, {"hosts": list(hosts), "gateways": ["front"], kind: list(rules)})


def to(*services: str, **weights: int) -> list[dict[str, Any]]:
    single = [{"destination": {"host": f"{name}.test"}} for name in services]
    return single + [{"destination": {"host": f"{name}.test"}, "weight": share} for name, share in weights.items()]


def raw_service(name: str, port: int, protocol: str = "TCP", number: int = 80) -> dict[str, Any]:
    spec = {
        "hosts": [f"{name}.test"],
        "ports": [{"number": number, "name": "raw", "protocol": protocol}],
        "location": "MESH_INTERNAL",
        "resolution": "STATIC",
        "endpoints": [{"address": "127.0.0.1", "ports": {"raw": port}}],
    }
    return document("ServiceEntry", name, spec)


# --- what is behind -----------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def speaking(name: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that says its name to everyone who says something, and then what it heard."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            heard = await reader.readline()
            writer.write(f"{name} heard ".encode() + heard)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port := free_port(), ssl=tls)
    try:
        yield port
    finally:
        server.close()


async def say(place: Place, text: str, tls: ssl.SSLContext | None = None, asking: str | None = None) -> str:
    """One line over a connection of its own, and what came back; how it failed, if it did."""
    try:
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection(
                place.address, place.port, ssl=tls, server_hostname=asking if tls else None
            )
            try:
                writer.write(f"{text}\n".encode())
                return (await reader.read()).decode().strip() or "nothing"
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError) as error:
        return type(error).__name__


async def shown(place: Place, tls: ssl.SSLContext, asking: str) -> int:
    """The serial number of the certificate that is shown to who asks for a name."""
    _, writer = await asyncio.open_connection(place.address, place.port, ssl=tls, server_hostname=asking)
    try:
        return int(writer.get_extra_info("peercert")["serialNumber"], 16)
    finally:
        writer.transport.abort()


async def refuses(place: Place, host: str, tls: ssl.SSLContext) -> None:
    answer = await place.ask("/", host, tls=tls)
    assert answer.status == 0, answer
    assert "SSL" in answer.error or "Connection" in answer.error or "EOF" in answer.error, answer.error


@pytest.fixture
def own() -> Authority:
    return authority()


# --- TLS ends here ------------------------------------------------------------------------------------------------


async def test_two_hosts_of_a_port_have_a_certificate_each(mesh: Mesh, own: Authority) -> None:
    red, blue = own.sign("red.example"), own.sign("blue.example")
    backend = await mesh.stand_in("backend")
    mesh.write("secrets.yaml", secret("red", red))
    blue.in_files(mesh.folder / "secrets/default/blue")
    mesh.write(
        "rules.yaml",
        gateway(
            https("red.example", name="red", credentialName="red"),
            https("blue.example", name="blue", credentialName="blue"),
        ),
        service("backend", backend), rule("red", "backend"), rule("blue", "backend"),
    )  # fmt: skip
    await mesh.serve()
    place = (await mesh.gateway(443)).at(443)
    for host, certificate in (("red.example", red), ("blue.example", blue)):
        answer = await place.answers(lambda answer: answer.status == 200, host=host, tls=own.client())
        assert answer.workload == "backend"
        assert await shown(place, own.client(), host) == certificate.serial
    # One connection is of one server: a host of the other is nothing that it knows.
    assert (await place.ask("/", "red.example", tls=own.client())).status == 200
    other = own.client()
    other.check_hostname, other.verify_mode = False, ssl.CERT_NONE
    assert (await place.ask("/", "green.example", tls=other)).status == 0, "nobody has that name"
