"""Where a server listens, and how it ends."""

from __future__ import annotations

import asyncio
import socket
import stat
import time
from pathlib import Path

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from legation.names import CLUSTER
from legation.transport.server import Server

from transport.wire import ADS, Desk, Wire, named, packed, serving


async def test_port_0_is_a_free_one_and_a_port_in_use_an_error() -> None:
    async with serving(Desk()) as address:
        assert address.startswith("127.0.0.1:")
        assert int(address.rpartition(":")[2]) > 0
        with pytest.raises(OSError, match="cannot listen on"):
            Server(Desk()).bind(address)


async def test_a_socket_file_is_its_owners_only(tmp_path: Path) -> None:
    path = tmp_path / "xds.sock"
    server = Server(Desk(packed(CLUSTER, "a")))
    assert server.bind(f"unix:{path}") == f"unix:{path}"
    await server.start()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    async with Wire(f"unix:{path}") as wire:
        await wire.asks(CLUSTER)
        assert named(await wire.gets()) == ["a"]
    with pytest.raises(OSError, match="another server"):
        Server(Desk()).bind(f"unix:{path}")
    await server.stop(0)
    assert not path.exists()


async def test_a_socket_file_that_nobody_serves_is_taken_over_and_another_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "left.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    server = Server(Desk())
    server.bind(f"unix:{path}")
    await server.start()
    await server.stop(0)
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(OSError, match="no socket"):
        Server(Desk()).bind(f"unix:{tmp_path / 'notes'}")
    assert (tmp_path / "notes").read_text() == "mine"


async def test_it_drains_in_groups_and_takes_nobody_new() -> None:
    desk = Desk(packed(CLUSTER, "a"))
    server = Server(desk)
    address = server.bind("127.0.0.1:0")
    await server.start()
    wires = [Wire(address) for _ in range(10)]
    for wire in wires:
        await wire.asks(CLUSTER)
        await wire.gets()
    started = time.monotonic()
    stopping = asyncio.create_task(server.stop(drain=1.0))

    async def end(wire: Wire) -> tuple[grpc.StatusCode, float]:
        return (await wire.ends())[0], time.monotonic() - started

    ends = await asyncio.gather(*(end(wire) for wire in wires))
    assert {code for code, _ in ends} == {grpc.StatusCode.UNAVAILABLE}
    assert max(at for _, at in ends) - min(at for _, at in ends) > 0.5
    await stopping
    assert desk.sessions == []
    for wire in wires:
        await wire.channel.close()


async def test_reflection_lists_what_is_served() -> None:
    beside = ["legation.admin.v1.Admin"]
    async with serving(Desk(), services=beside) as address, grpc.aio.insecure_channel(address) as channel:
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        services = {one.name for one in (await call.read()).list_services_response.service}
    assert {ADS, "grpc.health.v1.Health", "legation.admin.v1.Admin"} <= services


async def test_status_of_a_session() -> None:
    desk = Desk(packed(CLUSTER, "a"))
    async with serving(desk) as address, Wire(address, node="router~10.1.2.3~gw.edge~edge.svc.cluster.local") as wire:
        await wire.asks(CLUSTER)
        response = await wire.gets()
        before = desk.sessions[0].status()
        assert (before.id, before.role, before.namespace) == (wire_id := desk.proxies[0].id, "gateway", "edge")
        assert wire_id.startswith("router~")
        assert (before.variant, before.connected, before.synced) == ("sotw", True, False)
        await wire.acks(response)
        await desk.until(lambda: desk.words)
        after = desk.sessions[0].status()
        assert after.synced
        assert after.types["cds"].acked == desk.snapshot.version(CLUSTER)
