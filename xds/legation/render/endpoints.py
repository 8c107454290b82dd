"""The load assignment of a cluster: its endpoints, by locality.

Envoy: envoy.config.endpoint.v3.ClusterLoadAssignment. A cluster without endpoints has an empty one, never none: Envoy
would wait for it.
"""

from __future__ import annotations

from itertools import groupby

from envoy.config.core.v3 import health_check_pb2
from envoy.config.endpoint.v3 import endpoint_pb2

from legation import names
from legation.model import endpoints, rules
from legation.model.meta import Key
from legation.model.recall import Reader
from legation.render import wire
from legation.snapshot.snapshot import Resource


def load_assignment(reader: Reader, name: str, client: str) -> Resource | None:
    """The load assignment of a cluster (a unit); None if the cluster does not ask for one."""
    parts = names.parse_cluster(name)
    if parts is None or endpoints.found_by_dns(reader, parts.host, parts.port):
        return None
    found = _endpoints(reader, name, client)
    origins: tuple[Key, ...] = tuple(endpoint.origin for endpoint in found if endpoint.origin is not None)
    return wire.as_resource(name, _assignment(name, found), origins=origins)


def assignment(reader: Reader, name: str, client: str) -> endpoint_pb2.ClusterLoadAssignment:
    """The message alone, for clusters that carry it inside."""
    return _assignment(name, _endpoints(reader, name, client))


def _endpoints(reader: Reader, name: str, client: str) -> list[endpoints.Endpoint]:
    parts = names.parse_cluster(name)
    assert parts is not None, name
    rule = reader.ask(rules.rule, parts.host, client)
    subset = rule.subset(parts.subset) if rule and parts.subset else None
    wanted = subset.labels if subset else ()
    return [found for found in reader.ask(endpoints.endpoints, parts.host, parts.port) if found.has(wanted)]


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
            socket = entry.endpoint.address.socket_address
            socket.address, socket.port_value = member.address, member.port
            entry.load_balancing_weight.value = member.weight
            if not member.healthy:
                entry.health_status = health_check_pb2.UNHEALTHY
            total += member.weight
        group.load_balancing_weight.value = min(total, wire.UNLIMITED)
    return made
