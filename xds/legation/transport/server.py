"""The gRPC server: addresses, options, services, and an orderly end."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Callable, Iterable, Sequence

import grpc
from envoy.service.cluster.v3 import cds_pb2
from envoy.service.discovery.v3 import ads_pb2
from envoy.service.endpoint.v3 import eds_pb2
from envoy.service.listener.v3 import lds_pb2
from envoy.service.route.v3 import rds_pb2
from envoy.service.secret.v3 import sds_pb2
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from legation import names
from legation.transport import codec, limits
from legation.transport.access import Access, Doorman
from legation.transport.ads import DELTA, SOTW, Conversation, Dialect
from legation.transport.control import Control
from legation.transport.identity import Context

OPTIONS: tuple[tuple[str, int], ...] = (
    # Two servers on one port would share its clients at random; a port in use must be an error.
    ("grpc.so_reuseport", 0),
    # Clients that are gone without a word are noticed within a minute.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.ping_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Envoy and grpc-go ping at their own pace; the default allows one ping in five minutes and hangs up at the third.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    # Who is refused because its certificate expired shows a newer one on a new connection only, so one without streams ends.
    ("grpc.max_connection_idle_ms", 100),
    # Without ADS Envoy opens a stream per cluster; the default of about a hundred leaves the others without endpoints.
    ("grpc.max_concurrent_streams", limits.STREAMS),
    ("grpc.max_receive_message_length", limits.REQUEST),
    ("grpc.max_send_message_length", -1),
)

SERVICES: tuple[tuple[ServiceDescriptor, str], ...] = (
    (ads_pb2.DESCRIPTOR.services_by_name["AggregatedDiscoveryService"], ""),
    (lds_pb2.DESCRIPTOR.services_by_name["ListenerDiscoveryService"], names.LISTENER),
    (rds_pb2.DESCRIPTOR.services_by_name["RouteDiscoveryService"], names.ROUTE),
    (cds_pb2.DESCRIPTOR.services_by_name["ClusterDiscoveryService"], names.CLUSTER),
    (eds_pb2.DESCRIPTOR.services_by_name["EndpointDiscoveryService"], names.ENDPOINT),
    (sds_pb2.DESCRIPTOR.services_by_name["SecretDiscoveryService"], names.SECRET),
)
"""What is served, and the only type of a service that has one. Their Fetch methods are left unimplemented."""

DRAIN_GROUPS = 20
"""In so many groups the streams are closed, so that not all clients knock at the next server at once."""


class Server:
    """An xDS server. `bind` it, `start` it, `stop` it, once each, on one event loop.

    `access` is its door: without one, that of a server without TLS. `identifier` goes out with every response; `handlers`
    are served beside xDS, their service names in `services`. `turned_away` is called for every stream that is told to come
    again, because too many came at once. `options` take the place of those in OPTIONS.
    """

    def __init__(
        self,
        control: Control,
        identifier: str = "legation",
        *,
        access: Access | None = None,
        handlers: Sequence[grpc.GenericRpcHandler] = (),
        services: Iterable[str] = (),
        options: Iterable[tuple[str, int]] = (),
        turned_away: Callable[[], None] = lambda: None,
    ) -> None:
        self._control = control
        self._access = access or Access()
        self._identifier = codec.control_plane(identifier)
        self._conversations: set[Conversation] = set()
        self._entrance = limits.Entrance(turned_away)
        self._paces = limits.Paces()
        self._draining = False
        self._paths: list[str] = []
        self._ready: asyncio.Task[None] | None = None
        self._grpc = grpc.aio.server(
            interceptors=[Doorman(self._access)], options=list({**dict(OPTIONS), **dict(options)}.items())
        )
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)
        self._grpc.add_generic_rpc_handlers([self._service(*service) for service in SERVICES])
        self._grpc.add_generic_rpc_handlers(list(handlers))
        served = [service.full_name for service, _ in SERVICES] + [health.SERVICE_NAME, *services]
        reflection.enable_server_reflection((*served, reflection.SERVICE_NAME), self._grpc)

    def bind(self, address: str, credentials: grpc.ServerCredentials | None = None) -> str:
        """Listen on `HOST:PORT` or `unix:PATH`; the address as it came out (port 0 is any free one).

        A socket file is readable and writable by its owner only. Raises OSError if the address cannot be had.
        """
        path = address.removeprefix("unix:")
        if path == address:
            port = self._port(address, credentials)
            return f"{address.rpartition(':')[0]}:{port}"
        _clear(path)
        before = os.umask(0o177)
        try:
            self._port(address, credentials)
        finally:
            os.umask(before)
        self._paths.append(path)
        return address

    async def start(self) -> None:
        """Serve. Streams are accepted at once and answered when the application is ready."""
        await self._health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        await self._grpc.start()
        self._ready = asyncio.create_task(self._become_ready())

    async def stop(self, drain: float = 2.0) -> None:
        """Take no new streams, close those that are open (UNAVAILABLE) in groups over `drain` seconds, and end."""
        self._draining = True
        if self._ready is not None:
            self._ready.cancel()
        await self._health.enter_graceful_shutdown()
        stopping = asyncio.create_task(self._grpc.stop(drain + 1.0))
        open_ones = list(self._conversations)
        size = max(1, -(-len(open_ones) // DRAIN_GROUPS))
        groups = [open_ones[at : at + size] for at in range(0, len(open_ones), size)]
        for number, group in enumerate(groups):
            if number and drain:
                await asyncio.sleep(drain / len(groups))
            for conversation in group:
                conversation.close("UNAVAILABLE", "the server is shutting down")
        await stopping
        for path in self._paths:
            _remove(path)

    async def _become_ready(self) -> None:
        await self._control.ready()
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)

    def _port(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        try:
            if credentials is None:
                return int(self._grpc.add_insecure_port(address))
            return int(self._grpc.add_secure_port(address, credentials))
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: {error}") from error

    def _service(self, service: ServiceDescriptor, type_url: str) -> grpc.GenericRpcHandler:
        """Both streaming methods of a service, on bytes: `Stream…` is state of the world, `Delta…` incremental."""
        methods = {
            method.name: self._method(DELTA if method.name.startswith("Delta") else SOTW, type_url)
            for method in service.methods
            if not method.name.startswith("Fetch")
        }
        return grpc.method_handlers_generic_handler(service.full_name, methods)

    def _method(self, dialect: Dialect, type_url: str) -> grpc.RpcMethodHandler:
        async def converse(_: object, context: Context) -> None:
            if self._draining:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the server is shutting down")
            peer = self._access.peer(context)
            pace = self._paces.begin(peer.address)
            conversation = Conversation(
                self._control, self._access, peer, dialect, type_url, self._identifier, context, self._entrance, pace
            )
            self._conversations.add(conversation)
            try:
                await conversation.run()
            finally:
                self._conversations.discard(conversation)
                self._paces.end(peer.address, pace, asyncio.get_running_loop().time())

        return grpc.stream_stream_rpc_method_handler(converse)


def _clear(path: str) -> None:
    """Remove a socket file that nobody serves. Raises OSError if somebody does, or if it is something else."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(f"cannot listen on unix:{path}: the file is there and is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            _remove(path)
        else:
            raise OSError(f"cannot listen on unix:{path}: another server does")


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
