"""One cluster per service port, and per subset of it. Istio's defaults, not Envoy's.

Envoy: envoy.config.cluster.v3.Cluster.
"""

from __future__ import annotations

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import protocol_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.extensions.clusters.common.dns.v3 import dns_pb2
from envoy.extensions.clusters.dns.v3 import dns_cluster_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from google.protobuf import duration_pb2, wrappers_pb2

from legation import names
from legation.model import endpoints, rules, services
from legation.model.recall import Reader
from legation.render import endpoints as load_assignments
from legation.render import order, wire
from legation.snapshot.snapshot import Resource

CONNECT_TIMEOUT = duration_pb2.Duration(seconds=10)
"""MeshConfig.connectTimeout's default."""

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_HTTP2 = wire.pack(
    http_protocol_options_pb2.HttpProtocolOptions(
        explicit_http_config=http_protocol_options_pb2.HttpProtocolOptions.ExplicitHttpConfig(
            http2_protocol_options=protocol_pb2.Http2ProtocolOptions()
        )
    )
)
# Istio sets every circuit breaker that nobody asked for to the highest number; Envoy's own defaults (1024 requests, 3
# retries) never apply.
_BREAKERS = cluster_pb2.Cluster(
    connect_timeout=CONNECT_TIMEOUT,
    circuit_breakers={
        "thresholds": [
            {
                "max_connections": wrappers_pb2.UInt32Value(value=wire.UNLIMITED),
                "max_pending_requests": wrappers_pb2.UInt32Value(value=wire.UNLIMITED),
                "max_requests": wrappers_pb2.UInt32Value(value=wire.UNLIMITED),
                "max_retries": wrappers_pb2.UInt32Value(value=wire.UNLIMITED),
            }
        ]
    },
)


def of_service(reader: Reader, host: str, client: str) -> tuple[str, ...]:
    """The names of all clusters of a service, as a client's namespace sees it (a unit)."""
    service = reader.ask(services.service, host, client)
    if service is None:
        return ()
    rule = reader.ask(rules.rule, host, client)
    subsets = ("", *(subset.name for subset in rule.subsets)) if rule else ("",)
    return tuple(
        names.outbound(host, port.number, subset)
        for port in service.ports
        if port.protocol is not services.Protocol.UDP
        for subset in subsets
    )


def cluster(reader: Reader, name: str, client: str) -> Resource | None:
    """The cluster of a name for clients of a namespace (a unit).

    None if there is no such service, port or subset (requests to it are answered 503 by Envoy, as in Istio), and for a
    DNS service without any address: Envoy has nothing that it could resolve.
    """
    parts = names.parse_cluster(name)
    if parts is None:
        return None
    service = reader.ask(services.service, parts.host, client)
    port = service.port(parts.port) if service else None
    if service is None or port is None or port.protocol is services.Protocol.UDP:
        return None
    rule = reader.ask(rules.rule, parts.host, client)
    subset = rule.subset(parts.subset) if rule and parts.subset else None
    if parts.subset and subset is None:
        return None
    made = cluster_pb2.Cluster()
    made.CopyFrom(_BREAKERS)
    made.name = name
    made.alt_stat_name = name + ";"  # the delimiter keeps Envoy's stats tags apart, as in Istio
    made.common_lb_config.healthy_panic_threshold.value = 0
    refs = frozenset[tuple[str, str]]()
    if endpoints.found_by_dns(reader, service, parts.port):
        assignment = load_assignments.looked_up(reader, name, service, client)
        if not assignment.endpoints:
            return None
        _resolved_by_dns(made, assignment)
    else:
        made.type = cluster_pb2.Cluster.EDS
        made.eds_cluster_config.eds_config.CopyFrom(wire.ADS)
        made.eds_cluster_config.service_name = name
        refs = frozenset(((names.ENDPOINT, name),))
    if port.protocol.is_http2:
        made.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(_HTTP2)
    for feature in order.CLUSTER:
        feature(made, rule, subset)
    return wire.as_resource(name, made, refs, (*service.origins, *(rule.origins if rule else ())))


def _resolved_by_dns(made: cluster_pb2.Cluster, assignment: endpoint_pb2.ClusterLoadAssignment) -> None:
    """Strict DNS by the cluster extension; the fields of Cluster itself are deprecated."""
    made.cluster_type.name = "envoy.clusters.dns"
    made.cluster_type.typed_config.CopyFrom(_DNS)
    made.load_assignment.CopyFrom(assignment)


_DNS = wire.pack(
    dns_cluster_pb2.DnsCluster(
        dns_refresh_rate=duration_pb2.Duration(seconds=60),
        dns_jitter=duration_pb2.Duration(nanos=100_000_000),
        respect_dns_ttl=True,
        dns_lookup_family=dns_pb2.DnsLookupFamily.V4_PREFERRED,
    )
)
