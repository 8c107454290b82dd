"""What a gRPC library without a proxy is served: what a sidecar would do for its calls, in the parts that it understands.

It asks for everything by name: for the listener of `reviews:9080` when it calls `xds:///reviews:9080`, then for what that
names. What is not answered it waits fifteen seconds for, so every name that it may ask for has an answer, if only one that
says that nothing is there. Names are Istio's. Sources: gRPC's proposals A27 and A36.
"""

from __future__ import annotations

from typing import Final

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2 as configuration_pb2
from envoy.extensions.filters.http.fault.v3 import fault_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from google.protobuf import any_pb2
from google.protobuf.message import Message

from legation import names
from legation.model import hosts, services, sidecars
from legation.model.meta import Key
from legation.model.proxy import Scope
from legation.model.recall import Reader
from legation.model.rules import Caller
from legation.model.sidecars import Viewer
from legation.render import clusters, endpoints, grpc_subset, http_manager, mesh_routes, wire
from legation.render.features import fault
from legation.render.virtual_hosts import VirtualHost
from legation.snapshot.snapshot import Ref, Resource

# --- what may be called -------------------------------------------------------------------------------------------


def called(reader: Reader, scope: Scope) -> tuple[tuple[str, int], ...]:
    """The hosts, with their ports, that might be called (a unit)."""
    ports = {80, *(number for number in reader.names("ports") if isinstance(number, int))}
    views = ((port, reader.ask(_view, port, scope)) for port in sorted(ports))
    return tuple(
        (host, port)
        for port, view in views
        if view is not None
        for host in reader.ask(mesh_routes.mesh_hosts, port, view)
    )


def _view(reader: Reader, port: int, scope: Scope) -> Viewer | None:
    """How the services of a port are seen (a unit): a Sidecar may have an entry for it, or none that is for it."""
    view = reader.ask(sidecars.viewer, scope)
    entry = sidecars.entry_for(reader.ask(sidecars.egress, view), port)
    return view._replace(entry=entry.place) if entry is not None else None


def _routed(reader: Reader, host: str, port: int, scope: Scope) -> VirtualHost | None:
    """What a sidecar would do with calls to a host and port; None if they are not routed."""
    view = reader.ask(_view, port, scope)
    return reader.ask(mesh_routes.only_host, host, port, view, scope) if view is not None else None


def _is_routed(reader: Reader, host: str, port: int, scope: Scope) -> bool:
    """Whether calls to a host and port are routed (a unit)."""
    return _routed(reader, host, port, scope) is not None


def _spellings(reader: Reader, of: tuple[str, int], scope: Scope) -> tuple[str, ...]:
    """The targets, `reviews:9080` and so on, that mean a host and port (a unit); none if nothing is routed there."""
    host, port = of
    view = reader.ask(_view, port, scope)
    if hosts.is_wildcard(host) or view is None or not reader.ask(_is_routed, host, port, scope):
        return ()
    spelt = {host}
    service = reader.ask(services.service, host, view)
    if service is not None:
        for one in (service, *services.aliases(reader, host, view)):
            spelt.update(services.short_names(one, scope.namespace, reader.mesh.domain))
    bare = (name for name in spelt if not (hosts.is_wildcard(name) or name.endswith(".") or name.startswith("[")))
    return tuple(
        names.virtual_host(name, port)
        for name in sorted(bare)
        if not hosts.is_ip(name) and _meant(reader, name, view) == host
    )


def _meant(reader: Reader, name: str, view: Viewer) -> str:
    """The host that a caller means by a name."""
    if name.endswith(".svc") and not services.known(reader, name):
        name = f"{name}.{reader.mesh.domain}"
    return services.meant(reader, services.resolve(reader, name, view.namespace), view)


# --- listeners ----------------------------------------------------------------------------------------------------


def listener_names(reader: Reader, scope: Scope) -> tuple[str, ...]:
    """The names of all listeners: every target that is known."""
    return tuple(sorted(reader.each(_spellings, (scope,), called, scope).union(tuple)))


def listener(reader: Reader, name: str, scope: Scope) -> Resource | None:
    """The listener of a target."""
    spelt, port = names.grpc_target(name)
    view = reader.ask(_view, port, scope)
    if view is None:
        return None
    table = names.outbound(_meant(reader, spelt, view), port)
    manager = hcm_pb2.HttpConnectionManager()
    manager.CopyFrom(_TO_A_TABLE)
    manager.rds.route_config_name = table
    return _as_listener(name, manager, frozenset(((names.ROUTE, table),)))


def stand_in(type_url: str, name: str) -> Resource | None:
    """What is answered to a name that nobody has. A target: that nothing is routed, so that calls fail at once. A server:
    to take all calls, since nothing here says more of them.
    """
    if type_url != names.LISTENER:
        return None
    manager = _manager(_ROUTER)
    manager.route_config.name = name
    server = names.grpc_server(name)
    if server is None:
        return _as_listener(name, manager)
    virtual_host = manager.route_config.virtual_hosts.add(name=name, domains=["*"])
    route = virtual_host.routes.add()
    route.match.prefix = "/"
    route.non_forwarding_action.SetInParent()
    made = listener_pb2.Listener(name=name, traffic_direction=base_pb2.INBOUND)
    wire.set_address(made.address, *server)
    chain = made.filter_chains.add(name="inbound")
    chain.filters.add(name=http_manager.FILTER).typed_config.CopyFrom(wire.pack(manager))
    return wire.as_resource(name, made)


