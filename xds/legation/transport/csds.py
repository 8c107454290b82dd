"""The client status discovery service: what the server knows of every client, in Envoy's standard form.

Only the server's half of it is filled in (`config_status`): what a client has made of what it took, it knows itself.
Source: envoy/service/status/v3/csds.proto.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import grpc
from envoy.service.status.v3 import csds_pb2
from google.protobuf import any_pb2, json_format
from google.protobuf.message import DecodeError

from legation.model.proxy import Proxy
from legation.render import printed
from legation.snapshot.snapshot import Resource
from legation.stream.inventory import Holding, State
from legation.transport import nodes
from legation.transport.admin import Permit
from legation.transport.identity import Context

SERVICE: Final = csds_pb2.DESCRIPTOR.services_by_name["ClientStatusDiscoveryService"]

PORTION: Final = 1 << 20
"""Bytes after which a response is full; what else there is of a client follows under the same node in another."""
MOST: Final = 3 << 20
"""Bytes of an answer that must be one response: clients take four megabytes by default."""
SLICE: Final = 100
"""Resources that are made ready before anything else has its turn."""

Entry: TypeAlias = csds_pb2.ClientConfig.GenericXdsConfig

_STATUS: Final = {
    State.SYNCED: csds_pb2.SYNCED,
    State.STALE: csds_pb2.STALE,
    State.NOT_SENT: csds_pb2.NOT_SENT,
    State.REFUSED: csds_pb2.ERROR,
}


@dataclass(frozen=True, slots=True)
class Inventory:
    """All that one stream's client asks for; `changed` says when a resource, by type and name, last changed (epoch)."""

    proxy: Proxy
    holdings: list[Holding]
    changed: Callable[[str, str], float]


class Fleet(Protocol):
    """What is asked of the application, about this moment."""

    @property
    def streams(self) -> Iterable[int]:
        """The open streams."""

    def proxy(self, stream: int) -> Proxy | None:
        """Whose it is; None if it is over."""

    def inventory(self, stream: int) -> Inventory | None:
        """What is known of its resources; None if it is over."""


class ClientStatus:
    """The service: hand `handler` to the Server."""

    def __init__(self, fleet: Fleet, permit: Permit) -> None:
        self._fleet = fleet
        self._permit = permit
        self.services = (SERVICE.full_name,)
        codec = {
            "request_deserializer": csds_pb2.ClientStatusRequest.FromString,
            "response_serializer": csds_pb2.ClientStatusResponse.SerializeToString,
        }
        self.handler = grpc.method_handlers_generic_handler(
            SERVICE.full_name,
            {
                "StreamClientStatus": grpc.stream_stream_rpc_method_handler(self._stream, **codec),
                "FetchClientStatus": grpc.unary_unary_rpc_method_handler(self._fetch, **codec),
            },
        )

    async def _stream(self, _: Any, context: Context) -> None:
        """Every request is answered by one response or, where it does not fit, by several."""
        while (request := await context.read()) is not grpc.aio.EOF:
            picks = await self._begin(request, context)
            response, size = csds_pb2.ClientStatusResponse(), 0
            async for config in self._configs(request, picks):
                more = config.ByteSize()
                if size and size + more > PORTION:
                    await context.write(response)
                    response, size = csds_pb2.ClientStatusResponse(), 0
                response.config.append(config)
                size += more
            await context.write(response)

    async def _fetch(self, request: csds_pb2.ClientStatusRequest, context: Context) -> csds_pb2.ClientStatusResponse:
        picks = await self._begin(request, context)
        response, size = csds_pb2.ClientStatusResponse(), 0
        async for config in self._configs(request, picks):
            response.config.append(config)
            size += config.ByteSize()
            if size > MOST:
                words = "too much for one answer: use node_matchers, exclude_resource_contents, or StreamClientStatus"
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, words)
        return response

    async def _begin(self, request: csds_pb2.ClientStatusRequest, context: Context) -> Callable[[Proxy], bool]:
        """Which proxies are meant. Permission is asked for every request: it may be taken away."""
        try:
            self._permit(context)
            return nodes.picker(request.node_matchers)
        except PermissionError as refusal:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(refusal))
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        raise AssertionError

    async def _configs(
        self, request: csds_pb2.ClientStatusRequest, picks: Callable[[Proxy], bool]
    ) -> AsyncIterator[csds_pb2.ClientConfig]:
        """One for every stream, or several if it has much; each is about as large as a response may be, at most."""
        for stream in list(self._fleet.streams):
            proxy = self._fleet.proxy(stream)
            found = self._fleet.inventory(stream) if proxy is not None and picks(proxy) else None
            if found is None:
                continue
            with_bodies = not request.exclude_resource_contents
            config, size = csds_pb2.ClientConfig(node=nodes.node(found.proxy)), 0
            for start in range(0, len(found.holdings), SLICE):
                part = found.holdings[start : start + SLICE]
                # Beside the event loop: a table of ten thousand routes is taken apart for a second.
                for entry in await asyncio.to_thread(_entries, part, found, with_bodies):
                    more = entry.ByteSize()
                    if size and size + more > PORTION:
                        yield config
                        config, size = csds_pb2.ClientConfig(node=config.node), 0
                    config.generic_xds_configs.append(entry)
                    size += more
            yield config


def _entries(holdings: Iterable[Holding], found: Inventory, with_bodies: bool) -> list[Entry]:
    return [_entry(one, found, with_bodies) for one in holdings]


def _entry(of: Holding, found: Inventory, with_bodies: bool) -> Entry:
    entry = Entry(type_url=of.type_url, name=of.name, config_status=_STATUS[of.state])
    if of.content is not None:
        entry.version_info = of.content.version
        entry.last_updated.FromMilliseconds(round(found.changed(of.type_url, of.name) * 1000))
        if with_bodies:
            _show(of.content, entry.xds_config)
    if of.state is State.REFUSED:
        entry.error_state.details = of.words
        if of.refused is not None:
            entry.error_state.version_info = of.refused.version
            if with_bodies:
                _show(of.refused, entry.error_state.failed_configuration)
    return entry


def _show(resource: Resource, into: any_pb2.Any) -> None:
    """A resource without what must not be seen. What cannot be read cannot be cleaned, and is left out."""
    try:
        json_format.ParseDict({"@type": resource.type_url, **printed.message(resource)}, into)
    except (DecodeError, TypeError, json_format.Error):
        into.Clear()
