"""Calls to a workload: caught by the kernel on their way, or taken where a Sidecar says; through real Envoys."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from legation.local.stand_in import StandIn, Workload

from . import namespace
from .authority import Authority
from .mesh import Mesh, Place, Proxy, ask, document, eventually, free_port, own_address

pytestmark = pytest.mark.envoy

POD = "10.1.0.7"
FROM_PROXY = "ip saddr 127.0.0.6 return"
"""Calls of a proxy to its own workload go through."""


def kubernetes(kind: str, name: str, spec: dict[str, Any], **labels: str) -> dict[str, Any]:
    beside = {"status": {"podIP": POD}} if kind == "Pod" else {}
    metadata = {"name": name, "namespace": "default", "labels": labels}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec, **beside}


def service(name: str, *ports: dict[str, Any], **selector: str) -> dict[str, Any]:
    return kubernetes("Service", name, {"selector": selector, "ports": list(ports)})


KITCHEN = service(
    "kitchen",
    {"name": "http-menu", "port": 80, "targetPort": "menu"},
    {"name": "tcp-oven", "port": 9000},
    {"name": "any", "port": 7070},
    app="kitchen",
)
COOK = kubernetes(
    "Pod",
    "kitchen-1",
    {"containers": [{"name": "c", "ports": [{"name": "menu", "containerPort": 8080}]}]},
    app="kitchen",
)


@contextlib.asynccontextmanager
async def talking(
    greeting: bytes, port: int, address: str = POD, answer: Callable[[bytes], bytes] = bytes.upper
) -> AsyncIterator[list[str]]:
    """A workload that speaks first (unless the greeting is empty), then says back in capitals what it hears; who called."""
    callers: list[str] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        callers.append(writer.get_extra_info("peername")[0])
        writer.write(greeting)
        while heard := await reader.read(1000):
            writer.write(answer(heard))
        writer.close()

    server = await asyncio.start_server(talk, address, port)
    async with server:
        yield callers


async def said(
    port: int, greeted: bool, words: bytes = b"hello", address: str = POD, tls: ssl.SSLContext | None = None
) -> bytes:
    """What a connection hears: the greeting if there is one, and the answer. Nothing if it is closed."""
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(address, port, ssl=tls, server_hostname="till" if tls else None)
        try:
            first = await reader.read(100) if greeted else b""
            writer.write(words)
            return first + await reader.read(100)
        except ConnectionError:
            return b""
        finally:
            writer.transport.abort()


async def beside_the_kitchen(mesh: Mesh) -> Proxy:
    """The Pod's own proxy, to which calls to it are redirected."""
    envoy = await mesh.capturing("kitchen-1", ip=POD)
    await envoy.ready()
    namespace.redirect(FROM_PROXY, namespace.INBOUND)
    return Proxy(envoy, {})


@pytest.mark.redirected
async def test_redirected_calls_reach_their_workload_by_port(mesh: Mesh) -> None:
    mesh.write("a.yaml", KITCHEN, COOK)
    await mesh.serve()
    proxy = await beside_the_kitchen(mesh)
    menu = Place(8080, POD)
    async with await StandIn.start(Workload("kitchen"), POD, 8080):
        answer = await menu.workload("kitchen", x_forwarded_client_cert="By=me")
        assert answer.headers["server"] == "istio-envoy"
        assert answer.json["headers"]["x-envoy-attempt-count"] == "1"
    assert await proxy.stat("inbound|8080||", "upstream_rq_total") > 0
    async with talking(b"220 oven\n", 9000) as callers:
        assert await said(9000, greeted=True) == b"220 oven\nHELLO"
    assert callers == ["127.0.0.6"]
    assert await proxy.stat("inbound|9000||", "upstream_cx_total") == 1
    # Of what nobody declared, HTTP is HTTP, and the rest is passed on.
    async with await StandIn.start(Workload("anything"), POD, 7070):
        assert (await ask(7070, address=POD)).headers["server"] == "istio-envoy"
    async with talking(b"", 7070):
        assert await said(7070, greeted=False, words=b"hello there\n") == b"HELLO THERE\n"
    assert await proxy.stat("inbound|7070||", "upstream_rq_200") == 1
    # What is declared as HTTP is nothing else.
    async with talking(b"", 8080) as callers:
        assert b"400 Bad Request" in await said(8080, greeted=False, words=b"hello\r\n\r\n")
    assert callers == []


@pytest.mark.redirected
async def test_ports_that_nobody_names_are_passed_on_and_the_proxy_itself_is_no_workload(single: Mesh) -> None:
    single.write("a.yaml", KITCHEN, COOK)
    await single.serve()
    proxy = await beside_the_kitchen(single)
    async with talking(b"220 cellar\n", 4444) as callers:
        # Who speaks first is heard.
        assert await eventually(lambda: said(4444, greeted=True), bool) == b"220 cellar\nHELLO"
    assert set(callers) == {"127.0.0.6"}
    assert await proxy.stat("InboundPassthroughCluster", "upstream_cx_total") >= 1
    assert await said(15006, greeted=False) == b""
    assert await proxy.stat("InboundPassthroughCluster", "upstream_cx_total") == len(callers), "it did not go round"


