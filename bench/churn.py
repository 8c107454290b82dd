"""Endpoint churn: services whose endpoints move, one after the other at a steady rate, and how far behind the clients are.

Every save moves an endpoint of one service; every client is sent that service's endpoints. The lag is from the rename to
a client's acknowledgement, over all saves and clients. The rate is raised until the 99th of a hundred is behind by more
than a quarter of a second, and the last rate before that is the figure. The clients are in this process, which writes the
files too: with a hundred of them, it is what ends first. On the server's side every save is a file that is read, understood
and rendered, some milliseconds whatever the fleet, and then some tens of microseconds for each client.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
from envoy.service.discovery.v3 import discovery_pb2
from legation import names

from bench import trees
from bench.figures import Row, row
from bench.server import Server

NAME = "churn"
CLIENTS = 100
SERVICES = 500
RATES = (25, 50, 100, 150, 200, 300, 400, 600, 800)
SECONDS = 10.0
BEHIND = 0.25
_METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"


async def measure(quick: bool) -> AsyncIterator[Row]:
    clients, services, seconds, rates = (10, 50, 2.0, RATES[:2]) if quick else (CLIENTS, SERVICES, SECONDS, RATES)
    what = f"{clients} clients × {services} services"
    held = 0.0
    with TemporaryDirectory(prefix="legation-bench-") as folder:
        directory = Path(folder) / "yaml"
        files = trees.services(directory, services)
        async with await Server.start(directory, Path(folder) / "state") as server, AsyncExitStack() as stack:
            await server.ready()
            lags = _Lags()
            for number in range(clients):
                await stack.enter_async_context(_Client(server.address, number, lags))
            moves = 0
            for rate in rates:
                used, began = server.cpu(), time.monotonic()
                moves = await _at(rate, seconds, files, moves, lags)
                await lags.calm(clients)
                took = time.monotonic() - began
                late = statistics.quantiles(lags.taken(), n=100)[98]
                yield row(NAME, f"{what}: {rate} moves/s: 99 % are behind by less than", [late], "ms")
                yield row(NAME, f"{what}: … processor time of the server", [100 * (server.cpu() - used) / took], "%")
                if late > BEHIND or took > 1.2 * seconds + 1:
                    break
                held = rate
    yield row(NAME, f"{what}: moves per second with 99 % behind by less than {BEHIND * 1000:g} ms", [held], "/s")


async def _at(rate: float, seconds: float, files: list[Path], moves: int, lags: _Lags) -> int:
    """Moves endpoints at a rate; the number of the last move."""
    began = time.monotonic()
    for turn in range(int(rate * seconds)):
        moves += 1
        number = moves % len(files)
        address = f"127.1.{moves >> 8 & 255}.{moves & 255}"
        staged = trees.staged(files[number], trees.service(number, address=address).encode())
        await asyncio.sleep(max(0.0, began + turn / rate - time.monotonic()))
        lags.moved(trees.name(number))
        staged.rename(files[number])
    return moves


class _Lags:
    """When services moved, and when clients took it."""

    def __init__(self) -> None:
        self._moved: dict[str, float] = {}
        self._seen: list[float] = []
        self._wanted: dict[tuple[int, str], float] = {}
        self._owed = 0

    def moved(self, service: str) -> None:
        self._moved[service] = time.monotonic()
        self._owed += 1

    def took(self, client: int, services: set[str]) -> None:
        now = time.monotonic()
        for service in services:
            if self._wanted.get((client, service)) != (at := self._moved.get(service)) and at is not None:
                self._wanted[client, service] = at
                self._seen.append(now - at)

    async def calm(self, clients: int) -> None:
        """Returns once all clients have all that moved."""
        async with asyncio.timeout(60):
            while len(self._seen) < self._owed * clients:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    def taken(self) -> list[float]:
        """All lags since the last time."""
        seen, self._seen, self._owed = self._seen, [], 0
        return seen


class _Client:
    """Takes all endpoints, and acknowledges them at once."""

    def __init__(self, address: str, number: int, lags: _Lags) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        self._channel = grpc.aio.insecure_channel(address, options=options)
        self._number = number
        self._lags = lags

    async def __aenter__(self) -> _Client:
        self._call: Any = self._channel.stream_stream(_METHOD)()
        request = discovery_pb2.DeltaDiscoveryRequest(type_url=names.ENDPOINT, resource_names_subscribe=["*"])
        request.node.id = f"sidecar~10.0.0.{self._number}~churn-{self._number}.shop~shop.svc.cluster.local"
        await self._call.write(request.SerializeToString())
        await self._take(await self._call.read())
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reader.cancel()
        self._call.cancel()
        await self._channel.close()

    async def _read(self) -> None:
        while (raw := await self._call.read()) is not grpc.aio.EOF:
            await self._take(raw)

    async def _take(self, raw: bytes) -> None:
        response = discovery_pb2.DeltaDiscoveryResponse.FromString(raw)
        answer = discovery_pb2.DeltaDiscoveryRequest(type_url=names.ENDPOINT, response_nonce=response.nonce)
        await self._call.write(answer.SerializeToString())
        hosts = {one.name.rpartition("|")[2].partition(".")[0] for one in response.resources}
        self._lags.took(self._number, hosts)
