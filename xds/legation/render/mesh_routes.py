"""What a workload's proxy routes: a table for the HTTP services of a port, one for a service of which nobody said that it
speaks HTTP, one of everything for a forward proxy.
"""

from __future__ import annotations

from collections.abc import Iterable

from envoy.config.route.v3 import route_components_pb2 as route_pb2

from legation import names
from legation.model import delegation, hosts, outlets, routing, services, sidecars
from legation.model.meta import Object
from legation.model.outlets import Table
from legation.model.proxy import Scope
from legation.model.recall import Reader
from legation.model.sidecars import Viewer
from legation.render import virtual_hosts
from legation.render.context import RouteContext
from legation.render.features import consistent_hash, retries, timeout
from legation.render.virtual_hosts import VirtualHost
from legation.snapshot.snapshot import Resource


def route_names(reader: Reader, scope: Scope) -> tuple[str, ...]:
    """The names of the tables."""
    return tuple(reader.ask(outlets.tables, scope))


def route_configuration(reader: Reader, name: str, scope: Scope) -> Resource | None:
    """One of them."""
    table = reader.ask(outlets.table, name, scope)
    if table is None:
        return None
    view = table.viewer
    if not table.port:
        every = reader.each(proxied_host, (view, scope), proxied_hosts, view)
        return virtual_hosts.table(name, every, reader.ask(_rest, table), ports_count=True)
    if table.host:
        return virtual_hosts.table(name, reader.each(only_host, (table.port, view, scope), _one, table.host))
    by_host = reader.each(mesh_host, (table.port, view, scope), mesh_hosts, table.port, view)
    return virtual_hosts.table(name, by_host, reader.ask(_rest, table))


def mesh_hosts(reader: Reader, port: int, view: Viewer) -> tuple[str, ...]:
    """The hosts that may have a virtual host on a port, in a stable order (a unit)."""
    served = {str(host) for host in reader.names(("port", port))}
    return tuple(sorted(served | reader.ask(routing.alone_by_port, view).get(port, frozenset())))


def mesh_host(reader: Reader, host: str, port: int, view: Viewer, scope: Scope) -> VirtualHost | None:
    """The virtual host of a host for sidecars of a scope (a unit): the routes of the VirtualService that rules it, else
    one route to the service.
    """
    return _made(reader, host, port, view, scope)


def proxied_hosts(reader: Reader, view: Viewer) -> tuple[tuple[str, int], ...]:
    """The hosts, with their ports, that may be asked for through a forward proxy, in a stable order (a unit)."""
    ports = {80, *(number for number in reader.names("ports") if isinstance(number, int))}
    return tuple((host, port) for port in sorted(ports) for host in mesh_hosts(reader, port, view))


def proxied_host(reader: Reader, of: tuple[str, int], view: Viewer, scope: Scope) -> VirtualHost | None:
    """The virtual host of a host and port for a forward proxy (a unit): port 80 need not be said."""
    host, port = of
    return _made(reader, host, port, view, scope, with_port=True)


def only_host(reader: Reader, host: str, port: int, view: Viewer, scope: Scope) -> VirtualHost | None:
    """The virtual host of the one host of a table (a unit), by whatever name it is called."""
    return _made(reader, host, port, view, scope, alone=True)


def _one(_reader: Reader, host: str) -> tuple[str]:
    return (host,)


def _made(
    reader: Reader, host: str, port: int, view: Viewer, scope: Scope, *, with_port: bool = False, alone: bool = False
) -> VirtualHost | None:
    if services.known(reader, host):
        if not _serves_http(reader, host, port, view):
            return None
        ruling: Iterable[Object] = reader.ask(routing.in_mesh, host, view)
    else:
        ruling = routing.alone(reader, host, port, view)
    service = reader.ask(services.service, host, view)
    defining = service.origins if service is not None else ()
    routes: list[route_pb2.Route] = []
    origins = defining
    for item in ruling:
        if routes := list(virtual_hosts.routes(RouteContext(reader, item, names.MESH_GATEWAY, port, scope))):
            origins = (*defining, item.key, *delegation.delegates(reader, item))
            break
    if not routes and service is None:
        return None
    domains = ["*"] if alone else _domains(reader, host, port, service, view)
    if with_port:
        numbered = [names.virtual_host(domain.strip("[]"), port) for domain in domains]
        domains = [*domains, *numbered] if port == 80 else numbered
    routes = routes or [_default(reader, names.outbound(host, port), scope)]
    return virtual_hosts.piece(virtual_hosts.virtual_host(reader, host, port, domains, routes), origins)