@pytest.mark.redirected
async def test_what_is_said_of_a_workload_acts_on_its_proxy(mesh: Mesh) -> None:
    """Its address among endpoints, other labels of its Pod, a Sidecar: each is known by the cluster that counts."""
    mesh.write("a.yaml", KITCHEN)
    mesh.write("pod.yaml", COOK)
    await mesh.serve()
    proxy = await beside_the_kitchen(mesh)
    async with talking(b"", 6000), talking(b"", 6001, answer=lambda heard: heard[::-1]):

        async def passes(cluster: str) -> None:
            before = await proxy.stat(cluster, "upstream_cx_total")

            async def more() -> int:
                assert await said(6000, greeted=False) == b"HELLO"
                return await proxy.stat(cluster, "upstream_cx_total") - before

            await eventually(more, bool)

        await passes("InboundPassthroughCluster")
        listed = {"hosts": ["grill.test"], "ports": [{"number": 6000, "name": "tcp", "protocol": "TCP"}]}
        listing = mesh.write(
            "e.yaml",
            document("ServiceEntry", "grill", {**listed, "resolution": "STATIC", "endpoints": [{"address": POD}]}),
        )
        await passes("inbound|6000||")
        listing.unlink()
        await passes("InboundPassthroughCluster")
        mesh.write("b.yaml", service("grill", {"name": "tcp", "port": 6000}, app="grill"))
        mesh.write("pod.yaml", {**COOK, "metadata": {**COOK["metadata"], "labels": {"app": "grill"}}})
        await passes("inbound|6000||")
        ingress = [{"port": {"number": 6000, "protocol": "TCP"}, "defaultEndpoint": "0.0.0.0:6001"}]
        mesh.write("c.yaml", document("Sidecar", "all", {"ingress": ingress}))
        await eventually(lambda: said(6000, greeted=False), lambda heard: heard == b"olleh")


# --- where nothing is redirected ----------------------------------------------------------------------------------


def sidecar(*ingress: dict[str, Any]) -> dict[str, Any]:
    return document("Sidecar", "till", {"workloadSelector": {"labels": {"app": "till"}}, "ingress": list(ingress)})


def entry(number: int, protocol: str, to: str, **more: Any) -> dict[str, Any]:
    return {"port": {"number": number, "protocol": protocol}, "defaultEndpoint": to, **more}


async def test_a_sidecar_says_where_its_workload_is_called(mesh: Mesh, tmp_path: Path) -> None:
    http, there = await mesh.stand_in("till"), own_address()
    talks, over_socket = free_port(), free_port(there)
    mesh.write(
        "a.yaml",
        sidecar(
            entry(9080, "HTTP", f"127.0.0.1:{http}"),
            entry(9090, "TCP", f"127.0.0.1:{talks}"),
            entry(over_socket, "TCP", f"unix://{tmp_path}/till", bind=there),
        ),
    )
    await mesh.serve()
    proxy = await mesh.sidecar(9080, 9090, app="till")
    answer = await proxy.at(9080).workload("till", host="whatever")
    assert answer.headers["server"] == "istio-envoy"
    assert await proxy.stat("inbound|9080||", "upstream_rq_total") == 1
    where = proxy.at(9090)
    async with talking(b"220 till\n", talks, "127.0.0.1"):
        assert await said(where.port, greeted=True, address=where.address) == b"220 till\nHELLO"
    server = await asyncio.start_unix_server(
        lambda _, writer: (writer.write(b"over a socket"), writer.close()), f"{tmp_path}/till"
    )
    async with server:
        assert await said(over_socket, greeted=True, address=there) == b"over a socket"
    # Another workload of the namespace takes no calls.
    other = await mesh.sidecar(9080, name="other", app="other")
    await mesh.at_rest(2)
    assert (await other.at(9080).ask()).status == 0
    # An entry less is a port less; the other one goes on.
    mesh.write("a.yaml", sidecar(entry(9080, "HTTP", f"127.0.0.1:{http}")))
    await proxy.at(9090).status(0)
    assert (await proxy.at(9080).ask()).workload == "till"


async def test_callers_prove_who_they_are_with_certificates_of_the_workloads_host(single: Mesh, tmp_path: Path) -> None:
    mine, stranger = Authority("mine"), Authority("stranger")
    mine.sign("till").in_files(tmp_path)
    (tmp_path / "ca.crt").write_text(mine.certificate)
    http, talks = await single.stand_in("till"), free_port()
    files = {"serverCertificate": f"{tmp_path}/tls.crt", "privateKey": f"{tmp_path}/tls.key"}
    mutual = {"mode": "MUTUAL", **files, "caCertificates": f"{tmp_path}/ca.crt"}
    single.write(
        "a.yaml",
        sidecar(
            entry(9443, "HTTPS", f"127.0.0.1:{http}", tls=mutual),
            entry(9444, "TLS", f"127.0.0.1:{talks}", tls={"mode": "SIMPLE", **files}),
        ),
    )
    await single.serve()
    proxy = await single.sidecar(9443, 9444, app="till")
    at = proxy.at(9443)

    async def asked(client: ssl.SSLContext) -> Any:
        return await at.ask(host="till", tls=client)

    known = mine.client(mine.sign("spiffe://cluster.local/ns/default/sa/guest"))
    answer = await eventually(lambda: asked(known), lambda found: found.status == 200)
    told = answer.json["headers"]["x-forwarded-client-cert"]
    assert "URI=spiffe://cluster.local/ns/default/sa/guest" in told
    assert (await asked(mine.client())).status == 0, "without a certificate nobody is served"
    assert (await asked(mine.client(stranger.sign("guest")))).status == 0
    assert (await at.ask(host="till")).status == 0, "nor is clear text"
    where = proxy.at(9444)
    async with talking(b"220 till\n", talks, "127.0.0.1"):
        heard = await said(where.port, greeted=True, address=where.address, tls=mine.client())
    assert heard == b"220 till\nHELLO"
