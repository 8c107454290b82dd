"""`status` and `wait` against a server with real Envoys: in step, stopped, refusing; and with no server at all."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from envoy.config.listener.v3 import listener_pb2
from envoy.service.status.v3 import csds_pb2
from legation.names import LISTENER
from transport.wire import Wire

from .mesh import Mesh, Program, Proxy, eventually, free_port, gateway, rule, service, yaml


async def ask(mesh: Mesh, *arguments: str) -> tuple[int, str]:
    """What a command says, and its exit status."""
    program = await Program.start(*arguments, LEGATION_SERVER=f"unix:{mesh.socket}")
    status = await program.ended(within=60)
    assert "Traceback" not in program.text, program.text
    return status, program.text


async def told(mesh: Mesh) -> tuple[int, dict[str, Any]]:
    status, text = await ask(mesh, "status", "-o", "json")
    return status, json.loads(text)


@contextmanager
def stopped(proxy: Proxy) -> Iterator[None]:
    """A proxy that is there and does nothing, like one on a host without memory."""
    os.kill(proxy.envoy.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(proxy.envoy.pid, signal.SIGCONT)


async def _served(mesh: Mesh) -> None:
    mesh.write(
        "mesh.yaml", gateway(), service("one", await mesh.stand_in("one")), service("two", await mesh.stand_in("two"))
    )
    mesh.write("rule.yaml", rule("red", "one"))
    await mesh.serve()


@pytest.mark.envoy
async def test_everybody_in_step(mesh: Mesh) -> None:
    """As people, as scripts see it; and `wait` knows at once."""
    await _served(mesh)
    await mesh.gateway(name="edge")
    await mesh.sidecar(name="caller")
    assert (await ask(mesh, "wait", "--proxies", "2"))[0] == 0
    status, found = await told(mesh)
    assert status == 0
    assert list(found) == ["revision", "proxies", "held", "problems"]
    assert [(proxy["role"], proxy["synced"], proxy["connected"]) for proxy in found["proxies"]] == [
        ("gateway", True, True), ("sidecar", True, True),
    ]  # fmt: skip
    for proxy in found["proxies"]:
        assert proxy["revision"] == found["revision"]
        assert {"cds", "lds"} < proxy["types"].keys()
        for of in proxy["types"].values():
            assert (of["sent"], of["nacked"], of["error"]) == (of["acked"], "", "")
    status, text = await ask(mesh, "status")
    assert status == 0
    assert f"revision {found['revision']}, 2 of 2 proxies have it" in text
    assert "edge.default" in text
    assert "\x1b" not in text


@pytest.mark.envoy
async def test_a_stopped_proxy_is_behind_and_wait_names_it(mesh: Mesh) -> None:
    """The other one goes on; when it wakes up, who waits hears of it."""
    await _served(mesh)
    edge, other = await mesh.gateway(name="edge"), await mesh.gateway(name="other")
    status, _ = await ask(mesh, "wait", "--proxies", "2")
    assert status == 0
    before = (await told(mesh))[1]["revision"]
    with stopped(edge):
        mesh.write("rule.yaml", rule("red", "two"))
        await other.at().workload("two", host="red.example")
        status, text = await ask(mesh, "wait", "--timeout", "1s")
        assert status == 1
        assert f"edge.default has {before}: CDS was sent and not answered" in text
        assert "other.default" not in text
        status, found = await told(mesh)
        assert status == 0  # behind is not wrong
        behind, in_step = found["proxies"]
        assert (behind["synced"], behind["revision"], in_step["synced"]) == (False, before, True)
        assert behind["types"]["cds"]["sent"] != behind["types"]["cds"]["acked"]
        assert behind["types"]["cds"]["since"]
        assert (await ask(mesh, "wait", "--revision", before, "--timeout", "5s"))[0] == 0
        waiting = asyncio.create_task(ask(mesh, "wait", "--timeout", "60s", "-o", "json"))
        await eventually(lambda: _callers(mesh), lambda count: count == 1)
        assert not waiting.done()
    status, text = await waiting
    assert (status, json.loads(text)["done"]) == (0, True)
    await edge.at().workload("two", host="red.example")


async def _callers(mesh: Mesh) -> int:
    """How many watch or wait."""
    text = (await mesh.console.ask("/metrics")).body.decode()
    return int(float(next(line.split()[-1] for line in text.splitlines() if line.startswith("legation_callers "))))


@pytest.mark.envoy
async def test_a_change_that_is_nothing_to_a_proxy_needs_no_answer_of_it(single: Mesh) -> None:
    """It has the new revision at once, stopped or not."""
    await _served(single)
    edge = await single.gateway(name="edge")
    assert (await ask(single, "wait"))[0] == 0
    before = (await told(single))[1]["revision"]
    with stopped(edge):
        single.write("more.yaml", service("three", 1))
        after = (await eventually(lambda: told(single), lambda found: found[1]["revision"] != before))[1]
        assert [(proxy["synced"], proxy["revision"]) for proxy in after["proxies"]] == [(True, after["revision"])]
        assert (await ask(single, "wait", "--timeout", "5s"))[0] == 0


@pytest.mark.envoy
async def test_after_a_restart_of_the_server_they_are_in_step_again(mesh: Mesh) -> None:
    """With nothing changed, and nothing sent."""
    await _served(mesh)
    await mesh.gateway(name="edge")
    assert (await ask(mesh, "wait"))[0] == 0
    revision = (await told(mesh))[1]["revision"]
    await mesh.server.stop()
    assert (await ask(mesh, "status"))[0] == 3
    await mesh.serve()
    assert (await ask(mesh, "wait", "--revision", revision))[0] == 0


@pytest.mark.envoy
async def test_a_refusal_is_shown_in_envoys_words(mesh: Mesh) -> None:
    """A port that something else on the host has: only this proxy can know."""
    await _served(mesh)
    edge = await mesh.gateway(80, 81, name="edge")
    assert (await ask(mesh, "wait"))[0] == 0
    with socket.create_server(("0.0.0.0", edge.at(81).port)):
        mesh.write("mine.yaml", gateway(81, name="mine"))

        def is_refused(found: tuple[int, dict[str, Any]]) -> bool:
            return any(of["error"] for proxy in found[1]["proxies"] for of in proxy["types"].values())

        status, found = await eventually(lambda: told(mesh), is_refused)
        assert status == 1
        (proxy,) = found["proxies"]
        assert "Address already in use" in proxy["types"]["lds"]["error"]
        assert proxy["types"]["lds"]["nacked"]
        assert not proxy["synced"]
        status, text = await ask(mesh, "status")
        assert (status, "refuses" in text, "edge.default: LDS was refused: " in text) == (1, True, True)
        assert any("Address already in use" in words for words in proxy["types"]["lds"]["refused"].values())
        status, text = await ask(mesh, "wait", "--timeout", "1s")
        assert (status, "Address already in use" in text) == (1, True)


@pytest.mark.envoy
async def test_the_standard_client_status_says_the_same(mesh: Mesh) -> None:
    """Each resource of each proxy, in step; and behind while the proxy is stopped."""
    await _served(mesh)
    edge, other = await mesh.gateway(name="edge"), await mesh.gateway(name="other")
    assert (await ask(mesh, "wait", "--proxies", "2"))[0] == 0
    async with grpc.aio.insecure_channel(f"unix:{mesh.socket}") as channel:
        fetch = channel.unary_unary(
            "/envoy.service.status.v3.ClientStatusDiscoveryService/FetchClientStatus",
            request_serializer=csds_pb2.ClientStatusRequest.SerializeToString,
            response_deserializer=csds_pb2.ClientStatusResponse.FromString,
        )

        async def states() -> dict[str, set[int]]:
            found = await fetch(csds_pb2.ClientStatusRequest())
            return {
                of.node.id.split("~")[2]: {one.config_status for one in of.generic_xds_configs} for of in found.config
            }

        in_step = {csds_pb2.SYNCED}
        assert await states() == {"edge.default": in_step, "other.default": in_step}
        with stopped(edge):
            mesh.write("rule.yaml", rule("red", "two"))
            await other.at().workload("two", host="red.example")
            now = await eventually(states, lambda found: found["other.default"] == in_step)
            assert csds_pb2.STALE in now["edge.default"]
        await eventually(states, lambda found: found["edge.default"] == in_step)
        (found, *_) = (await fetch(csds_pb2.ClientStatusRequest())).config
        bodies = {one.type_url.rpartition(".")[2]: one.xds_config for one in found.generic_xds_configs}
        listener = listener_pb2.Listener()
        assert bodies["Listener"].Unpack(listener)
        assert listener.address.socket_address.port_value in (edge.at().port, other.at().port)


@pytest.mark.envoy
async def test_a_document_that_is_held_is_no_success(single: Mesh) -> None:
    """Who waits for what was just saved is told that it is not in service; with file and line."""
    await _served(single)
    await single.gateway(name="edge")
    assert (await ask(single, "wait"))[0] == 0
    single.write("rule.yaml", yaml(rule("red", "two")).replace("destination", "destnation"))
    await single.held("VirtualService default/red")
    status, text = await ask(single, "wait", "--timeout", "5s")
    assert status == 1
    assert "rule.yaml" in text
    assert "not in service" in text
    status, found = await told(single)
    assert status == 1
    assert [(held["object"], held["file"]) for held in found["held"]] == [
        ("VirtualService default/red", str(single.folder / "rule.yaml"))
    ]
    assert found["problems"]
    assert "rule.yaml:" in (await ask(single, "status"))[1]
    assert (await ask(single, "wait", "--revision", found["revision"][:8]))[0] == 0
    single.write("rule.yaml", rule("red", "two"))
    assert (await ask(single, "wait", "--timeout", "5s"))[0] == 0
    single.write("more.yaml", "kind: [")
    status, text = await ask(single, "wait", "--timeout", "5s")
    assert (status, "more.yaml" in text) == (1, True)


async def test_a_server_that_is_not_there_is_exit_3() -> None:
    """With words on what to do."""
    for command in (("status",), ("wait", "--timeout", "2s"), ("status", "--watch")):
        program = await Program.start(*command, "--server", f"127.0.0.1:{free_port()}")
        assert await program.ended() == 3
        assert "legation serve DIR" in program.text
        assert "Traceback" not in program.text


async def test_wait_may_be_there_before_the_server(single: Mesh) -> None:
    """In a script both are started at once."""
    waiting = asyncio.create_task(ask(single, "wait", "--proxies", "0", "--timeout", "60s"))
    single.write("mesh.yaml", gateway())
    await single.serve()
    assert (await waiting)[0] == 0


async def test_something_else_at_the_address_is_exit_3_too(single: Mesh) -> None:
    """The console's port, say."""
    single.write("mesh.yaml", gateway())
    await single.serve()
    program = await Program.start("status", "--server", f"127.0.0.1:{single.console.port}")
    assert await program.ended() == 3
    assert "Traceback" not in program.text


