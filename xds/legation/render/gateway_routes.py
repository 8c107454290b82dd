"""What a gateway routes: one table for the HTTP servers of a port, one for each HTTPS server."""

from __future__ import annotations

from envoy.config.route.v3 import route_components_pb2 as route_pb2

from legation.model import delegation, routing, servers
from legation.model.meta import Key
from legation.model.proxy import Scope
from legation.model.recall import Reader
from legation.model.servers import Handling
from legation.model.sidecars import Viewer
from legation.render import virtual_hosts
from legation.render.context import RouteContext
from legation.render.features import match
from legation.render.virtual_hosts import VirtualHost
from legation.snapshot.snapshot import Resource


def route_names(reader: Reader, scope: Scope) -> tuple[str, ...]:
    """The names of a gateway's tables."""
    return tuple(sorted({server.route for server in reader.ask(servers.servers, scope)} - {""}))


def route_configuration(reader: Reader, name: str, scope: Scope) -> Resource:
    """One of them."""
    return virtual_hosts.table(name, reader.each(gateway_host, (name, scope), gateway_hosts, name, scope))


def gateway_hosts(reader: Reader, name: str, scope: Scope) -> tuple[str, ...]:
    """The hosts that may have a virtual host in a gateway's route configuration, in a stable order (a unit)."""
    found: set[str] = set()
    for server in reader.ask(servers.routing_by, name, scope):
        found |= routing.hosts_at_gateway(reader, server)
        if server.redirects:
            found |= set(server.names)
    return tuple(sorted(found))


def gateway_host(reader: Reader, host: str, name: str, scope: Scope) -> VirtualHost | None:
    """The virtual host of a host at a gateway (a unit): the routes of all VirtualServices that rule it there, in order,
    those that hold for every request moved to the end. Where one of the servers sends to https, everything is sent there.
    """
    routes: list[route_pb2.Route] = []
    origins: list[Key] = []
    number, redirects = 0, False
    for server in reader.ask(servers.routing_by, name, scope):
        secure = server.handling is Handling.HTTPS
        ruling = routing.at_gateway(reader, server, host, Viewer(scope.namespace))
        if server.redirects and (ruling or host in server.names):
            redirects, number = True, number or server.number
            origins.append(server.origin)
        for item in ruling:
            number = number or server.number
            origins += (server.origin, item.key, *delegation.delegates(reader, item))
            routes += virtual_hosts.routes(RouteContext(reader, item, server.gateway, server.number, scope, secure))
    if not routes and not redirects:
        return None
    routes.sort(key=lambda route: match.is_catch_all(route.match))
    made = virtual_hosts.virtual_host(reader, host, number, [host], routes)
    if redirects:
        made.require_tls = route_pb2.VirtualHost.ALL
    return virtual_hosts.piece(made, tuple(dict.fromkeys(origins)))
