"""Fan-out: one change to a thousand delta streams and more, until the last has acknowledged it; and what a stream costs.

The clients are gateways of one scope, each on a connection of its own, in another process on the same machine
(`crowd.py`): what they cost is in the times, and not in the server's processor time. What bounds it is the server's one
event loop: some hundred microseconds to send a stream a response and to read its answer, most of them gRPC's. Memory
is what the process grew by for each stream; gRPC alone takes some 38 KiB of that, and we promise to stay within twice that.

In every second round one more client is there that never reads (`stalled`): the others must not notice.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from asyncio.subprocess import PIPE
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
from envoy.service.discovery.v3 import discovery_pb2
from legation import names
from legation.local import authority
from legation.local.authority import Purpose

from bench import trees
from bench.crowd import METHOD
from bench.figures import Row, ratios, row
from bench.server import Server, free_port

NAME = "fan-out"
ROUNDS = {1_000: 10, 4_000: 6, 8_000: 4}
"""Rounds by streams. One machine has some twenty thousand descriptors for both ends of every connection, as a rule."""
HOSTS = 100
TLS = 1_000
"""Streams for which all is measured once more over TLS with certificates of clients, each with its own handshake."""
MEMORY = 76.0
WARM = 2
WITHIN = 600.0


async def measure(quick: bool) -> AsyncIterator[Row]:
    for streams, rounds in {100: 2}.items() if quick else ROUNDS.items():
        async for each in _with(streams, rounds):
            yield each
    streams = min(100 if quick else max(ROUNDS), TLS)
    async for each in _with(streams, 2 if quick else ROUNDS[TLS], tls=True):
        yield each


async def _with(streams: int, rounds: int, tls: bool = False) -> AsyncIterator[Row]:
    seen: dict[str, list[float]] = defaultdict(list)
    with TemporaryDirectory(prefix="legation-bench-") as folder:
        directory = Path(folder) / "yaml"
        files = trees.answering(directory, HOSTS, "blue")
        secure = f"127.0.0.1:{free_port()}"
        options, certificate = _certified(Path(folder), secure) if tls else ((), "")
        async with await Server.start(directory, Path(folder) / "state", options=options) as server:
            await server.ready()
            async with _Stalled(server.address):
                await asyncio.sleep(0.5)  # what is rendered once is nobody's
            before, began = server.memory(), server.cpu()
            async with _Crowd(secure if tls else server.address, streams, certificate) as crowd:
                await crowd.report()
                connected, grown = server.cpu() - began, server.memory() - before
                for turn in range(2 * (WARM + rounds)):
                    async with _Stalled(server.address) if turn % 2 else nullcontext():
                        staged = trees.staged(files[turn], trees.answer(turn, "green").encode())
                        await asyncio.sleep(0.5)
                        used, began = server.cpu(), time.monotonic()
                        staged.rename(files[turn])
                        told = await crowd.report()
                        await asyncio.sleep(0.5)  # the last acknowledgements are still read
                    if turn >= 2 * WARM:
                        kind = "stalled " if turn % 2 else ""
                        for figure in ("last", "p99", "median"):
                            seen[kind + figure].append(told[figure] - began)
                        seen[kind + "cpu"].append(server.cpu() - used)
                        seen["size"].append(told["bytes"] / streams)
    what = f"{streams:,} streams{' over TLS' if tls else ''} of {HOSTS} hosts"
    yield row(NAME, f"{what}: save to the last ACK", seen["last"], "ms")
    yield row(NAME, f"{what}: save to the median ACK", seen["median"], "ms")
    yield row(NAME, f"{what}: save to the ACK of 99 %", seen["p99"], "ms")
    yield ratios(NAME, f"{what}: the same beside a client that never reads", seen["stalled p99"], seen["p99"], 1.25)
    yield row(NAME, f"{what}: processor time of the server", seen["cpu"], "ms")
    yield row(NAME, f"{what}: the same, per stream", [seconds / streams for seconds in seen["cpu"]], "µs")
    yield row(NAME, f"{what}: bytes per stream", seen["size"], "B")
    yield row(NAME, f"{what}: processor time to connect, per stream", [connected / streams], "ms")
    yield row(NAME, f"{what}: memory per stream", [grown / streams / 1024], "KiB", None if tls else MEMORY)


def _certified(folder: Path, address: str) -> tuple[tuple[str, ...], str]:
    """What makes a server speak TLS at an address, and the folder of the clients' certificate."""
    made = folder / "certificates"
    authority.initialise(made, "cluster.local", 1, force=False)
    signer = authority.read(made)
    server, client = folder / "server", folder / "client"
    authority.issue(signer, server, Purpose.SERVER, ["localhost", "127.0.0.1"], 1, force=False)
    identity = "spiffe://cluster.local/ns/default/sa/crowd"
    authority.issue(signer, client, Purpose.CLIENT, [identity], 1, force=False)
    policy = folder / "policy.yaml"
    policy.write_text(f"proxies:\n- identity: {identity}\n  roles: [gateway]\n", encoding="utf-8")
    return (
        "--tls-cert", f"{server}/tls.crt", "--tls-key", f"{server}/tls.key", "--client-ca", f"{made}/ca.crt",
        "--tls-listen", address, "--policy", str(policy),
    ), str(client)  # fmt: skip


class _Stalled:
    """A client that asks for everything and reads nothing, with a window that does not grow."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=[("grpc.http2.bdp_probe", 0)])

    async def __aenter__(self) -> None:
        self._calls: list[Any] = []
        for type_url in (names.ROUTE, names.LISTENER):
            call = self._channel.stream_stream(METHOD)()
            self._calls.append(call)
            request = discovery_pb2.DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=["*"])
            request.node.id = "router~127.0.0.1~stalled.default~default.svc.cluster.local"
            request.node.metadata["LABELS"] = {"istio": "ingressgateway"}
            await call.write(request.SerializeToString())

    async def __aexit__(self, *_: object) -> None:
        for call in self._calls:
            call.cancel()
        await self._channel.close()


class _Crowd:
    """The process with the clients."""

    def __init__(self, address: str, streams: int, certificate: str = "") -> None:
        self._arguments = (address, str(streams), certificate)

    async def __aenter__(self) -> _Crowd:
        root = str(Path(__file__).parent.parent)
        command = (sys.executable, "-m", "bench.crowd", *self._arguments)
        self._process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, cwd=root)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()  # it ends with its input
        await self._process.wait()

    async def report(self) -> dict[str, float]:
        """What it says once every client has what was sent last."""
        assert self._process.stdout is not None
        async with asyncio.timeout(WITHIN):
            line = await self._process.stdout.readline()
        said: dict[str, float] = json.loads(line)
        return said
