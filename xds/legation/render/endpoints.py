"""The load assignment of a cluster: its endpoints, by locality.

Envoy: envoy.config.endpoint.v3.ClusterLoadAssignment. A cluster without endpoints has an empty one, never none: Envoy
would wait for it.
"""

from __future__ import annotations

from collections.abc import Iterable

from envoy.config.core.v3 import health_check_pb2
from envoy.config.endpoint.v3 import endpoint_pb2

from legation import names
from legation.model import endpoints, localities, reach
from legation.model.endpoints import Endpoint
from legation.model.localities import Group, Standpoint
from legation.model.reach import Reached, Way
from legation.model.recall import Reader
from legation.model.rules import Caller, Selection
from legation.render import wire
from legation.snapshot.snapshot import Resource


def load_assignment(reader: Reader, name: str, caller: Caller) -> Resource | None:
    """The load assignment of a cluster for a caller (a unit); None if the cluster does not ask for one.

    Callers for whom it is the same share one: wherever they run, unless it matters.
    """
    parts = names.parse_cluster(name)
    if parts is None:
        return None
    found = reach.called(reader, parts, caller)
    if found is None:
        return reader.ask(_nothing, name)
    if found.way is not Way.TOLD:
        return None
    return reader.ask(_load_assignment, name, found.namespace, found.selection, found.seen_from)


def _nothing(_reader: Reader, name: str) -> Resource:
    return wire.as_resource(name, _assignment(name, ()), harmless=True)


def _load_assignment(
    reader: Reader, name: str, namespace: str, selection: Selection, seen_from: Standpoint | None
) -> Resource:
    """The load assignment of a service that a namespace defines (a unit)."""
    groups = localities.arranged(_selected(reader, name, namespace, selection), selection.preference, seen_from)
    origins = [endpoint.origin for group in groups for endpoint in group.endpoints if endpoint.origin is not None]
    # Who is told addresses is told addresses and no names, with the ports and weights that validation lets through.
    return wire.as_resource(name, _assignment(name, groups), origins=tuple(origins), harmless=True)


def looked_up(reader: Reader, name: str, reached: Reached) -> endpoint_pb2.ClusterLoadAssignment:
    """The message alone, for clusters that carry it inside and look its names up. A socket is nothing to look up."""
    selected = _selected(reader, name, reached.namespace, reached.selection)
    found = [endpoint for endpoint in selected if not endpoint.is_socket]
    return _assignment(name, localities.arranged(found, reached.selection.preference, reached.seen_from))


def _selected(reader: Reader, name: str, namespace: str, selection: Selection) -> list[Endpoint]:
    parts = names.parse_cluster(name)
    assert parts is not None, name
    return [
        endpoint
        for endpoint in reader.ask(endpoints.endpoints, parts.host, namespace, parts.port)
        if endpoint.has(selection.labels) and (endpoint.healthy or not selection.only_healthy)
    ]


def _assignment(name: str, groups: Iterable[Group]) -> endpoint_pb2.ClusterLoadAssignment:
    made = endpoint_pb2.ClusterLoadAssignment(cluster_name=name)
    for each in groups:
        group = made.endpoints.add(priority=each.priority)
        if str(each.locality):
            group.locality.region, group.locality.zone = each.locality.region, each.locality.zone
            group.locality.sub_zone = each.locality.subzone
        for member in each.endpoints:
            entry = group.lb_endpoints.add()
            wire.set_address(entry.endpoint.address, member.address, member.port)
            entry.load_balancing_weight.value = member.weight
            if not member.healthy:
                entry.health_status = health_check_pb2.UNHEALTHY
        group.load_balancing_weight.value = each.weight
    return made
