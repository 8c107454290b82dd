"""The load assignment of a cluster: its endpoints, by locality.

Envoy: envoy.config.endpoint.v3.ClusterLoadAssignment. A cluster without endpoints has an empty one, never none: Envoy
would wait for it.
"""

from __future__ import annotations

from itertools import groupby

from envoy.config.core.v3 import health_check_pb2
from envoy.config.endpoint.v3 import endpoint_pb2

from legation import names
from legation.model import endpoints, rules, services
from legation.model.meta import Key
from legation.model.recall import Reader
from legation.render import wire
from legation.snapshot.snapshot import Resource


def load_assignment(reader: Reader, name: str, client: str) -> Resource | None:
    """The load assignment of a cluster (a unit); None if the cluster does not ask for one."""
    parts = names.parse_cluster(name)
    service = reader.ask(services.service, parts.host, client) if parts else None
    if parts is None or (service is not None and endpoints.found_by_dns(reader, service, parts.port)):
        return None
    found = _endpoints(reader, parts, service, client) if service is not None else []
    origins: tuple[Key, ...] = tuple(endpoint.origin for endpoint in found if endpoint.origin is not None)
    return wire.as_resource(name, _assignment(name, found), origins=origins)


def looked_up(reader: Reader, name: str, service: services.Service, client: str) -> endpoint_pb2.ClusterLoadAssignment:
    """The message alone, for clusters that carry it inside and look its names up. A socket is nothing to look up."""
    parts = names.parse_cluster(name)
    assert parts is not None, name
    return _assignment(name, [found for found in _endpoints(reader, parts, service, client) if not found.is_socket])


def _endpoints(
    reader: Reader, parts: names.ClusterName, service: services.Service, client: str
) -> list[endpoints.Endpoint]:
    rule = reader.ask(rules.rule, parts.host, client)
    subset = rule.subset(parts.subset) if rule and parts.subset else None
    wanted = subset.labels if subset else ()
    every = reader.ask(endpoints.endpoints, parts.host, service.namespace, parts.port)
    return [found for found in every if found.has(wanted)]


def _assignment(name: str, found: list[endpoints.Endpoint]) -> endpoint_pb2.ClusterLoadAssignment:
    made = endpoint_pb2.ClusterLoadAssignment(cluster_name=name)
    for locality, members in groupby(found, key=lambda endpoint: endpoint.locality):
        group = made.endpoints.add()
        if str(locality):
            group.locality.region, group.locality.zone = locality.region, locality.zone
            group.locality.sub_zone = locality.subzone
        total = 0
        for member in members:
            entry = group.lb_endpoints.add()
            wire.set_address(entry.endpoint.address, member.address, member.port)
            entry.load_balancing_weight.value = member.weight
            if not member.healthy:
                entry.health_status = health_check_pb2.UNHEALTHY
            total += member.weight
        group.load_balancing_weight.value = min(total, wire.UNLIMITED)
    return made
