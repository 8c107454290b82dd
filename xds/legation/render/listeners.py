"""Listeners: at a gateway one per port and bind address, beside a workload one per port of the mesh.

Envoy: envoy.config.listener.v3.Listener with one HTTP connection manager. Whatever changes often is kept out of it: any
changed byte makes Envoy replace the listener and drain its connections.
"""

from __future__ import annotations

from envoy.config.core.v3 import base_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from google.protobuf import duration_pb2, wrappers_pb2

from legation import names
from legation.model import routing
from legation.model.meta import Key
from legation.model.proxy import Role, Scope
from legation.model.recall import Reader
from legation.render import access_logs, order, routes, wire
from legation.render.features import dynamic_dns, proxy_defaults
from legation.snapshot.snapshot import Resource

_MANAGER = "envoy.filters.network.http_connection_manager"


def listeners(reader: Reader, scope: Scope) -> tuple[Resource, ...]:
    """Every listener of a scope (a unit)."""
    return _at_gateway(reader, scope) if scope.role is Role.GATEWAY else _beside_workload(reader, scope)


def _at_gateway(reader: Reader, scope: Scope) -> tuple[Resource, ...]:
    origins: dict[tuple[int, str], list[Key]] = {}
    for server in reader.ask(routing.servers, scope):
        origins.setdefault((server.real_port, server.bind), []).append(server.origin)
    return tuple(
        _http(
            reader, scope, bind or routing.ALL_ADDRESSES, port, names.gateway_http_route(port, bind), tuple(dict.fromkeys(of))
        )
        for (port, bind), of in sorted(origins.items())
    )


def _beside_workload(reader: Reader, scope: Scope) -> tuple[Resource, ...]:
    """Capture mode NONE: real listeners on loopback; the services of a port share one and are told apart by Host."""
    return tuple(
        _http(reader, scope, scope.bind, scope.real_port(port), names.sidecar_http_route(port), ())
        for port in reader.ask(routes.sidecar_ports, scope)
    )


def _http(reader: Reader, scope: Scope, bind: str, port: int, route: str, origins: tuple[Key, ...]) -> Resource:
    name = names.listener(bind, port)
    made = listener_pb2.Listener(name=name, traffic_direction=base_pb2.OUTBOUND)
    wire.set_address(made.address, bind, port)
    if scope.role is Role.SIDECAR or not scope.reuse_port:
        made.enable_reuse_port.value = False  # a second proxy on the port must fail, not share it at random
    if scope.role is Role.GATEWAY:
        made.max_connections_to_accept_per_socket_event.value = 1
    filters = made.filter_chains.add().filters.add(name=_MANAGER)
    filters.typed_config.CopyFrom(wire.pack(_manager(reader, scope, name, route)))
    proxy_defaults.to_listener(made, reader, scope)
    made.access_log.extend(access_logs.of_listener(reader))
    return wire.as_resource(name, made, frozenset(((names.ROUTE, route),)), origins)


def _manager(reader: Reader, scope: Scope, name: str, route: str) -> hcm_pb2.HttpConnectionManager:
    made = hcm_pb2.HttpConnectionManager(stat_prefix=name, proxy_100_continue=True)
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