def _serves_http(reader: Reader, host: str, number: int, view: Viewer) -> bool:
    service = reader.ask(services.service, host, view)
    if service is None or service.resolution is services.Resolution.ALIAS:
        return False
    port = service.port(number)
    return port is not None and port.protocol.is_http


def _domains(reader: Reader, host: str, port: int, service: services.Service | None, view: Viewer) -> list[str]:
    """Every name of a host that no other host has for its own, since Envoy refuses a table with a domain twice."""
    if service is None:
        return [host]
    names_of = list(services.short_names(service, view.namespace, reader.mesh.domain))
    own = {host}
    for alias in services.aliases(reader, host, view):
        own.add(alias.host)
        names_of += services.short_names(alias, view.namespace, reader.mesh.domain)
    return [name for name in names_of if name in own or _may_have(reader, host, name, port, view)]


def _may_have(reader: Reader, host: str, name: str, port: int, view: Viewer) -> bool:
    """Whether a host may be known by another name on a port: nobody has it for its own there, and of several services
    with an address this is the first.
    """
    bare = name.strip("[]")
    if services.known(reader, bare) or routing.is_alone(reader, bare, port, view):
        return False
    if not hosts.is_ip(bare):
        return True
    same = (other for item in reader.get("address", bare) for other in services.hosts_of(item, reader.mesh.domain))
    return host == next((other for other in same if _serves_http(reader, other, port, view)), host)


def _default(reader: Reader, cluster: str, scope: Scope) -> route_pb2.Route:
    """The route of a service that no VirtualService rules."""
    route = _everything("default")
    route.route.cluster = cluster
    consistent_hash.tell_apart(route.route, reader, scope)
    retries.by_default(route.route, reader)
    timeout.limit(route.route, timeout.NONE)
    return route


def _everything(name: str) -> route_pb2.Route:
    route = route_pb2.Route(name=name)
    route.match.prefix = "/"
    return route


# --- hosts that nobody knows --------------------------------------------------------------------------------------


def _rest(reader: Reader, table: Table) -> VirtualHost:
    """The virtual host for every other name (a unit)."""
    cluster = unknown(reader, table)
    name = names.ALLOW_ANY if cluster else names.BLOCK_ALL
    route = _everything(name)
    if cluster:
        route.route.cluster = cluster
        timeout.limit(route.route, timeout.NONE)
    else:
        route.direct_response.status = 502
    return virtual_hosts.piece(route_pb2.VirtualHost(name=name, domains=["*"], routes=[route]))


def unknown(reader: Reader, table: Table) -> str:
    """The cluster of calls to hosts that nobody knows; empty if there is none for them: it is forbidden, or (a caller
    that connected to the proxy itself, and did not take it for one) nobody can tell where it wanted to go.
    """
    mode, proxy = reader.ask(sidecars.outbound_policy, table.viewer._replace(entry=None))
    if mode == "REGISTRY_ONLY":
        return ""
    if proxy is not None:
        return egress_proxy(reader, table.viewer)
    if mode == "ALLOW_ANY" and not table.is_real:
        return names.PASSTHROUGH_CLUSTER
    return names.BY_HOST_CLUSTER if table.is_proxy or mode != "ALLOW_ANY" else ""


def egress_proxy(reader: Reader, view: Viewer) -> str:
    """The cluster through which a Sidecar lets out what nobody knows; empty if it names none."""
    _, proxy = reader.ask(sidecars.outbound_policy, view._replace(entry=None))
    if proxy is None or proxy.port is None:
        return ""
    host = services.resolve(reader, proxy.host, view.namespace)
    return names.outbound(host, proxy.port.number, proxy.subset or "")