async def test_what_clients_say_steers_no_terminal(single: Mesh) -> None:
    """Their ids are claims, and the words of their refusals may be anything."""
    open_to_all = gateway()
    del open_to_all["spec"]["selector"]
    single.write("mesh.yaml", open_to_all, service("one", 1), rule("red", "one"))
    server = await single.serve()
    name, words = "[red]edge[/blue]", "[red]\x1b[2J\nserving everything[/blue]"
    async with Wire(f"unix:{single.socket}", node=name) as wire:
        await wire.asks(LISTENER)
        sent = await wire.gets()
        await wire.asks(LISTENER, error=words, response_nonce=sent.nonce)

        async def refused() -> tuple[int, str]:
            return await ask(single, "status")

        status, text = await eventually(refused, lambda found: found[0] == 1)
        assert "\x1b" not in text
        assert name in text
        assert "[red]\\x1b[2J\\nserving everything[/blue]" in text
        assert (await told(single))[1]["proxies"][0]["types"]["lds"]["error"] == words
        status, text = await ask(single, "wait", "--timeout", "1s")
        assert (status, "\x1b" in text) == (1, False)
    assert "\x1b" not in server.text
    assert not [line for line in server.lines if line.startswith("serving everything")]


async def test_waiting_for_more_proxies_than_there_are_fails(single: Mesh) -> None:
    """And for a revision that nobody has heard of."""
    single.write("mesh.yaml", gateway())
    await single.serve()
    assert await ask(single, "wait", "--timeout", "1s") == (1, "0 of 1 proxies are connected after 1 s")
    assert (await ask(single, "wait", "--timeout", "5s", "--proxies", "0"))[0] == 0
    status, text = await ask(single, "wait", "--timeout", "1s", "--revision", "abc")
    assert (status, "there was no revision abc" in text) == (1, True)
    for wrong in (("--timeout", "soon"), ("--proxies", "-1"), ("--server", "nowhere")):
        assert (await ask(single, "wait", *wrong))[0] == 2


async def test_watching_tells_what_changes(single: Mesh) -> None:
    """One line of JSON for every state, until Ctrl-C."""
    single.write("mesh.yaml", gateway())
    await single.serve()
    program = await Program.start("status", "--watch", "-o", "json", "--server", f"unix:{single.socket}")
    try:
        await program.says('"held": \\[\\]')
        single.write("rule.yaml", yaml(rule("red", "two")).replace("destination", "destnation"))
        await program.says('"object": "VirtualService default/red"')
        await program.interrupt()
    finally:
        await program.stop()
    assert "Traceback" not in program.text
