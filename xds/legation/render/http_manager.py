"""The HTTP connection manager: what is the same for all requests of a listener, or of one HTTPS server.

Envoy: envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.
"""

from __future__ import annotations

from collections.abc import Iterable

from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from google.protobuf import duration_pb2, wrappers_pb2
from google.protobuf.message import Message

from legation.model.proxy import Role, Scope
from legation.model.recall import Reader
from legation.render import access_logs, order, wire
from legation.render.features import dynamic_dns, grpc_web, proxy_defaults

FILTER = "envoy.filters.network.http_connection_manager"


def manager(
    reader: Reader,
    scope: Scope,
    stat_prefix: str,
    route: str,
    *,
    looks_up: bool = False,
    for_browsers: bool = False,
) -> hcm_pb2.HttpConnectionManager:
    """The manager for a route configuration. `looks_up`: some of its routes go to the host of the request.
    `for_browsers`: gRPC-Web is translated.
    """
    made = _manager(stat_prefix)
    made.rds.route_config_name = route
    made.rds.config_source.CopyFrom(wire.ADS)
    at_edge = scope.role is Role.GATEWAY
    made.use_remote_address.value = at_edge
    if at_edge:
        # The edge trusts nobody's X-Forwarded-Client-Cert and says itself who the client is.
        made.forward_client_cert_details = hcm_pb2.HttpConnectionManager.SANITIZE_SET
        details = made.set_current_client_cert_details
        details.subject.CopyFrom(wrappers_pb2.BoolValue(value=True))
        details.cert = details.dns = details.uri = True
        made.server_name = "istio-envoy"
    # Before faults and CORS, as in Istio; what is no gRPC-Web passes it as it is.
    filters = (*((grpc_web.FILTER,) if for_browsers else ()), *order.HTTP_FILTERS)
    _finish(made, reader, scope, dynamic_dns.among(filters, reader, always=looks_up))
    return made


def inbound(
    reader: Reader,
    scope: Scope,
    stat_prefix: str,
    routes: route_pb2.RouteConfiguration,
    filters: Iterable[tuple[str, Message]],
) -> hcm_pb2.HttpConnectionManager:
    """The manager for calls to a workload, with its routes inside: no rule changes them."""
    made = _manager(stat_prefix)
    made.route_config.CopyFrom(routes)
    made.use_remote_address.value = False
    # The caller's own proxy has said who it is; who it proves to be is added.
    made.forward_client_cert_details = hcm_pb2.HttpConnectionManager.APPEND_FORWARD
    details = made.set_current_client_cert_details
    details.subject.value = details.dns = details.uri = True
    made.server_name = "istio-envoy"
    proxy_defaults.to_inbound(made, reader)
    _finish(made, reader, scope, filters)
    return made


def _manager(stat_prefix: str) -> hcm_pb2.HttpConnectionManager:
    made = hcm_pb2.HttpConnectionManager(stat_prefix=stat_prefix, proxy_100_continue=True)
    made.stream_idle_timeout.CopyFrom(duration_pb2.Duration())
    made.upgrade_configs.add(upgrade_type="websocket")
    return made


def _finish(
    made: hcm_pb2.HttpConnectionManager, reader: Reader, scope: Scope, filters: Iterable[tuple[str, Message]]
) -> None:
    proxy_defaults.to_manager(made, reader, scope)
    made.access_log.extend(access_logs.of_mesh(reader))
    for filter_name, config in filters:
        packed = wire.pack(proxy_defaults.of_filter(config, reader))
        made.http_filters.add(name=filter_name).typed_config.CopyFrom(packed)
