"""Many delta clients in one process, as small as they can be: each takes routes and acknowledges them at once.

`python -m bench.crowd HOST:PORT COUNT [FOLDER]` (over TLS with the certificate in a folder) prints a line of JSON when every
client has the first routes, and one after every change that all of them have acknowledged. It ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import grpc
from envoy.service.discovery.v3 import discovery_pb2
from legation import names

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
_AT_ONCE = 50


class _Crowd:
    def __init__(self, count: int) -> None:
        self._count = count
        self._times: list[float] = []
        self._bytes = 0

    def acknowledged(self, size: int) -> None:
        """A client has sent its ACK. The last one to do so reports for all."""
        self._times.append(time.monotonic())
        self._bytes += size
        if len(self._times) == self._count:
            times = sorted(self._times)
            count = len(times)
            line = {
                "last": times[-1], "p99": times[-1 - count // 100], "median": times[count // 2], "bytes": self._bytes
            }  # fmt: skip
            print(json.dumps(line), flush=True)
            self._times, self._bytes = [], 0


def _channel(address: str, folder: str) -> grpc.aio.Channel:
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
    if not folder:
        return grpc.aio.insecure_channel(address, options=options)
    authority, key, chain = (Path(folder, name).read_bytes() for name in ("ca.crt", "tls.key", "tls.crt"))
    return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(authority, key, chain), options=options)


async def _client(number: int, address: str, folder: str, crowd: _Crowd, gate: asyncio.Semaphore) -> None:
    async with _channel(address, folder) as channel:
        request = discovery_pb2.DeltaDiscoveryRequest(type_url=names.ROUTE, resource_names_subscribe=["*"])
        request.node.id = f"router~127.0.0.1~crowd-{number}.default~default.svc.cluster.local"
        request.node.metadata["LABELS"] = {"istio": "ingressgateway"}
        async with gate:  # a stream that says nothing for half a minute is ended
            call: Any = channel.stream_stream(METHOD)()
            await call.write(request.SerializeToString())
            raw = await call.read()
        while raw is not grpc.aio.EOF:
            nonce = discovery_pb2.DeltaDiscoveryResponse.FromString(raw).nonce
            answer = discovery_pb2.DeltaDiscoveryRequest(type_url=names.ROUTE, response_nonce=nonce)
            await call.write(answer.SerializeToString())
            crowd.acknowledged(len(raw))
            raw = await call.read()
    sys.exit("the server ended a stream")


async def main(address: str, count: int, folder: str) -> None:
    crowd, gate = _Crowd(count), asyncio.Semaphore(_AT_ONCE)
    clients = [asyncio.create_task(_client(number, address, folder, crowd, gate)) for number in range(count)]
    await asyncio.to_thread(sys.stdin.read)
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), "".join(sys.argv[3:])))
