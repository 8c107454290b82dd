"""What a workload calls through its sidecar, where traffic is not redirected: TCP, TLS by name, what is imported, a proxy."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from .authority import authority
from .mesh import PATIENCE, Mesh, Place, document, eventually, own_address


def entry(name: str, port: int, protocol: str, to: int, namespace: str = "default", **spec: Any) -> dict[str, Any]:
    """A service `name.test` with one endpoint on this machine."""
    said = {
        "hosts": [f"{name}.test"], "ports": [{"number": port, "name": "p", "protocol": protocol}],
        "resolution": "STATIC", "endpoints": [{"address": "127.0.0.1", "ports": {"p": to}}], **spec,
    }  # fmt: skip
    return document("ServiceEntry", name, said, namespace)


def mesh_config(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "mesh.istio.io/v1alpha1", "kind": "MeshConfig", "metadata": {"name": "mesh"}, "spec": spec}


def passed(to: Mapping[str, int]) -> list[dict[str, Any]]:
    return [{"route": [{"destination": {"host": f"{name}.test"}, "weight": weight} for name, weight in to.items()]}]


async def test_tcp_goes_to_the_one_service_of_a_port_or_by_a_rule(mesh: Mesh) -> None:
    first, second = await mesh.stand_in("first"), await mesh.stand_in("second")
    own = own_address()
    mesh.write("first.yaml", entry("first", 7000, "TCP", first))
    mesh.write("second.yaml", entry("second", 7000, "TCP", second, addresses=[own]))
    await mesh.serve()
    sidecar = await mesh.sidecar(7000)
    place, beside = sidecar.at(7000), Place(sidecar.at(7000).port, own)
    answer = await place.workload("first")
    assert "x-envoy-upstream-service-time" not in answer.headers, "nobody has read this"
    await beside.workload("second")
    mesh.write(
        "rule.yaml", document("VirtualService", "first", {"hosts": ["first.test"], "tcp": passed({"second": 1})})
    )
    await place.workload("second")
    both = passed({"first": 1, "second": 1})
    mesh.write("rule.yaml", document("VirtualService", "first", {"hosts": ["first.test"], "tcp": both}))
    await place.workload("first")
    await place.workload("second")
    # The younger of two at one address has no part of it, and that is told.
    (mesh.folder / "rule.yaml").unlink()
    mesh.write("second.yaml", entry("second", 7000, "TCP", second))
    await beside.status(0)
    await place.workload("first")
    told = await eventually(mesh.problems, lambda said: "is not reached there" in str(said))
    assert "ServiceEntry default/second" in str(told)


async def test_http_and_bytes_on_one_port_are_told_apart(single: Mesh) -> None:
    read, unread = await single.stand_in("read"), await single.stand_in("unread")
    single.write("mesh.yaml", entry("read", 7000, "HTTP", read), entry("unread", 7000, "TCP", unread))
    await single.serve()
    place = (await single.sidecar(7000)).at(7000)
    answer = await place.workload("read", host="read.test")
    assert "x-envoy-upstream-service-time" in answer.headers
    secure = authority()
    listening = await single.stand_in("sealed", tls=secure.server(secure.sign("sealed.test")))
    single.write("mesh.yaml", entry("read", 7000, "HTTP", read), entry("unread", 7000, "TCP", listening))

    async def sealed() -> str:
        return (await place.ask("/", "sealed.test", tls=secure.client())).workload

    await eventually(sealed, lambda found: found == "sealed")
    await place.workload("read", host="read.test")


async def test_tls_is_told_apart_by_the_name_that_is_asked_for(mesh: Mesh) -> None:
    own = authority()
    ports = {
        name: await mesh.stand_in(name, tls=own.server(own.sign("one.test", "two.test", "old.two.test", "x.test")))
        for name in ("one", "two")
    }
    mesh.write("mesh.yaml", *(entry(name, 443, "TLS", port) for name, port in ports.items()))
    await mesh.serve()
    place = (await mesh.sidecar(443)).at(443)

    async def asked(host: str) -> str:
        return (await place.ask("/", host, tls=own.client())).workload

    for name in ports:
        await eventually(lambda name=name: asked(f"{name}.test"), lambda found, name=name: found == name)  # type: ignore[misc]
    assert (await place.ask("/", "x.test", tls=own.client())).status == 0
    rule = {
        "hosts": ["two.test", "*.two.test"],
        "tls": [
            {"match": [{"sniHosts": ["*.two.test"]}], "route": [{"destination": {"host": "two.test"}}]},
            {"match": [{"sniHosts": ["two.test"]}], "route": [{"destination": {"host": "one.test"}}]},
        ],
    }
    mesh.write("rule.yaml", document("VirtualService", "two", rule))
    await eventually(lambda: asked("two.test"), lambda found: found == "one")
    assert await asked("old.two.test") == "two"
    # A name that is looked up, by the name itself.
    wide = {"hosts": ["*.localhost"], "ports": [{"number": ports["one"], "name": "tls", "protocol": "TLS"}]}
    far = own.server(own.sign("any.localhost"))
    there = await mesh.stand_in("far", tls=far)
    wide["ports"] = [{"number": there, "name": "tls", "protocol": "TLS"}]
    mesh.write("wide.yaml", document("ServiceEntry", "wide", {**wide, "resolution": "DYNAMIC_DNS"}))
    beside = Place(there, place.address)

    async def far_away() -> str:
        return (await beside.ask("/", "any.localhost", tls=own.client())).workload

    await eventually(far_away, lambda found: found == "far")


async def test_a_sidecar_says_what_is_imported(mesh: Mesh) -> None:
    ports = {name: await mesh.stand_in(name) for name in ("near", "far", "hidden")}
    mesh.write("near.yaml", entry("near", 80, "HTTP", ports["near"]))
    mesh.write("far.yaml", entry("far", 80, "HTTP", ports["far"], "away"))
    mesh.write("hidden.yaml", entry("hidden", 80, "HTTP", ports["hidden"], "away"))
    await mesh.serve()
    shop, other = await mesh.sidecar(80, app="shop"), await mesh.sidecar(80, name="other", app="other")
    for place in (shop.at(), other.at()):
        for name in ports:
            await place.workload(name, host=f"{name}.test")
    egress = [{"hosts": ["./*", "away/far.test"]}]
    selector = {"workloadSelector": {"labels": {"app": "shop"}}}
    mesh.write("sidecar.yaml", document("Sidecar", "shop", {**selector, "egress": egress}))
    await shop.at().status(502, host="hidden.test")
    await shop.at().workload("near", host="near.test")
    await shop.at().workload("far", host="far.test")
    await other.at().workload("hidden", host="hidden.test")
    await mesh.at_rest(2)
    _, clusters = await eventually(lambda: shop.envoy.ask("/clusters"), lambda said: "hidden.test" not in said[1])
    assert "outbound|80||far.test" in clusters
    # What a rule names can be reached through it, imported or not.
    to_hidden = {"hosts": ["near.test"], "http": [{"route": [{"destination": {"host": "hidden.test"}}]}]}
    mesh.write("rule.yaml", document("VirtualService", "near", to_hidden))
    await shop.at().workload("hidden", host="near.test")
    await shop.at().status(502, host="hidden.test")
    # One for the whole namespace is for everybody else.
    mesh.write("all.yaml", document("Sidecar", "all", {"egress": [{"hosts": ["~/*"]}]}))
    await other.at().status(0, host="near.test")
    await shop.at().workload("far", host="far.test")
    (mesh.folder / "sidecar.yaml").unlink()
    await shop.at().status(0, host="far.test")


async def test_an_entry_for_a_port_has_an_address_of_its_own(single: Mesh) -> None:
    ports = {name: await single.stand_in(name) for name in ("one", "two")}
    own, path = own_address(), f"{single.socket}.out"
    egress = [
        {"port": {"number": 8080, "protocol": "HTTP", "name": "a"}, "bind": own, "hosts": ["*/one.test"]},
        {"port": {"number": 0, "protocol": "HTTP", "name": "b"}, "bind": f"unix://{path}", "hosts": ["*/two.test"]},
        {"hosts": ["*/*"]},
    ]
    services = [entry(name, 8080, "HTTP", port) for name, port in ports.items()]
    single.write("mesh.yaml", *services, document("Sidecar", "all", {"egress": egress}))
    await single.serve()
    sidecar = await single.sidecar(8080)
    place = Place(sidecar.at(8080).port, own)
    await place.workload("one", host="one.test")
    assert (await place.ask(host="two.test")).status == 502
    assert (await sidecar.at(8080).ask(host="one.test")).status == 0, "nothing is opened where it was"
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET / HTTP/1.1\r\nHost: two.test:8080\r\nConnection: close\r\n\r\n")
    assert b'"two"' in await reader.read()
    writer.close()


async def test_a_forward_proxy_knows_every_service_and_looks_up_the_rest(mesh: Mesh) -> None:
    ports = {name: await mesh.stand_in(name) for name in ("inn", "bar", "nobody")}
    mesh.write("mesh.yaml", entry("inn", 80, "HTTP", ports["inn"]), entry("bar", 8080, "HTTP", ports["bar"]))
    mesh.write("config.yaml", mesh_config(proxyHttpPort=15002))
    await mesh.serve()
    place = (await mesh.sidecar(15002)).at(15002)
    unknown = f"localhost:{ports['nobody']}"
    await place.workload("inn", "http://inn.test/")
    assert (await place.ask("http://bar.test:8080/", "bar.test:8080")).workload == "bar"
    await place.workload("nobody", f"http://{unknown}/", unknown)
    closed = {"mode": "REGISTRY_ONLY"}
    mesh.write("config.yaml", mesh_config(proxyHttpPort=15002, outboundTrafficPolicy=closed))
    await place.status(502, f"http://{unknown}/", unknown)
    await place.workload("inn", "http://inn.test/")
    # A Sidecar opens for its own what the mesh has closed, and through one door only.
    through = {"mode": "ALLOW_ANY", "egressProxy": {"host": "bar.test", "port": {"number": 8080}}}
    mesh.write("sidecar.yaml", document("Sidecar", "all", {"outboundTrafficPolicy": through}))
    await place.workload("bar", f"http://{unknown}/", unknown)


async def test_connections_go_through_a_tunnel(single: Mesh) -> None:
    """CONNECT, as the other end sees it."""
    asked: list[bytes] = []

    async def dig(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        writer.write(b"through: " + await reader.readline())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(dig, "127.0.0.1", 0)
    async with server:
        rule = {"tunnel": {"protocol": "CONNECT", "targetHost": "deep.test", "targetPort": 9000}}
        single.write(
            "mesh.yaml", entry("mole", 9000, "TCP", server.sockets[0].getsockname()[1]),
            document("DestinationRule", "mole", {"host": "mole.test", "trafficPolicy": rule}),
        )  # fmt: skip
        await single.serve()
        place = (await single.sidecar(9000)).at(9000)

        async def said() -> bytes:
            try:
                reader, writer = await asyncio.open_connection(place.address, place.port)
            except OSError:
                return b""
            writer.write(b"hello\n")
            try:
                async with asyncio.timeout(PATIENCE):
                    return await reader.readline()
            finally:
                writer.close()

        assert await eventually(said, bool) == b"through: hello\n"
        assert asked[-1].startswith(b"CONNECT deep.test:9000 HTTP/1.1")
