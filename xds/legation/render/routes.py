"""Route configurations: virtual hosts that are bytes already, joined.

Envoy: envoy.config.route.v3.RouteConfiguration. A virtual host is a unit of its own; a change of one is a change of one,
and the rest of a table of ten thousand is copied as bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from envoy.config.route.v3 import route_components_pb2 as route_pb2
from envoy.config.route.v3 import route_pb2 as configuration_pb2

from legation import names
from legation.model import delegation, hosts, routing, servers, services
from legation.model.meta import Key, Object
from legation.model.proxy import Role, Scope
from legation.model.recall import Each, Reader
from legation.model.servers import Handling
from legation.render import order, wire
from legation.render.context import RouteContext
from legation.render.features import consistent_hash, match, proxy_defaults, retries, timeout
from legation.snapshot.delimited import delimited
from legation.snapshot.snapshot import Ref, Resource


@dataclass(frozen=True, slots=True)
class VirtualHost:
    """A virtual host as a piece of its RouteConfiguration's bytes, the clusters that it names and what it came from."""

    body: bytes
    digest: bytes
    refs: frozenset[Ref]
    origins: tuple[Key, ...]


_VIRTUAL_HOSTS = configuration_pb2.RouteConfiguration.DESCRIPTOR.fields_by_name["virtual_hosts"].number
MAX_DIRECT_RESPONSE = 1024 * 1024
"""Bytes of a direct response's body; Envoy's own limit of 4096 would refuse what Istio allows."""


def route_names(reader: Reader, scope: Scope) -> tuple[str, ...]:
    """The names of a scope's route configurations (a unit)."""
    if scope.role is Role.GATEWAY:
        return tuple(sorted({server.route for server in reader.ask(servers.servers, scope)} - {""}))
    return tuple(names.sidecar_http_route(port) for port in reader.ask(sidecar_ports, scope))


def route_configuration(reader: Reader, name: str, scope: Scope) -> Resource:
    """One route configuration, assembled (a unit)."""
    if scope.role is Role.GATEWAY:
        return _assembled(name, reader.each(gateway_host, (name, scope), gateway_hosts, name, scope), _NOTHING)
    port = int(name)
    return _assembled(
        name, reader.each(mesh_host, (port, scope), mesh_hosts, port, scope), _unknown_host(502, "block_all")
    )


def _assembled(name: str, of: Each[VirtualHost | None], last: bytes) -> Resource:
    head = configuration_pb2.RouteConfiguration(name=name)
    head.validate_clusters.value = False  # else a route to a cluster that is still on its way refuses the whole table
    head.ignore_port_in_host_matching = True
    head.max_direct_response_body_size_bytes.value = MAX_DIRECT_RESPONSE
    around = (wire.body(head), last)
    present = [virtual_host for virtual_host in of.results.values() if virtual_host is not None]
    parts = [around[0], *[virtual_host.body for virtual_host in present], last]
    digests = [*map(wire.digest, around), *[virtual_host.digest for virtual_host in present]]
    return wire.of_parts(names.ROUTE, name, parts, digests, of.union(_refs), of.union(_origins))


def _refs(virtual_host: VirtualHost | None) -> frozenset[Ref]:
    return virtual_host.refs if virtual_host is not None else frozenset()


def _origins(virtual_host: VirtualHost | None) -> tuple[Key, ...]:
    return virtual_host.origins if virtual_host is not None else ()


# --- the mesh -----------------------------------------------------------------------------------------------------


def sidecar_ports(reader: Reader, scope: Scope) -> tuple[int, ...]:
    """The ports on which sidecars of a scope route HTTP (a unit)."""
    return tuple(
        number
        for number in sorted(number for number in reader.names("ports") if isinstance(number, int))
        if any(_serves_http(reader, str(host), number, scope) for host in reader.names(("port", number)))
    )


def _serves_http(reader: Reader, host: str, number: int, scope: Scope) -> bool:
    service = reader.ask(services.service, host, scope.namespace)
    if service is None or service.resolution is services.Resolution.ALIAS:
        return False
    port = service.port(number)
    return port is not None and port.protocol.is_http


def mesh_hosts(reader: Reader, port: int, scope: Scope) -> tuple[str, ...]:
    """The hosts that may have a virtual host on a port, in a stable order (a unit)."""
    served = {str(host) for host in reader.names(("port", port))}
    return tuple(sorted(served | reader.ask(routing.alone_by_port, scope.namespace).get(port, frozenset())))


def mesh_host(reader: Reader, host: str, port: int, scope: Scope) -> VirtualHost | None:
    """The virtual host of a host for sidecars of a scope (a unit): the routes of the VirtualService that rules it, else
    one route to the service.
    """
    if services.known(reader, host):
        if not _serves_http(reader, host, port, scope):
            return None
        ruling: Iterable[Object] = reader.ask(routing.in_mesh, host, scope.namespace)
    else:
        ruling = routing.alone(reader, host, port, scope.namespace)
    service = reader.ask(services.service, host, scope.namespace)
    defining = service.origins if service is not None else ()
    for item in ruling:
        if routes := list(_routes(RouteContext(reader, item, names.MESH_GATEWAY, port, scope))):
            made = _virtual_host(reader, host, port, _domains(reader, host, port, service, scope), routes)
            return _piece(made, (*defining, item.key, *delegation.delegates(reader, item)))
    if service is None:
        return None
    default = [_default(reader, names.outbound(host, port), scope)]
    return _piece(_virtual_host(reader, host, port, _domains(reader, host, port, service, scope), default), defining)


