"""One cluster per service port, and per subset of it. Istio's defaults, not Envoy's.

Envoy: envoy.config.cluster.v3.Cluster.
"""

from __future__ import annotations

from dataclasses import replace

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.extensions.clusters.common.dns.v3 import dns_pb2
from envoy.extensions.clusters.dns.v3 import dns_cluster_pb2
from google.protobuf import duration_pb2

from legation import names
from legation.model import accounts, mesh, reach, rules, services
from legation.model.balancing import LoadBalancerSettings
from legation.model.policies import Policy
from legation.model.reach import Reached, Way
from legation.model.recall import Reader
from legation.model.rules import Caller
from legation.render import endpoints as load_assignments
from legation.render import fixed_clusters, order, wire
from legation.render.draft import ClusterDraft
from legation.render.features import dynamic_dns, proxy_defaults
from legation.snapshot.snapshot import Resource


def of_service(reader: Reader, host: str, caller: Caller) -> tuple[str, ...]:
    """The names of all clusters of a service, as a caller sees it (a unit)."""
    return tuple(
        names.outbound(host, port, subset)
        for (port, subset), found in reader.ask(reach.reached, host, caller).items()
        if not subset or found.way is not Way.BY_HOST
    )


def cluster(reader: Reader, name: str, caller: Caller) -> Resource | None:
    """The cluster of a name for a caller (a unit).

    None if there is no such service, port or subset (requests to it are answered 503 by Envoy, as in Istio), and for a
    DNS service without any address: Envoy has nothing that it could resolve. What this decides is little; callers for
    whom it is the same share the cluster itself.
    """
    parts = names.parse_cluster(name)
    if parts is None:
        return reader.ask(fixed_clusters.cluster, name)
    found = reach.called(reader, parts, caller)
    return reader.ask(_cluster, name, found.anywhere) if found is not None else None


def _cluster(reader: Reader, name: str, reached: Reached) -> Resource | None:
    """The cluster of a service that a namespace defines, under some rules (a unit)."""
    parts = names.parse_cluster(name)
    service = reader.ask(services.definition, parts.host, reached.namespace) if parts is not None else None
    port = service.port(parts.port) if service is not None and parts is not None else None
    policy = rules.policy(reader, parts, reached.ruling, port) if parts is not None and port is not None else None
    if parts is None or service is None or port is None or policy is None:
        return None
    way = reached.way
    if way in (Way.AS_CALLED, Way.BY_HOST):
        policy = replace(policy, load_balancer=_NO_CHOICE)
    proofs = _proofs(reader, service, policy)
    least = reader.ask(mesh.setting, "tls_defaults") if policy.tls is not None else None
    draft = ClusterDraft(parts, port, policy, reached.selection.preference, proofs, reader.mesh.ca_bundle, least)
    made = draft.made
    made.name = name
    pattern = str(reader.ask(mesh.setting, "outbound_cluster_stat_name"))
    made.alt_stat_name = stat_name(reader, name, pattern, service, port, parts.subset)
    if way in (Way.LOOKED_UP, Way.ONE_NAME):
        assignment = load_assignments.looked_up(reader, name, reached)
        if not assignment.endpoints:
            return None
        _resolved_by_dns(reader, made, assignment, way)
    elif way is Way.TOLD:
        made.type = cluster_pb2.Cluster.EDS
        made.eds_cluster_config.eds_config.CopyFrom(wire.ADS)
        made.eds_cluster_config.service_name = name
        draft.refs.add((names.ENDPOINT, name))
    for feature in order.CLUSTER:
        feature(draft)
    if reached.sniffed and draft.http.WhichOneof("upstream_protocol_options") is None:
        draft.http.use_downstream_protocol_config.http_protocol_options.SetInParent()
        draft.http.use_downstream_protocol_config.http2_protocol_options.SetInParent()
    if way is Way.BY_HOST:
        dynamic_dns.to_cluster(draft, reader)
    elif way is Way.AS_CALLED and isinstance(port.target, int) and port.target != port.number:
        made.original_dst_lb_config.upstream_port_override.value = port.target
    proxy_defaults.to_cluster(draft, reader)
    return wire.as_resource(name, draft.finished(), frozenset(draft.refs), (*service.origins, *reached.ruling))


def _proofs(reader: Reader, service: services.Service, policy: Policy) -> tuple[str, ...]:
    """The names that a service's certificate must have: with the mesh's own certificates, or outside of Kubernetes."""
    if policy.tls is None or (policy.tls.mode != "ISTIO_MUTUAL" and service.kubernetes):
        return ()
    return reader.ask(accounts.subject_alt_names, service.host, service.namespace)


def stat_name(
    reader: Reader, name: str, pattern: str, service: services.Service, port: services.ServicePort, subset: str = ""
) -> str:
    """What metrics call a cluster: as MeshConfig's pattern says, else its name. Istio's delimiter keeps the tags apart."""
    if not pattern:
        return f"{name};"
    short = service.host.removesuffix(f".svc.{reader.mesh.domain}") if service.kubernetes else service.host
    words = {
        "SERVICE": short, "SERVICE_FQDN": service.host, "SERVICE_PORT": str(port.number),
        "SERVICE_PORT_NAME": port.name, "TARGET_PORT": str(port.target or ""), "SUBSET_NAME": subset,
    }  # fmt: skip
    return "".join(words[word] if number % 2 else word for number, word in enumerate(pattern.split("%"))) + ";"


_NO_CHOICE = LoadBalancerSettings(simple="PASSTHROUGH")


def _resolved_by_dns(
    reader: Reader, made: cluster_pb2.Cluster, assignment: endpoint_pb2.ClusterLoadAssignment, way: Way
) -> None:
    """DNS by the cluster extension; the fields of Cluster itself are deprecated."""
    made.cluster_type.name = "envoy.clusters.dns"
    rate = reader.ask(mesh.setting, "dns_refresh_rate")
    how = dns_cluster_pb2.DnsCluster()
    how.CopyFrom(_DNS)
    how.dns_refresh_rate.FromTimedelta(rate)
    how.all_addresses_in_single_endpoint = way is Way.ONE_NAME
    made.cluster_type.typed_config.CopyFrom(wire.pack(how))
    made.load_assignment.CopyFrom(assignment)


_DNS = dns_cluster_pb2.DnsCluster(
    dns_jitter=duration_pb2.Duration(nanos=100_000_000),
    respect_dns_ttl=True,
    dns_lookup_family=dns_pb2.DnsLookupFamily.V4_PREFERRED,
)
