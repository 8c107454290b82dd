"""Connections that go silent, and pings (K-01 …)."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from legation.names import CLUSTER
from legation.transport.server import OPTIONS
from transport.wire import DELTA, PATIENCE, Desk, Wire, packed, serving

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, GOAWAY = 4, 6, 7
INTERVAL = "grpc.http2.min_ping_interval_without_data_ms"


class Relay:
    """Between a client and the server, until it is cut: then nothing gets through any more, and nobody is told."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._to = (host, int(port))
        self._tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def at(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        try:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            self.cut()
            server.close()

    def cut(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._to)
        self._ends = (writer, back)  # kept open
        self._tasks += [asyncio.create_task(self._pass(reader, back)), asyncio.create_task(self._pass(there, writer))]

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()


async def test_K_01_a_client_that_is_gone_without_a_word_is_noticed() -> None:
    """A cable that is cut closes no connection; only the server's own pings find out."""
    ours = {name: value for name, value in OPTIONS if "keepalive_time" in name or "ping_timeout" in name}
    assert ours["grpc.keepalive_time_ms"] + ours["grpc.http2.ping_timeout_ms"] <= 60_000
    hasty = [(name, value // 300) for name, value in ours.items()]
    desk = Desk(packed(CLUSTER, "a"))
    async with serving(desk, options=hasty) as address:
        relay = Relay(address)
        async with relay.at() as between, Wire(between, DELTA) as wire:
            await wire.asks(CLUSTER)
            await wire.acks(await wire.gets())
            await desk.until(lambda: desk.words)
            relay.cut()
            await desk.until(lambda: not desk.sessions)


@pytest.mark.parametrize(("interval", "is_borne"), [(dict(OPTIONS)[INTERVAL], True), (300_000, False)])
async def test_K_02_clients_may_ping_at_their_own_pace(interval: int, is_borne: bool) -> None:
    """Every ten seconds (here: fifty times as fast), without a stream too. gRPC's own default would hang up."""
    options = [(INTERVAL, interval // 50), ("grpc.max_connection_idle_ms", 3_600_000)]
    async with serving(Desk(), options=options) as address:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(PREFACE + frame(SETTINGS))
        is_over = False
        for number in range(8):
            writer.write(frame(PING, struct.pack(">Q", number)))
            while True:
                kind, flags, body = await read(reader)
                is_over = is_over or kind == GOAWAY
                if kind == GOAWAY or (kind == PING and flags & 1 and body == struct.pack(">Q", number)):
                    break
            if is_over:
                break
            await asyncio.sleep(10 / 50)  # the client's pace is what this is about
        writer.close()
        assert is_over is not is_borne


def frame(kind: int, body: bytes = b"") -> bytes:
    """An HTTP/2 frame of the connection itself."""
    return len(body).to_bytes(3, "big") + bytes([kind, 0]) + bytes(4) + body


async def read(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    """Kind, flags and body of the next frame."""
    async with asyncio.timeout(PATIENCE):
        head = await reader.readexactly(9)
        return head[3], head[4], await reader.readexactly(int.from_bytes(head[:3], "big"))
