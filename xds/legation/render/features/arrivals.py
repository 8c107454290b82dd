"""What is done with every call to a workload, and last of all: it is passed on.

Envoy: the grpc_web, router and tcp_proxy filters, and the one route of an inbound listener.
"""

from __future__ import annotations

from collections.abc import Iterator

from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from google.protobuf.message import Message

from legation import names
from legation.model.inbound import Inbound
from legation.model.protocols import Protocol
from legation.model.proxy import Scope
from legation.model.recall import Reader
from legation.render import access_logs
from legation.render.features import grpc_web, proxy_defaults, retries, tcp, timeout


def for_browsers(_reader: Reader, _scope: Scope, port: Inbound) -> Iterator[tuple[str, Message]]:
    """A workload that speaks gRPC is called by browsers, which cannot."""
    if port.protocol is Protocol.GRPC_WEB:
        yield grpc_web.FILTER


def request(_reader: Reader, _scope: Scope, _port: Inbound) -> Iterator[tuple[str, Message]]:
    """To where the route says."""
    yield "envoy.filters.http.router", router_pb2.Router()


def connection(reader: Reader, _scope: Scope, port: Inbound) -> Iterator[tuple[str, Message]]:
    """To the port's cluster."""
    made = tcp_proxy_pb2.TcpProxy(stat_prefix=port.cluster, cluster=port.cluster)
    tcp.apply(made, port.policy)
    made.access_log.extend(access_logs.of_mesh(reader))
    yield "envoy.filters.network.tcp_proxy", made


def routes(reader: Reader, port: Inbound) -> route_pb2.RouteConfiguration:
    """Everything goes to the port's cluster: VirtualServices are for callers."""
    made = route_pb2.RouteConfiguration(name=port.cluster)
    made.validate_clusters.value = False
    host = made.virtual_hosts.add(name=names.inbound_virtual_host(port.service_port), domains=["*"])
    host.include_request_attempt_count = proxy_defaults.counts_attempts(reader)
    route = host.routes.add(name="default")
    route.match.prefix = "/"
    route.route.cluster = port.cluster
    retries.inbound(route.route, reader, port.protocol in (Protocol.GRPC, Protocol.GRPC_WEB))
    timeout.limit(route.route, timeout.NONE)
    return made
