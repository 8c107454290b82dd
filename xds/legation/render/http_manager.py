"""The HTTP connection manager: what is the same for all requests of a listener, or of one HTTPS server.

Envoy: envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.
"""

from __future__ import annotations

from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from google.protobuf import duration_pb2, wrappers_pb2

from legation.model.proxy import Role, Scope
from legation.model.recall import Reader
from legation.render import access_logs, order, wire
from legation.render.features import dynamic_dns, proxy_defaults

FILTER = "envoy.filters.network.http_connection_manager"


def manager(reader: Reader, scope: Scope, stat_prefix: str, route: str) -> hcm_pb2.HttpConnectionManager:
    """The manager for a route configuration."""
    made = hcm_pb2.HttpConnectionManager(stat_prefix=stat_prefix, proxy_100_continue=True)
    made.rds.route_config_name = route
    made.rds.config_source.CopyFrom(wire.ADS)
    made.stream_idle_timeout.CopyFrom(duration_pb2.Duration())
    made.upgrade_configs.add(upgrade_type="websocket")
    at_edge = scope.role is Role.GATEWAY
    made.use_remote_address.value = at_edge
    if at_edge:
        # The edge trusts nobody's X-Forwarded-Client-Cert and says itself who the client is.
        made.forward_client_cert_details = hcm_pb2.HttpConnectionManager.SANITIZE_SET
        details = made.set_current_client_cert_details
        details.subject.CopyFrom(wrappers_pb2.BoolValue(value=True))
        details.cert = details.dns = details.uri = True
        made.server_name = "istio-envoy"
    proxy_defaults.to_manager(made, reader, scope)
    made.access_log.extend(access_logs.of_mesh(reader))
    for filter_name, config in dynamic_dns.among(order.HTTP_FILTERS, reader):
        packed = wire.pack(proxy_defaults.of_filter(config, reader))
        made.http_filters.add(name=filter_name).typed_config.CopyFrom(packed)
    return made
