"""Virtual hosts, and the tables that they make: joined as bytes.

Envoy: envoy.config.route.v3.RouteConfiguration. A virtual host is a unit of its own; a change of one is a change of one,
and the rest of a table of ten thousand is copied as bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from envoy.config.route.v3 import route_components_pb2 as route_pb2
from envoy.config.route.v3 import route_pb2 as configuration_pb2

from legation import names
from legation.model import delegation
from legation.model.meta import Key
from legation.model.recall import Each, Reader
from legation.render import order, wire
from legation.render.context import RouteContext
from legation.render.features import match, proxy_defaults
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


def table(
    name: str, of: Each[VirtualHost | None], last: VirtualHost | None = None, *, ports_count: bool = False
) -> Resource:
    """A table of virtual hosts, and perhaps one for everything else. `ports_count`: so do ports in the Host header."""
    head = configuration_pb2.RouteConfiguration(name=name)
    head.validate_clusters.value = False  # else a route to a cluster that is still on its way refuses the whole table
    head.ignore_port_in_host_matching = not ports_count
    head.max_direct_response_body_size_bytes.value = MAX_DIRECT_RESPONSE
    front = wire.body(head)
    present = [virtual_host for virtual_host in of.results.values() if virtual_host is not None]
    parts = [front, *[virtual_host.body for virtual_host in present], last.body if last is not None else b""]
    digests = [wire.digest(front), wire.digest(parts[-1]), *[virtual_host.digest for virtual_host in present]]
    refs, origins = of.union(_refs), of.union(_origins)
    if last is not None and last.refs:
        refs |= last.refs
    if last is not None and last.origins:
        origins |= frozenset(last.origins)
    return wire.of_parts(names.ROUTE, name, parts, digests, refs, origins)


def _refs(virtual_host: VirtualHost | None) -> frozenset[Ref]:
    return virtual_host.refs if virtual_host is not None else frozenset()


def _origins(virtual_host: VirtualHost | None) -> tuple[Key, ...]:
    return virtual_host.origins if virtual_host is not None else ()


def routes(context: RouteContext) -> Iterator[route_pb2.Route]:
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


def virtual_host(
    reader: Reader, host: str, port: int, domains: Iterable[str], routes: list[route_pb2.Route]
) -> route_pb2.VirtualHost:
    """A virtual host of these names."""
    return route_pb2.VirtualHost(
        name=names.virtual_host(host, port), domains=domains, routes=routes,
        include_request_attempt_count=proxy_defaults.counts_attempts(reader),
    )  # fmt: skip


def piece(made: route_pb2.VirtualHost, origins: tuple[Key, ...] = ()) -> VirtualHost:
    """A virtual host as a piece of a table."""
    clusters: set[str] = set()
    for route in made.routes:
        clusters.update(cluster.name for cluster in route.route.weighted_clusters.clusters)
        clusters.update(policy.cluster for policy in route.route.request_mirror_policies)
        if route.route.cluster:
            clusters.add(route.route.cluster)
    body = delimited(_VIRTUAL_HOSTS, wire.body(made))
    refs = frozenset((names.CLUSTER, cluster) for cluster in clusters)
    return VirtualHost(body, wire.digest(body), refs, tuple(dict.fromkeys(origins)))
