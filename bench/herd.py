"""Many incremental clients in one process that ask for what an Envoy asks for: clusters, the endpoints of each by name,
listeners, and all routes.

`python -m bench.herd HOST:PORT COUNT AT_ONCE` connects one after a line `connect` on standard input, and all after
`storm`; `hang up` ends all streams, and `again` connects them with the versions that they have. Each is answered by a line
of JSON when every client has all that there is: when the last and the median one had it, the bytes by type, and how often
one was told to come again. It ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from typing import Any

import grpc
from envoy.service.discovery.v3 import discovery_pb2
from legation import names

_METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
_TYPES = (names.CLUSTER, names.ENDPOINT, names.LISTENER, names.ROUTE)
_CALM = 2.0
"""Seconds without a response after which the first client has all that there is."""


class Herd:
    """All clients. What the first one has, alone and at leisure, is what the others must have."""

    def __init__(self, address: str, count: int, at_once: int) -> None:
        self.address = address
        self.bytes: Counter[str] = Counter()
        self.whole: dict[str, int] = {}
        self.turned_away = 0
        self._gate = asyncio.Semaphore(at_once)
        self._clients = [_Client(number, self) for number in range(count)]

    async def connect(self) -> dict[str, Any]:
        """The first client alone."""
        first = self._clients[0]
        await first.connect()
        while time.monotonic() - first.heard < _CALM or not first.answered.issuperset(_TYPES):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        self.whole = {type_url: len(first.had[type_url]) for type_url in _TYPES}
        return self._said([first.heard])

    async def storm(self) -> dict[str, Any]:
        """All the others at once, as far as this process gets."""
        return await self._all(self._clients[1:])

    async def again(self) -> dict[str, Any]:
        """All, with what they have."""
        return await self._all(self._clients)

    async def hang_up(self) -> dict[str, Any]:
        """Ends all streams."""
        await asyncio.gather(*(client.hang_up() for client in self._clients))
        return self._said([time.monotonic()])

    async def _all(self, clients: list[_Client]) -> dict[str, Any]:
        async def bring_up(client: _Client) -> float:
            async with self._gate:
                await client.connect()
                await client.complete.wait()
                return time.monotonic()

        return self._said(await asyncio.gather(*map(bring_up, clients)))

    def _said(self, times: list[float]) -> dict[str, Any]:
        taken, self.bytes = dict(self.bytes), Counter()
        middle = sorted(times)[len(times) // 2]
        away, self.turned_away = self.turned_away, 0
        return {"last": max(times), "median": middle, "bytes": taken, "resources": self.whole, "away": away}


class _Client:
    def __init__(self, number: int, herd: Herd) -> None:
        self._node = (
            f"sidecar~10.{number >> 16}.{number >> 8 & 255}.{number & 255}~herd-{number}.shop~shop.svc.cluster.local"
        )
        self._herd = herd
        self.had: dict[str, dict[str, str]] = {type_url: {} for type_url in _TYPES}
        self.answered: set[str] = set()
        self.complete = asyncio.Event()
        self.heard = 0.0

    async def connect(self) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        self.answered.clear()
        self.complete.clear()
        self._channel = grpc.aio.insecure_channel(self._herd.address, options=options)
        self._call: Any = self._channel.stream_stream(_METHOD)()
        self._reader = asyncio.create_task(self._read())
        await self._ask(names.CLUSTER, node=self._node)
        await self._ask(names.LISTENER)
        await self._ask(names.ROUTE, ["*"])
        if self.had[names.ENDPOINT]:
            await self._ask(names.ENDPOINT, self.had[names.ENDPOINT])

    async def hang_up(self) -> None:
        self._reader.cancel()
        self._call.cancel()
        await self._channel.close()

    async def _ask(self, type_url: str, wanted: Any = (), node: str = "") -> None:
        request = discovery_pb2.DeltaDiscoveryRequest(type_url=type_url, initial_resource_versions=self.had[type_url])
        request.resource_names_subscribe.extend(wanted)
        if node:
            request.node.id = node
            request.node.metadata.update({"NAMESPACE": "shop", "INTERCEPTION_MODE": "NONE"})
        await self._call.write(request.SerializeToString())

    async def _read(self) -> None:
        while (raw := await self._call.read()) is not grpc.aio.EOF:
            self.heard = time.monotonic()
            await self._take(discovery_pb2.DeltaDiscoveryResponse.FromString(raw), len(raw))
        if await self._call.code() is not grpc.StatusCode.UNAVAILABLE:
            sys.exit("the server ended a stream")
        self._herd.turned_away += 1
        await self._channel.close()
        await asyncio.sleep(random.uniform(0.2, 2.0))  # as our bootstrap has it
        await self.connect()

    async def _take(self, response: Any, size: int) -> None:
        url = response.type_url
        self._herd.bytes[names.SHORT_TYPE[url]] += size
        new = {sys.intern(one.name): sys.intern(one.version) for one in response.resources}
        fresh = new.keys() - self.had[url].keys()
        self.had[url].update(new)
        self.answered.add(url)
        answer = discovery_pb2.DeltaDiscoveryRequest(type_url=url, response_nonce=response.nonce)
        await self._call.write(answer.SerializeToString())
        if url == names.CLUSTER and fresh:
            await self._call.write(
                discovery_pb2.DeltaDiscoveryRequest(
                    type_url=names.ENDPOINT, resource_names_subscribe=fresh
                ).SerializeToString()
            )
        if self.answered.issuperset(_TYPES) and all(
            len(self.had[one]) >= count for one, count in self._herd.whole.items()
        ):
            self.complete.set()


async def main(address: str, count: int, at_once: int) -> None:
    herd = Herd(address, count, at_once)
    commands = {"connect": herd.connect, "storm": herd.storm, "hang up": herd.hang_up, "again": herd.again}
    while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
        print(json.dumps(await commands[line]()), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
