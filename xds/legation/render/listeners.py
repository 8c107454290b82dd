"""Listeners: at a gateway one per port and bind address, beside a workload one per port of the mesh.

Envoy: envoy.config.listener.v3.Listener. Whatever changes often is kept out of it: any changed byte makes Envoy replace
what changed and drain its connections. Of a listener of which only filter chains differ, it keeps the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from envoy.config.core.v3 import base_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2

from legation import names
from legation.model import servers
from legation.model.proxy import Role, Scope
from legation.model.recall import Reader
from legation.model.servers import Handling, Server
from legation.render import access_logs, http_manager, routes, tcp, tls, wire
from legation.render.chains import ANY, Chain, chain, told_apart
from legation.render.features import proxy_defaults
from legation.snapshot.snapshot import Resource

TLS_INSPECTOR = "envoy.filters.listener.tls_inspector"


def listener_names(reader: Reader, scope: Scope) -> tuple[str, ...]:
    """The names of the listeners that a scope may have (a unit)."""
    if scope.role is Role.GATEWAY:
        opened = {server.listener: server.listens for server in reader.ask(servers.servers, scope)}
        return tuple(sorted(opened, key=lambda name: opened[name]))
    return tuple(reader.ask(_ports, scope))


def listener(reader: Reader, name: str, scope: Scope) -> Resource | None:
    """One listener (a unit); None if nothing would be done with its connections."""
    if scope.role is Role.GATEWAY:
        return _at_gateway(reader, name, scope)
    port = reader.ask(_ports, scope).get(name)
    if port is None:
        return None
    route = names.sidecar_http_route(port)
    manager = chain(http_manager.FILTER, http_manager.manager(reader, scope, name, route))
    return _listener(
        reader,
        name,
        scope,
        scope.bind,
        scope.real_port(port),
        [Chain(manager, refs=frozenset(((names.ROUTE, route),)))],
    )


def _ports(reader: Reader, scope: Scope) -> Mapping[str, int]:
    """Capture mode NONE: real listeners on loopback; the services of a port share one and are told apart by Host."""
    ports = reader.ask(routes.sidecar_ports, scope)
    return {names.listener(scope.bind, scope.real_port(port)): port for port in ports}


def _at_gateway(reader: Reader, name: str, scope: Scope) -> Resource | None:
    by_server = reader.each(server_chains, (scope,), servers.sharing, name, scope)
    if not by_server:
        return None
    first: Server = next(iter(by_server))
    # Who has a certificate for a name goes before rules that would pass it on unread: it may ask clients for theirs.
    ordered = sorted(by_server, key=lambda server: not server.handling.ends_tls)
    found = [one for server in ordered for one in by_server[server]]
    inspected = any(not server.handling.is_plain for server in by_server)
    return _listener(reader, name, scope, first.bind or servers.ALL_ADDRESSES, first.real_port, found, inspected)


def server_chains(reader: Reader, server: Server, scope: Scope) -> tuple[Chain, ...]:
    """What is done with the connections of one server (a unit)."""
    match server.handling:
        case Handling.HTTP | Handling.HTTPS:
            return (_routed(reader, server, scope),)
        case Handling.TCP:
            return tuple(tcp.by_rule(reader, server, scope, None, frozenset()))
        case Handling.TLS:
            assert server.tls is not None
            return tuple(tcp.by_rule(reader, server, scope, *tls.downstream(server.tls)))
        case Handling.PASSTHROUGH:
            return tuple(tcp.by_name(reader, server, scope))
        case Handling.AUTO_PASSTHROUGH:
            return tuple(tcp.by_service(reader, server, scope))


def _routed(reader: Reader, server: Server, scope: Scope) -> Chain:
    refs = frozenset(((names.ROUTE, server.route),))
    plain = server.handling is Handling.HTTP
    prefix = server.listener if plain else server.name or server.listener
    manager = http_manager.manager(reader, scope, prefix, server.route)
    if plain or server.tls is None:
        return Chain(chain(http_manager.FILTER, manager), plain=True, refs=refs, origins=(server.origin,))
    socket, secrets = tls.downstream(server.tls, tls.HTTP)
    body = chain(http_manager.FILTER, manager, socket)
    return Chain(body, server.names or (ANY,), refs=refs | secrets, origins=(server.origin,))


def _listener(
    reader: Reader, name: str, scope: Scope, bind: str, port: int, chains: Iterable[Chain], inspected: bool = False
) -> Resource | None:
    chains = list(chains)
    made = listener_pb2.Listener(name=name, traffic_direction=base_pb2.OUTBOUND)
    wire.set_address(made.address, bind, port)
    if scope.role is Role.SIDECAR or not scope.reuse_port:
        made.enable_reuse_port.value = False  # a second proxy on the port must fail, not share it at random
    if scope.role is Role.GATEWAY:
        made.max_connections_to_accept_per_socket_event.value = 1
    proxy_defaults.to_listener(made, reader, scope)
    made.access_log.extend(access_logs.of_listener(reader))
    if inspected:
        # There as soon as anything speaks TLS, so that the first name that is told from others changes one chain only.
        inspector = made.listener_filters.add(name=TLS_INSPECTOR)
        inspector.typed_config.CopyFrom(wire.pack(tls_inspector_pb2.TlsInspector()))
    made.filter_chains.extend(told_apart(chains))
    if not made.filter_chains:
        return None
    refs = frozenset(ref for one in chains for ref in one.refs)
    origins = tuple(dict.fromkeys(key for one in chains for key in one.origins))
    return wire.as_resource(name, made, refs, origins)