def _manager(*filters: tuple[str, Message]) -> hcm_pb2.HttpConnectionManager:
    made = hcm_pb2.HttpConnectionManager()
    for name, config in filters:
        made.http_filters.add(name=name).typed_config.CopyFrom(wire.pack(config))
    return made


def _to_a_table() -> hcm_pb2.HttpConnectionManager:
    made = _manager((fault.FILTER, fault_pb2.HTTPFault()), _ROUTER)
    made.rds.config_source.CopyFrom(wire.ADS)
    return made


_ROUTER: Final = ("envoy.filters.http.router", router_pb2.Router())
_TO_A_TABLE: Final = _to_a_table()


def _as_listener(name: str, manager: hcm_pb2.HttpConnectionManager, refs: frozenset[Ref] = frozenset()) -> Resource:
    made = listener_pb2.Listener(name=name)
    made.api_listener.api_listener.CopyFrom(wire.pack(manager))
    return wire.as_resource(name, made, refs)


# --- routes -------------------------------------------------------------------------------------------------------


def route_names(reader: Reader, scope: Scope) -> tuple[str, ...]:
    """The names of the tables: one for each host and port that has a target."""
    spelt = reader.each(_spellings, (scope,), called, scope)
    return tuple(names.outbound(*of) for of, targets in spelt.items() if targets)


def route_configuration(reader: Reader, name: str, scope: Scope) -> Resource:
    """The table of a host and port: the routes that a sidecar has for it."""
    parts = names.parse_cluster(name)
    assert parts is not None, name
    made = configuration_pb2.RouteConfiguration(name=name)
    found = _routed(reader, parts.host, parts.port, scope)
    if found is None:
        return wire.as_resource(name, made)
    (written,) = configuration_pb2.RouteConfiguration.FromString(found.body).virtual_hosts
    made.virtual_hosts.add(name=written.name, domains=written.domains, routes=grpc_subset.routes(written.routes))
    routed = [route.route for route in made.virtual_hosts[0].routes]
    refs = {one.cluster for one in routed} | {entry.name for one in routed for entry in one.weighted_clusters.clusters}
    return wire.as_resource(name, made, frozenset((names.CLUSTER, ref) for ref in refs - {""}), found.origins)


# --- clusters and endpoints ---------------------------------------------------------------------------------------


def cluster_names(reader: Reader, scope: Scope, caller: Caller) -> frozenset[str]:
    """The clusters that the routes name, and those of which these consist (a unit)."""
    return reader.ask(_routed_to, scope) | reader.each(cluster, (caller,), _routed_to, scope).union(_parts)


def _routed_to(reader: Reader, scope: Scope) -> frozenset[str]:
    return reader.each(route_configuration, (scope,), route_names, scope).union(_parts)


def _parts(of: Resource) -> tuple[str, ...]:
    """The clusters that something names."""
    return tuple(name for type_url, name in of.refs if type_url == names.CLUSTER)


def cluster(reader: Reader, name: str, caller: Caller) -> Resource:
    """The cluster that a route names (a unit). One that is not there, or that the library could not reach as the rules
    say, is there without endpoints: calls to it fail at once.
    """
    whole, place = names.parse_grpc_part(name)
    found = reader.ask(clusters.cluster, whole, caller)
    origins = tuple(found.origins) if found is not None else ()
    message = _usable(found)
    if message is None:
        return _told(cluster_pb2.Cluster(name=name), ())
    if message.type == cluster_pb2.Cluster.EDS:
        return _told(message, origins)
    places = {
        names.virtual_host(at.address, at.port_value): member
        for group in message.load_assignment.endpoints
        for member in group.lb_endpoints
        for at in (member.endpoint.address.socket_address,)
    }
    if not place and len(places) > 1:
        parts = [names.grpc_part(whole, one) for one in places]
        refs = frozenset((names.CLUSTER, part) for part in parts)
        return wire.as_resource(name, grpc_subset.in_turn(name, parts), refs, origins)
    message.name = name
    only = places.get(place or next(iter(places), ""))
    if only is None:  # it has gone, and what named it is about to be made anew
        return _told(cluster_pb2.Cluster(name=name), origins)
    return wire.as_resource(name, grpc_subset.looked_up(message, only), origins=origins)


def load_assignment(reader: Reader, name: str, caller: Caller) -> Resource | None:
    """The endpoints of a cluster (a unit); None if it looks them up."""
    message = _usable(reader.ask(clusters.cluster, names.parse_grpc_part(name)[0], caller))
    if message is not None and message.type != cluster_pb2.Cluster.EDS:
        return None
    told = reader.ask(endpoints.load_assignment, name, caller) if message is not None else None
    if told is None:
        return wire.as_resource(name, endpoint_pb2.ClusterLoadAssignment(cluster_name=name))
    written = endpoint_pb2.ClusterLoadAssignment.FromString(any_pb2.Any.FromString(told.body).value)
    return wire.as_resource(name, grpc_subset.assignment(written), origins=tuple(told.origins))


def _usable(found: Resource | None) -> cluster_pb2.Cluster | None:
    """A cluster that the library can reach as the rules say; None if there is none."""
    if found is None:
        return None
    message = cluster_pb2.Cluster.FromString(any_pb2.Any.FromString(found.body).value)
    known = message.type == cluster_pb2.Cluster.EDS or message.load_assignment.endpoints
    return message if known and not message.HasField("transport_socket") else None


def _told(message: cluster_pb2.Cluster, origins: tuple[Key, ...]) -> Resource:
    """A cluster whose endpoints are told."""
    refs = frozenset(((names.ENDPOINT, message.name),))
    return wire.as_resource(message.name, grpc_subset.cluster(message), refs, origins)
