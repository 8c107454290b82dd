"""Everything that a scope is served, and how it moves from one World to the next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from legation import names
from legation.model import hosts, rules
from legation.model.proxy import Client, Role, Scope
from legation.model.recall import Each, Reader, Recall
from legation.model.rules import Caller
from legation.render import clusters, endpoints, grpc_clients, inbound, listeners, routes, secrets
from legation.snapshot.snapshot import Change, Ref, Resource, Snapshot, evolve


@dataclass(frozen=True, slots=True, eq=False)
class Resources:
    """What one scope is served, by type; each table maps a name to a Resource, or to None for what does not exist."""

    listeners: Each[Resource | None]
    routes: Each[Resource | None]
    clusters: Each[Resource | None]
    endpoints: Each[Resource | None]
    secrets: Each[Resource | None]
    inbound_listeners: Each[Resource | None]
    inbound_clusters: Each[Resource | None]

    def tables(self) -> tuple[tuple[str, Each[Resource | None]], ...]:
        """By type URL; always in this order."""
        return (
            (names.CLUSTER, self.clusters),
            (names.CLUSTER, self.inbound_clusters),
            (names.ENDPOINT, self.endpoints),
            (names.SECRET, self.secrets),
            (names.LISTENER, self.listeners),
            (names.LISTENER, self.inbound_listeners),
            (names.ROUTE, self.routes),
        )


def resources(reader: Reader, scope: Scope) -> Resources:
    """Everything that a scope is served (a unit)."""
    caller, here = reader.ask(rules.caller, scope), scope.anywhere
    scope = here.outward
    if scope.client is Client.GRPC:
        return Resources(
            listeners=reader.each(listeners.listener, (scope,), listeners.listener_names, scope),
            routes=reader.each(grpc_clients.route_configuration, (scope,), grpc_clients.route_names, scope),
            clusters=reader.each(grpc_clients.cluster, (caller,), grpc_clients.cluster_names, scope, caller),
            endpoints=reader.each(grpc_clients.load_assignment, (caller,), grpc_clients.cluster_names, scope, caller),
            secrets=reader.each(secrets.secret, (scope.namespace, False), _none),
            inbound_listeners=reader.each(inbound.listener, (scope,), _none),
            inbound_clusters=reader.each(inbound.cluster, (scope,), _none),
        )
    return Resources(
        listeners=reader.each(listeners.listener, (scope,), listeners.listener_names, scope),
        routes=reader.each(routes.route_configuration, (scope,), routes.route_names, scope),
        clusters=reader.each(clusters.cluster, (caller,), cluster_names, scope),
        endpoints=reader.each(endpoints.load_assignment, (caller,), cluster_names, scope),
        secrets=reader.each(secrets.secret, (scope.namespace, scope.secrets), secret_names, here, caller),
        inbound_listeners=reader.each(inbound.listener, (here,), inbound.listener_names, here),
        inbound_clusters=reader.each(inbound.cluster, (here,), inbound.cluster_names, here),
    )


def _none(_reader: Reader) -> tuple[str, ...]:
    return ()


def secret_names(reader: Reader, scope: Scope, caller: Caller) -> frozenset[str]:
    """The secrets that a scope refers to (a unit); it is given no others."""
    taking = reader.each(inbound.listener, (scope,), inbound.listener_names, scope).union(_secrets)
    called = reader.each(clusters.cluster, (caller,), cluster_names, scope.outward).union(_secrets)
    referred = reader.ask(_referred, scope.outward)
    return (called | taking).union(name for type_url, name in referred if type_url == names.SECRET)


def _secrets(found: Resource | None) -> frozenset[str]:
    return frozenset(name for type_url, name in _refs(found) if type_url == names.SECRET)


def cluster_names(reader: Reader, scope: Scope) -> frozenset[str]:
    """The clusters that a scope is given (a unit): a gateway those that its routes and listeners name, a sidecar the
    whole mesh.
    """
    named = frozenset(name for type_url, name in reader.ask(_referred, scope) if type_url == names.CLUSTER)
    return named if scope.role is Role.GATEWAY else named | reader.ask(_offered, reader.ask(rules.caller, scope))


def _referred(reader: Reader, scope: Scope) -> frozenset[Ref]:
    """What the listeners and routes of a scope name (a unit)."""
    return reader.ask(_routed, scope) | reader.ask(_listened, scope)


# Each by itself, since the union of what a table's resources name is the same object as long as nothing new is named:
# a changed route goes no further than that.


def _routed(reader: Reader, scope: Scope) -> frozenset[Ref]:
    """What the routes of a scope name (a unit)."""
    return reader.each(routes.route_configuration, (scope,), routes.route_names, scope).union(_refs)


def _listened(reader: Reader, scope: Scope) -> frozenset[Ref]:
    """What the listeners of a scope name (a unit)."""
    return reader.each(listeners.listener, (scope,), listeners.listener_names, scope).union(_refs)


def _refs(found: Resource | None) -> frozenset[Ref]:
    return found.refs if found is not None else frozenset()


def _offered(reader: Reader, caller: Caller) -> frozenset[str]:
    """The clusters of all services, as a caller sees them (a unit)."""
    return reader.each(clusters.of_service, (caller,), _service_hosts).union(frozenset)


def _service_hosts(reader: Reader) -> frozenset[str]:
    return frozenset(str(host) for host in reader.names(hosts.SERVICE))


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """A scope's Snapshot, and the Resources that it was made from."""

    snapshot: Snapshot
    resources: Resources | None = None


def render(recall: Recall, scope: Scope, before: Rendered, revision: str) -> tuple[Rendered, Change]:
    """The Snapshot of a scope in the current World, and what differs from the one before. Costs what the change costs."""
    now = recall.ask(resources, scope)
    put: list[Resource] = []
    removed: list[Ref] = []
    for type_url, name, found in _differences(now, before.resources):
        if found is None:
            removed.append((type_url, name))
        else:
            put.append(found)
    base = before.snapshot
    if scope.client is Client.GRPC and before.resources is None:
        base = replace(base, stand_in=grpc_clients.stand_in)
    snapshot, change = evolve(base, put, removed, revision)
    return Rendered(snapshot, now), change


def _differences(now: Resources, before: Resources | None) -> Iterator[tuple[str, str, Resource | None]]:
    earlier = [table for _, table in before.tables()] if before is not None else [None] * len(now.tables())
    for (type_url, table), old in zip(now.tables(), earlier, strict=True):
        for name in table.since(old):
            yield type_url, name, table.results.get(name)
