"""A server on a loopback port, and a client that speaks protobuf to it: the wire as a proxy sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2, struct_pb2
from google.rpc import status_pb2
from legation.model.proxy import Proxy
from legation.names import TYPE_PREFIX
from legation.snapshot.snapshot import Ref, Resource, Snapshot, evolve, resource, snapshot
from legation.stream.commands import Accepted, Rejected, Send
from legation.transport.control import Session
from legation.transport.server import Server

ADS = "envoy.service.discovery.v3.AggregatedDiscoveryService"
STREAM = f"/{ADS}/StreamAggregatedResources"
DELTA = f"/{ADS}/DeltaAggregatedResources"
OPTIONS = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
PATIENCE = 10.0


def packed(type_url: str, name: str, content: str = "1", refs: Iterable[Ref] = ()) -> Resource:
    """A resource whose body is an Any of its type; what is in it matters to nobody here."""
    inner = struct_pb2.Struct()
    inner.update({"name": name, "content": content})
    body = any_pb2.Any(type_url=type_url, value=inner.SerializeToString(deterministic=True))
    return resource(type_url, name, body.SerializeToString(deterministic=True), refs)


class Desk:
    """The application, as small as it can be: one Snapshot for everybody."""

    def __init__(self, *resources: Resource) -> None:
        self.snapshot = snapshot(resources)
        self.sessions: list[Session] = []
        self.words: list[Accepted | Rejected] = []
        self.sends: list[tuple[str, int, float | None]] = []
        self.stale_types: list[str] = []
        self.latencies: list[float] = []
        self.proxies: list[Proxy] = []
        self.open = asyncio.Event()
        self.open.set()
        self.news = asyncio.Event()
        self.refusal = ""
        self.previous: Snapshot | None = None

    async def ready(self) -> None:
        await self.open.wait()

    def join(self, proxy: Proxy, session: Session) -> Snapshot:
        if self.refusal:
            raise PermissionError(self.refusal)
        self.proxies.append(proxy)
        self.sessions.append(session)
        self.news.set()
        if self.previous is not None:
            session.previous = self.previous
        return self.snapshot

    def leave(self, session: Session) -> None:
        self.sessions.remove(session)
        self.news.set()

    def heard(self, session: Session, command: Accepted | Rejected, latency: float) -> None:
        self.words.append(command)
        self.latencies.append(latency)
        self.news.set()

    def stirred(self, session: Session) -> None:
        self.news.set()

    def sent(self, session: Session, command: Send, size: int, wait: float | None) -> None:
        self.sends.append((command.type_url, size, wait))

    def stale(self, session: Session, type_url: str) -> None:
        self.stale_types.append(type_url)
        self.news.set()

    def puts(self, *resources: Resource, removed: Iterable[Ref] = ()) -> None:
        self.snapshot, change = evolve(self.snapshot, resources, removed)
        for session in self.sessions:
            session.publish(self.snapshot, change)

    async def until(self, what: Callable[[], object]) -> None:
        """Wait until something is so that a client's word or a stream's end brings about, or fail."""
        async with asyncio.timeout(PATIENCE):
            while not what():
                self.news.clear()
                await self.news.wait()


@asynccontextmanager
async def serving(
    desk: Desk, credentials: grpc.ServerCredentials | None = None, **arguments: Any
) -> AsyncIterator[str]:
    server = Server(desk, **arguments)
    address = server.bind("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield address
    finally:
        await server.stop(drain=0)


class Wire:
    """One stream. `DiscoveryRequest` or `DeltaDiscoveryRequest` by the method's name."""

    def __init__(
        self,
        address: str,
        method: str = STREAM,
        node: str | None = "gateway-1",
        credentials: grpc.ChannelCredentials | None = None,
        token: str = "",
        options: Iterable[tuple[str, int]] = (),
    ) -> None:
        self.delta = method.rpartition("/")[2].startswith("Delta")
        if credentials is None:
            self.channel = grpc.aio.insecure_channel(address, options=[*OPTIONS, *options])
        else:
            self.channel = grpc.aio.secure_channel(address, credentials, options=[*OPTIONS, *options])
        self.call = self.channel.stream_stream(method)(metadata=token and (("authorization", f"Bearer {token}"),))
        self.node = node

    async def __aenter__(self) -> Wire:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.call.cancel()
        await self.channel.close()

    async def asks(self, type_url: str, *names: str, error: str = "", **fields: Any) -> None:
        if self.delta:
            message: Any = discovery_pb2.DeltaDiscoveryRequest(type_url=type_url, **fields)
            message.resource_names_subscribe.extend(names)
        else:
            message = discovery_pb2.DiscoveryRequest(type_url=type_url, resource_names=names, **fields)
        if error:
            message.error_detail.CopyFrom(status_pb2.Status(code=13, message=error))
        if self.node is not None:
            message.node.id, self.node = self.node, None
        await self.call.write(message.SerializeToString())

    async def raw(self, data: bytes) -> None:
        await self.call.write(data)

    async def gets(self, within: float = PATIENCE) -> Any:
        """The next response. Fails if none comes."""
        async with asyncio.timeout(within):
            raw = await self.call.read()
        assert raw is not grpc.aio.EOF, await self.ends()
        kind = discovery_pb2.DeltaDiscoveryResponse if self.delta else discovery_pb2.DiscoveryResponse
        return kind.FromString(raw)

    async def acks(self, response: Any, *names: str) -> None:
        if self.delta:
            await self.asks(response.type_url, response_nonce=response.nonce)
        else:
            await self.asks(
                response.type_url, *names, version_info=response.version_info, response_nonce=response.nonce
            )

    async def ends(self) -> tuple[grpc.StatusCode, str]:
        """How the server ended the stream."""
        async with asyncio.timeout(PATIENCE):
            code = await self.call.code()
            return code, await self.call.details()


def named(response: Any) -> list[str]:
    """The names in a response, from inside where state of the world has them."""
    if isinstance(response, discovery_pb2.DeltaDiscoveryResponse):
        return sorted(one.name for one in response.resources)
    return sorted(struct_pb2.Struct.FromString(one.value)["name"] for one in response.resources)


def url(short: str) -> str:
    return TYPE_PREFIX + short
