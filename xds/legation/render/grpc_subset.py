"""What gRPC's own library understands of Envoy's messages, and nothing else.

It refuses a whole table for one field that it does not know, so everything here is made anew from what is known to be
taken. Sources: gRPC's proposals A27 (the messages), A28 (routes), A31 (timeouts), A33 (faults), A42 (ring hash), A44
(retries), A48 (least request), A52 (balancers).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import extension_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from envoy.config.route.v3 import route_components_pb2 as route_pb2
from envoy.extensions.clusters.aggregate.v3 import cluster_pb2 as aggregate_pb2
from envoy.extensions.load_balancing_policies.least_request.v3 import least_request_pb2
from envoy.extensions.load_balancing_policies.round_robin.v3 import round_robin_pb2
from envoy.extensions.load_balancing_policies.wrr_locality.v3 import wrr_locality_pb2
from google.protobuf.message import Message

from legation.model import hosts
from legation.render import wire
from legation.render.features import fault

# --- routes -------------------------------------------------------------------------------------------------------

RETRIED: Final = ("cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable")
"""The words of `retryOn` that are statuses of gRPC; it knows no others."""


def routes(of: Iterable[route_pb2.Route]) -> Iterator[route_pb2.Route]:
    """Routes whose match can hold for a call of gRPC; one that does not go to a cluster fails its calls (UNAVAILABLE)."""
    for route in of:
        if route.match.query_parameters:
            continue  # there is no query in a call
        made = route_pb2.Route(name=route.name, match=route.match)
        if route.HasField("route"):
            _action(made.route, route.route)
            if fault.FILTER in route.typed_per_filter_config:
                made.typed_per_filter_config[fault.FILTER].CopyFrom(route.typed_per_filter_config[fault.FILTER])
        else:
            made.non_forwarding_action.SetInParent()  # a redirect or an answer of one's own refuses the table in Java
        yield made


def _action(made: route_pb2.RouteAction, of: route_pb2.RouteAction) -> None:
    if of.HasField("weighted_clusters"):
        for entry in of.weighted_clusters.clusters:
            made.weighted_clusters.clusters.add(name=entry.name, weight=entry.weight)
    else:
        made.cluster = of.cluster
    if of.timeout.ToTimedelta():
        made.max_stream_duration.max_stream_duration.CopyFrom(of.timeout)
    if of.HasField("retry_policy"):
        _retries(made, of.retry_policy)
    for policy in of.hash_policy:
        if policy.HasField("header"):
            made.hash_policy.add(header=policy.header, terminal=policy.terminal)


def _retries(made: route_pb2.RouteAction, of: route_pb2.RetryPolicy) -> None:
    words = [word for word in of.retry_on.split(",") if word in RETRIED]
    if not words or not of.num_retries.value:
        return
    made.retry_policy.retry_on = ",".join(words)
    made.retry_policy.num_retries.CopyFrom(of.num_retries)
    if of.retry_back_off.HasField("base_interval"):
        made.retry_policy.retry_back_off.CopyFrom(of.retry_back_off)


# --- clusters -----------------------------------------------------------------------------------------------------

MAX_RING = 8 << 20


def cluster(of: cluster_pb2.Cluster) -> cluster_pb2.Cluster:
    """A cluster whose endpoints are told: how they are chosen, how many calls there may be at once."""
    made = cluster_pb2.Cluster(name=of.name, type=cluster_pb2.Cluster.EDS)
    made.eds_cluster_config.eds_config.CopyFrom(wire.ADS)
    _balancer(made, of)
    for bounds in of.circuit_breakers.thresholds:
        if bounds.HasField("max_requests") and not bounds.priority:
            # Its own bound is 1024.
            made.circuit_breakers.thresholds.add().max_requests.CopyFrom(bounds.max_requests)
    return made


def looked_up(of: cluster_pb2.Cluster, endpoint: endpoint_components_pb2.LbEndpoint) -> cluster_pb2.Cluster:
    """A cluster of one name that the library looks up."""
    made = cluster(of)
    made.ClearField("eds_cluster_config")
    made.type = cluster_pb2.Cluster.LOGICAL_DNS
    group = made.load_assignment.endpoints.add()
    group.lb_endpoints.add().endpoint.address.CopyFrom(endpoint.endpoint.address)
    return made


def in_turn(name: str, clusters: Iterable[str]) -> cluster_pb2.Cluster:
    """A cluster of clusters: the first that can be reached has it all."""
    made = cluster_pb2.Cluster(name=name)
    made.cluster_type.name = "envoy.clusters.aggregate"
    made.cluster_type.typed_config.CopyFrom(wire.pack(aggregate_pb2.ClusterConfig(clusters=clusters)))
    return made


def _balancer(made: cluster_pb2.Cluster, of: cluster_pb2.Cluster) -> None:
    """Ring hash where requests belong to endpoints; else least requests where that is meant and the library has it, and
    one after the other where it has not.
    """
    if of.lb_policy in (cluster_pb2.Cluster.RING_HASH, cluster_pb2.Cluster.MAGLEV):
        made.lb_policy = cluster_pb2.Cluster.RING_HASH
        ring = of.ring_hash_lb_config
        made.ring_hash_lb_config.minimum_ring_size.value = min(ring.minimum_ring_size.value or 1024, MAX_RING)
        made.ring_hash_lb_config.maximum_ring_size.value = min(ring.maximum_ring_size.value or MAX_RING, MAX_RING)
        return
    made.lb_policy = cluster_pb2.Cluster.ROUND_ROBIN
    if of.lb_policy == cluster_pb2.Cluster.LEAST_REQUEST:
        made.load_balancing_policy.policies.add().typed_extension_config.CopyFrom(_LEAST_REQUEST)


def _named(name: str, config: Message) -> extension_pb2.TypedExtensionConfig:
    return extension_pb2.TypedExtensionConfig(name=name, typed_config=wire.pack(config))


def _least_request() -> extension_pb2.TypedExtensionConfig:
    made = wrr_locality_pb2.WrrLocality()
    for name, config in (
        ("envoy.load_balancing_policies.least_request", least_request_pb2.LeastRequest()),
        ("envoy.load_balancing_policies.round_robin", round_robin_pb2.RoundRobin()),
    ):
        made.endpoint_picking_policy.policies.add().typed_extension_config.CopyFrom(_named(name, config))
    return _named("envoy.load_balancing_policies.wrr_locality", made)


_LEAST_REQUEST = _least_request()

# --- endpoints ----------------------------------------------------------------------------------------------------


def assignment(of: endpoint_pb2.ClusterLoadAssignment) -> endpoint_pb2.ClusterLoadAssignment:
    """Endpoints with IP addresses; localities with a weight; priorities without gaps."""
    made = endpoint_pb2.ClusterLoadAssignment(cluster_name=of.cluster_name)
    totals: dict[int, int] = {}
    for group in of.endpoints:
        members = [one for one in group.lb_endpoints if hosts.is_ip(one.endpoint.address.socket_address.address)]
        weight = group.load_balancing_weight.value
        if members and weight:
            kept = made.endpoints.add(locality=group.locality, priority=group.priority, lb_endpoints=members)
            kept.load_balancing_weight.value = weight
            totals[group.priority] = totals.get(group.priority, 0) + weight
    places = {priority: place for place, priority in enumerate(sorted(totals))}
    for group in made.endpoints:
        if (total := totals[group.priority]) > wire.UNLIMITED:
            weight = group.load_balancing_weight.value * (wire.UNLIMITED >> 1) // total
            group.load_balancing_weight.value = max(1, weight)
        group.priority = places[group.priority]
    return made