def _domains(reader: Reader, host: str, port: int, service: services.Service | None, scope: Scope) -> list[str]:
    """Every name of a host that no other host has for its own, since Envoy refuses a table with a domain twice."""
    if service is None:
        return [host]
    names_of = list(services.short_names(service, scope.namespace, reader.mesh.domain))
    own = {host}
    for alias in services.aliases(reader, host, scope.namespace):
        own.add(alias.host)
        names_of += services.short_names(alias, scope.namespace, reader.mesh.domain)
    return [name for name in names_of if name in own or _may_have(reader, host, name, port, scope)]


def _may_have(reader: Reader, host: str, name: str, port: int, scope: Scope) -> bool:
    """Whether a host may be known by another name on a port: nobody has it for its own there, and of several services
    with an address this is the first.
    """
    bare = name.strip("[]")
    if services.known(reader, bare) or routing.is_alone(reader, bare, port, scope.namespace):
        return False
    if not hosts.is_ip(bare):
        return True
    same = (other for item in reader.get("address", bare) for other in services.hosts_of(item, reader.mesh.domain))
    return host == next((other for other in same if _serves_http(reader, other, port, scope)), host)


def _unknown_host(status: int, name: str) -> bytes:
    """The virtual host for every other name."""
    made = route_pb2.VirtualHost(name=name, domains=["*"])
    route = made.routes.add(name=name)
    route.match.prefix = "/"
    route.direct_response.status = status
    return delimited(_VIRTUAL_HOSTS, wire.body(made))


def _default(reader: Reader, cluster: str, scope: Scope) -> route_pb2.Route:
    """The route of a service that no VirtualService rules."""
    route = route_pb2.Route(name="default")
    route.match.prefix = "/"
    route.route.cluster = cluster
    consistent_hash.tell_apart(route.route, reader, scope)
    retries.by_default(route.route, reader)
    timeout.limit(route.route, timeout.NONE)
    return route


# --- gateways -----------------------------------------------------------------------------------------------------

_NOTHING = b""


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
        ruling = routing.at_gateway(reader, server, host, scope.namespace)
        if server.redirects and (ruling or host in server.names):
            redirects, number = True, number or server.number
            origins.append(server.origin)
        for item in ruling:
            number = number or server.number
            origins += (server.origin, item.key, *delegation.delegates(reader, item))
            routes += _routes(RouteContext(reader, item, server.gateway, server.number, scope, secure))
    if not routes and not redirects:
        return None
    routes.sort(key=lambda route: match.is_catch_all(route.match))
    made = _virtual_host(reader, host, number, [host], routes)
    if redirects:
        made.require_tls = route_pb2.VirtualHost.ALL
    return _piece(made, tuple(dict.fromkeys(origins)))


# --- rules --------------------------------------------------------------------------------------------------------


def _routes(context: RouteContext) -> Iterator[route_pb2.Route]:
    """The routes of a VirtualService here: one per match of each rule, up to the first that holds for every request."""
    for served in delegation.rules(context.reader, context.item):
        rule, here = served.rule, replace(context, source=served.source)
        matches = [wanted for wanted in rule.match if match.concerns(wanted, here)]
        if rule.match and not matches:
            continue
        for wanted in matches or (None,):
            route = route_pb2.Route(name=_route_name(rule.name, wanted.name if wanted is not None else None))
            route.match.CopyFrom(match.translate(wanted))
            if wanted is not None:
                route.stat_prefix = wanted.stat_prefix
            for feature in order.ROUTE:
                feature(route, rule, here)
            yield route
            if match.is_catch_all(route.match):
                return


def _route_name(rule: str | None, of_match: str | None) -> str:
    return f"{rule or ''}.{of_match}" if of_match else rule or ""


def _virtual_host(
    reader: Reader, host: str, port: int, domains: Iterable[str], routes: list[route_pb2.Route]
) -> route_pb2.VirtualHost:
    return route_pb2.VirtualHost(
        name=names.virtual_host(host, port), domains=domains, routes=routes,
        include_request_attempt_count=proxy_defaults.counts_attempts(reader),
    )  # fmt: skip


def _piece(made: route_pb2.VirtualHost, origins: tuple[Key, ...]) -> VirtualHost:
    clusters: set[str] = set()
    for route in made.routes:
        clusters.update(cluster.name for cluster in route.route.weighted_clusters.clusters)
        clusters.update(policy.cluster for policy in route.route.request_mirror_policies)
        if route.route.cluster:
            clusters.add(route.route.cluster)
    body = delimited(_VIRTUAL_HOSTS, wire.body(made))
    refs = frozenset((names.CLUSTER, cluster) for cluster in clusters)
    return VirtualHost(body, wire.digest(body), refs, tuple(dict.fromkeys(origins)))
