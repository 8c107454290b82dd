"""Many changes, many deaths of the server, several servers: no request is lost (`--long` for the full numbers)."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from legation.names import CLUSTER, LISTENER, ROUTE
from transport.wire import DELTA, STREAM, Wire

from .mesh import PATIENCE, Mesh, Program, eventually, free_port, gateway, rule, service

pytestmark = pytest.mark.envoy

AGAIN = 5.0
"""Seconds from a server's being back until its proxies have all there is; held to it with `--long` only."""


Times = Callable[[Any, Any], Any]
"""One of two numbers: for every day, and with `--long`."""


@pytest.fixture
def times(request: pytest.FixtureRequest) -> Times:
    """How often: a few times, or with `--long` in full."""
    return lambda few, all_: all_ if request.config.getoption("--long") else few


async def test_reconfigurations_between_clusters_that_come_and_go(mesh: Mesh, times: Times) -> None:
    """Each takes the cluster away that all requests go to, and brings another one."""
    ports = [await mesh.stand_in(name) for name in ("even", "odd")]

    def save(number: int) -> None:
        name = f"service-{number}"
        mesh.write("all.yaml", gateway(), service(name, ports[number % 2]), rule("red", name))

    save(0)
    await mesh.serve()
    place = (await mesh.gateway()).at()
    await place.workload("even", host="red.example")
    async with place.under_load(host="red.example") as load:
        for number in range(1, times(30, 200) + 1):
            save(number)
            await place.workload(("even", "odd")[number % 2], host="red.example")
            if number % 5 == 0:
                save(number + 1)  # before the cluster of the last one is gone
                save(number)
                await place.workload(("even", "odd")[number % 2], host="red.example")
    assert load.count
    assert not load.failures


async def test_a_server_that_is_killed_all_the_time(mesh: Mesh, times: Times) -> None:
    """Also in the middle of what it sends, and whatever is saved while there is none."""
    names = ("one", "two", "three")
    mesh.write("services.yaml", gateway(), *[service(name, await mesh.stand_in(name)) for name in names])
    mesh.write("rules.yaml", rule("red", "one"))
    server = await mesh.serve()
    place = (await mesh.gateway()).at()
    await place.workload("one", host="red.example")
    dice, limit = random.Random(4), times(PATIENCE, AGAIN)
    async with place.under_load(host="red.example") as load:
        for number in range(times(4, 20)):
            to = names[(number + 1) % 3]
            mesh.write("rules.yaml", rule("red", to))
            await asyncio.sleep(dice.random() * 0.01)  # anywhere in the way of the change
            await server.kill()
            if number % 2:
                to = names[number % 3]
                mesh.write("rules.yaml", rule("red", to))
            await load.more(10)
            server = await mesh.serve()
            await place.answers(lambda answer, to=to: answer.workload == to, host="red.example", within=limit)
            await mesh.at_rest(1)
    assert not load.failures


async def test_K_04_B_07_a_server_that_is_asked_to_end_hands_over(mesh: Mesh) -> None:
    """SIGTERM: it drains, exits 0, and whoever was connected is served by the next one, without a failed request."""
    mesh.write("all.yaml", gateway(), *[service(name, await mesh.stand_in(name)) for name in ("one", "two")])
    mesh.write("rules.yaml", rule("red", "one"))
    server = await mesh.serve()
    place = (await mesh.gateway()).at()
    for number in range(3):
        await mesh.gateway(name=f"more-{number}")
    await place.workload("one", host="red.example")
    async with place.under_load(host="red.example") as load:
        for to in ("two", "one"):
            server.process.terminate()
            assert await server.ended() == 0
            assert "Traceback" not in server.text
            mesh.write("rules.yaml", rule("red", to))
            server = await mesh.serve()
            await place.workload(to, host="red.example")
            await mesh.at_rest(4)
    assert not load.failures


