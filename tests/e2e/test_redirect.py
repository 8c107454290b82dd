"""Redirected traffic: what a workload calls is caught on its way, by the kernel, and told apart."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from . import namespace
from .authority import authority
from .mesh import Mesh, Place, document, eventually

CLOSED = {"mode": "REGISTRY_ONLY"}


def entry(name: str, port: int, protocol: str, address: str, to: str = "", **spec: Any) -> dict[str, Any]:
    """A service `name.test` at an address that nobody has, with an endpoint at one that somebody has."""
    listed = {"resolution": "STATIC", "endpoints": [{"address": to}]} if to else {}
    ports = [{"number": port, "name": "p", **({"protocol": protocol} if protocol else {})}]
    said = {"hosts": [f"{name}.test"], "addresses": [address], "ports": ports, **listed, **spec}
    return document("ServiceEntry", name, said)


def mesh_config(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "mesh.istio.io/v1alpha1", "kind": "MeshConfig", "metadata": {"name": "mesh"}, "spec": spec}


async def bytes_from(address: str, port: int, first: bytes = b"") -> bytes:
    """What somebody says who is called and perhaps told something; empty if nobody is there."""
    try:
        reader, writer = await asyncio.open_connection(address, port)
        writer.write(first)
        async with asyncio.timeout(5):
            said = await reader.readline()
        writer.close()
    except (OSError, TimeoutError):
        return b""
    return said


@pytest.mark.redirected
async def test_connections_are_caught_wherever_they_go() -> None:
    """What the other tests here stand on."""
    namespace.redirect(namespace.OUTBOUND)
    caught = asyncio.Event()
    server = await asyncio.start_server(lambda _, writer: (caught.set(), writer.close()), "0.0.0.0", 15001)
    async with server:
        _, writer = await asyncio.open_connection("10.1.2.3", 80)
        await caught.wait()
        writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("10.1.2.3", 80)


@pytest.mark.redirected
async def test_http_goes_by_host_and_what_nobody_knows_goes_where_it_was_going(mesh: Mesh) -> None:
    await mesh.stand_in("web", host="10.2.0.1", port=80)
    await mesh.stand_in("blue", host="10.2.0.2", port=80)
    await mesh.stand_in("stranger", host="10.5.0.1", port=80)
    mesh.write("web.yaml", entry("web", 80, "HTTP", "10.1.0.1", "10.2.0.1"))
    mesh.write("blue.yaml", entry("blue", 80, "HTTP", "10.1.0.2", "10.2.0.2"))
    await mesh.serve()
    await mesh.capturing()
    namespace.redirect(namespace.OUTBOUND)
    web, stranger = Place(80, "10.1.0.1"), Place(80, "10.5.0.1")
    answer = await web.workload("web", host="web.test")
    assert "x-envoy-upstream-service-time" in answer.headers, "it went through the proxy"
    assert (await web.ask(host="blue.test")).workload == "blue", "the host counts, not the address"
    assert (await stranger.ask(host="web.test")).workload == "web"
    assert (await stranger.ask(host="stranger.example")).workload == "stranger"
    to_blue = [{"route": [{"destination": {"host": "blue.test"}}]}]
    mesh.write("rule.yaml", document("VirtualService", "web", {"hosts": ["web.test"], "http": to_blue}))
    await web.workload("blue", host="web.test")
    mesh.write("config.yaml", mesh_config(outboundTrafficPolicy=CLOSED))
    await stranger.status(502, host="stranger.example")
    assert (await web.ask(host="web.test")).workload == "blue"


@pytest.mark.redirected
async def test_other_protocols_go_by_address(mesh: Mesh) -> None:
    await mesh.stand_in("one", host="10.2.0.1", port=7000)
    await mesh.stand_in("two", host="10.2.0.2", port=7000)
    await mesh.stand_in("block", host="10.3.4.5", port=7000)
    await mesh.stand_in("stranger", host="10.5.0.1", port=7000)
    await mesh.stand_in("elsewhere", host="10.5.0.1", port=7001)
    mesh.write("one.yaml", entry("one", 7000, "TCP", "10.1.0.1", "10.2.0.1"))
    mesh.write("two.yaml", entry("two", 7000, "TCP", "10.1.0.2", "10.2.0.2"))
    mesh.write("block.yaml", entry("block", 7000, "TCP", "10.3.0.0/16", resolution="NONE"))
    await mesh.serve()
    envoy = await mesh.capturing()
    namespace.redirect(namespace.OUTBOUND)
    known = {"one": "10.1.0.1", "two": "10.1.0.2", "block": "10.3.4.5"}
    for name, address in known.items():
        await Place(7000, address).workload(name)
    stranger, elsewhere = Place(7000, "10.5.0.1"), Place(7001, "10.5.0.1")
    assert (await stranger.ask()).workload == "stranger"
    assert (await elsewhere.ask()).workload == "elsewhere"
    _, stats = await envoy.ask("/stats?filter=cluster.PassthroughCluster.upstream_cx_total")
    assert stats.strip().endswith(": 2"), stats
    # To the proxy's own port: into a hole, not round and round.
    assert (await Place(15001, "10.5.0.1").ask()).status == 0
    mesh.write("config.yaml", mesh_config(outboundTrafficPolicy=CLOSED))
    await stranger.status(0)
    assert (await elsewhere.ask()).status == 0
    for name, address in known.items():
        assert (await Place(7000, address).ask()).workload == name


@pytest.mark.redirected
async def test_what_nobody_declared_is_found_out(mesh: Mesh) -> None:
    own = authority()
    await mesh.stand_in("plain", host="10.2.0.1", port=8000)
    await mesh.stand_in("sealed", host="10.2.0.2", port=8000, tls=own.server(own.sign("sealed.test")))
    mesh.write("plain.yaml", entry("plain", 8000, "", "10.1.0.1", "10.2.0.1"))
    mesh.write("sealed.yaml", entry("sealed", 8000, "", "10.1.0.2", "10.2.0.2"))
    rule = [{"match": [{"uri": {"prefix": "/direct"}}], "directResponse": {"status": 418}}]
    mesh.write("rule.yaml", document("VirtualService", "plain", {"hosts": ["plain.test"], "http": rule}))
    first = await asyncio.start_server(
        lambda _, writer: (writer.write(b"220 hello\r\n"), writer.close()), "10.2.0.3", 8000
    )
    mesh.write("first.yaml", entry("first", 8000, "", "10.1.0.3", "10.2.0.3"))
    mesh.write("config.yaml", mesh_config(protocolDetectionTimeout="0.2s"))
    async with first:
        await mesh.serve()
        await mesh.capturing()
        namespace.redirect(namespace.OUTBOUND)
        plain = Place(8000, "10.1.0.1")
        await plain.status(418, "/direct", host="whatever.example")

        async def sealed() -> str:
            return (await Place(8000, "10.1.0.2").ask("/", "sealed.test", tls=own.client())).workload

        await eventually(sealed, lambda found: found == "sealed")
        # Whoever waits for the other side to begin has it after the time that is waited for first bytes.
        await eventually(lambda: bytes_from("10.1.0.3", 8000), lambda said: said == b"220 hello\r\n")


@pytest.mark.redirected
async def test_tls_goes_by_name_where_no_address_tells(single: Mesh) -> None:
    own = authority()
    for number, name in enumerate(("one", "two"), 1):
        tls = own.server(own.sign("one.test", "two.test", "x.test"))
        await single.stand_in(name, host=f"10.2.0.{number}", port=443, tls=tls)
        single.write(f"{name}.yaml", entry(name, 443, "TLS", "10.1.0.0/24", f"10.2.0.{number}"))
    await single.stand_in("stranger", host="10.5.0.1", port=443, tls=own.server(own.sign("x.test")))
    await single.serve()
    await single.capturing()
    namespace.redirect(namespace.OUTBOUND)

    async def asked(host: str, address: str = "10.1.0.9") -> str:
        return (await Place(443, address).ask("/", host, tls=own.client())).workload

    await eventually(lambda: asked("one.test"), lambda found: found == "one")
    assert await asked("two.test") == "two"
    assert await asked("x.test", "10.5.0.1") == "stranger"


HEADLESS = """
apiVersion: v1
kind: Service
metadata: {name: pods}
spec: {clusterIP: None, ports: [{name: tcp, port: 5000}, {name: http, port: 80}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: pods}
subsets:
- addresses: [{ip: 10.2.0.1}, {ip: 10.2.0.2}]
  ports: [{name: tcp, port: 5000}, {name: http, port: 80}]
"""


@pytest.mark.redirected
async def test_a_pod_that_is_called_by_its_address_is_the_one_that_answers(single: Mesh) -> None:
    for number in (1, 2):
        for port in (80, 5000):
            await single.stand_in(f"pod-{number}", host=f"10.2.0.{number}", port=port)
    await single.stand_in("stranger", host="10.5.0.1", port=5000)
    single.write("pods.yaml", HEADLESS)
    single.write("config.yaml", mesh_config(outboundTrafficPolicy=CLOSED))
    await single.serve()
    await single.capturing()
    namespace.redirect(namespace.OUTBOUND)
    for number in (1, 2):
        address = f"10.2.0.{number}"
        await Place(5000, address).workload(f"pod-{number}")
        for _ in range(5):
            answer = await Place(80, address).ask(host="pods")
            assert answer.workload == f"pod-{number}"
    assert (await Place(5000, "10.5.0.1").ask()).status == 0, "it has the port, and is none of them"
