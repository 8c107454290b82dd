"""DestinationRule `loadBalancer.consistentHash`: requests that are alike go to one endpoint.

Envoy needs both: the cluster's ring or table, and in the route what a request is told by (RouteAction.hash_policy).
Both come from the same policy, which is the one that counts for the cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.route.v3 import route_components_pb2 as route_pb2

from legation import names
from legation.model import rules
from legation.model.balancing import ConsistentHashLB
from legation.model.proxy import Scope
from legation.model.recall import Reader
from legation.render.context import RouteContext
from legation.render.draft import ClusterDraft

_SMALLEST_RING = 1024


def apply(draft: ClusterDraft) -> None:
    """A ring is how it is done if nothing is said."""
    written = draft.policy.consistent_hash
    if written is None:
        return
    if written.maglev is not None:
        draft.made.lb_policy = cluster_pb2.Cluster.MAGLEV
        if written.maglev.table_size:
            draft.made.maglev_lb_config.table_size.value = written.maglev.table_size
        return
    draft.made.lb_policy = cluster_pb2.Cluster.RING_HASH
    ring = written.ring_hash
    size = ring.minimum_ring_size if ring is not None else written.minimum_ring_size or _SMALLEST_RING
    if size:
        draft.made.ring_hash_lb_config.minimum_ring_size.value = size


def apply_to_route(route: route_pb2.Route, rule: Any, context: RouteContext) -> None:
    """What the destinations of a route are told by; the same for several of them counts once."""
    if route.HasField("route"):
        tell_apart(route.route, context.reader, context.scope)


def tell_apart(action: route_pb2.RouteAction, reader: Reader, scope: Scope) -> None:
    """Fills in what requests to an action's clusters are told by."""
    named = (cluster.name for cluster in action.weighted_clusters.clusters)
    clusters = [action.cluster] if action.cluster else named
    for written in dict.fromkeys(_of_clusters(clusters, reader, scope)):
        policy = hash_policy(written)
        if policy is not None:
            action.hash_policy.append(policy)


def _of_clusters(clusters: Iterable[str], reader: Reader, scope: Scope) -> Iterator[ConsistentHashLB]:
    caller = reader.ask(rules.caller, scope)
    for cluster in clusters:
        parts = names.parse_cluster(cluster)
        if parts is not None:
            ruling = reader.ask(rules.ruling, parts.host, caller.viewer, caller.labels)
            matters = reader.ask(rules.tells_apart, ruling)
            written = reader.ask(rules.hashing, parts, ruling) if matters else None
            if written is not None:
                yield written


def hash_policy(written: ConsistentHashLB) -> route_pb2.RouteAction.HashPolicy | None:
    """What a request is told by; None if nothing is said (Envoy then chooses at random)."""
    made = route_pb2.RouteAction.HashPolicy()
    if written.http_header_name is not None:
        made.header.header_name = written.http_header_name
    elif written.http_cookie is not None:
        cookie = written.http_cookie
        made.cookie.name, made.cookie.path = cookie.name, cookie.path
        if cookie.ttl is not None:  # without one Envoy makes no cookie; zero is one that lasts as long as the browser
            made.cookie.ttl.FromTimedelta(cookie.ttl)
        for attribute in cookie.attributes:
            made.cookie.attributes.add(name=attribute.name, value=attribute.value)
    elif written.http_query_parameter_name is not None:
        made.query_parameter.name = written.http_query_parameter_name
    elif written.use_source_ip:
        made.connection_properties.source_ip = True
    else:
        return None
    return made