async def test_B_04_who_comes_back_gets_what_is_true_now(mesh: Mesh) -> None:
    """Nothing is kept for it from the time when it went."""
    mesh.write("all.yaml", gateway(), *[service(name, await mesh.stand_in(name)) for name in ("one", "two")])
    mesh.write("rules.yaml", rule("red", "one"))
    await mesh.serve()
    first = await mesh.gateway()
    await first.at().workload("one", host="red.example")
    await first.envoy.stop()
    await eventually(mesh.proxies, lambda found: not found)
    mesh.write("rules.yaml", rule("red", "two"))
    again = (await mesh.gateway()).at()
    found = await again.answers(lambda answer: answer.status == 200, host="red.example")
    assert found.workload == "two"


@contextlib.asynccontextmanager
async def replica(mesh: Mesh, name: str) -> AsyncIterator[str]:
    """Another server for the same folder, with a state of its own: where it serves xDS."""
    address = f"127.0.0.1:{free_port()}"
    program = await Program.start(
        "serve", str(mesh.folder), "--xds", address, "--http", "none", "--state-dir", f"{mesh.state}-{name}"
    )
    try:
        await program.says("^serving ")
        yield address
    finally:
        await program.stop()


async def test_B_02_two_replicas_agree(mesh: Mesh) -> None:
    """Each proxy has the same versions of everything, whichever of the two it asks, however they came there."""
    mesh.write("all.yaml", gateway(), *[service(name, await mesh.stand_in(name)) for name in ("one", "two")])
    mesh.write("rules.yaml", rule("red", "one"))
    async with replica(mesh, "a") as first:
        mesh.write("rules.yaml", rule("red", "two"))
        mesh.write("blue.yaml", rule("blue", "one"))
        async with replica(mesh, "b") as second:
            places = [(await mesh.gateway(name=name, xds=xds)).at() for name, xds in (("a", first), ("b", second))]
            for place in places:
                await place.workload("two", host="red.example")
                await place.workload("one", host="blue.example")

            for type_url in (CLUSTER, LISTENER, ROUTE):
                had = await everything(first, type_url)
                assert had
                assert await everything(second, type_url) == had
                assert await everything(second, type_url, had) == {}
                assert await version(first, type_url) == await version(second, type_url)


NODE = {
    "id": "router~127.0.0.1~raw.default~default.svc.cluster.local",
    "metadata": {"LABELS": {"istio": "ingressgateway"}},
}


async def version(address: str, type_url: str) -> str:
    """The version of a type in state of the world."""
    async with Wire(address, STREAM, None) as wire:
        await wire.asks(type_url, "*", node=NODE)
        return str((await wire.gets()).version_info)


async def everything(address: str, type_url: str, had: dict[str, str] | None = None) -> dict[str, str]:
    """The names and versions that a gateway is sent of a type, if it has had these."""
    async with Wire(address, DELTA, None) as wire:
        await wire.asks(type_url, "*", initial_resource_versions=had or {}, node=NODE)
        response = await wire.gets()
        assert not response.removed_resources
        return {one.name: one.version for one in response.resources}


async def test_D_09_a_restarted_server_sends_only_what_changed(single: Mesh) -> None:
    """To a client that says what it has; nothing, if nothing did."""
    xds = f"127.0.0.1:{free_port()}"
    names = [f"s{number}" for number in range(20)]
    ports = {name: 18000 + number for number, name in enumerate(names)}
    single.write("all.yaml", gateway(80), *[service(name, ports[name]) for name in names])
    single.write("rules.yaml", *[rule(name, name) for name in names])
    server = await single.serve(xds=xds)
    had = {type_url: await everything(xds, type_url) for type_url in (CLUSTER, LISTENER)}
    assert [len(found) for found in had.values()] == [20, 1]
    await server.kill()
    server = await single.serve(xds=xds)
    assert [await everything(xds, type_url, found) for type_url, found in had.items()] == [{}, {}]
    await server.kill()
    single.write("more.yaml", service("another", 18100), rule("another", "another"))
    await single.serve(xds=xds)
    assert list(await everything(xds, CLUSTER, had[CLUSTER])) == ["outbound|80||another.test"]
    assert await everything(xds, LISTENER, had[LISTENER]) == {}
