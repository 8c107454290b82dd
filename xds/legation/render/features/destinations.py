"""VirtualService `http[].route`: destinations and weights.

Source: Istio's HTTPRouteDestination. Envoy: RouteAction.cluster and weighted_clusters.
"""

from __future__ import annotations

from typing import Any

from envoy.config.route.v3 import route_components_pb2 as route_pb2

from legation import names
from legation.model import services
from legation.model.sidecars import Viewer
from legation.render.context import RouteContext
from legation.render.features import headers


def apply(route: route_pb2.Route, rule: Any, context: RouteContext) -> None:
    """One destination is named as it is, whatever its weight; of several, those with weight 0 are left out."""
    if rule.redirect is not None or rule.direct_response is not None or not rule.route:
        return
    if len(rule.route) == 1:
        route.route.cluster = cluster_of(rule.route[0].destination, context)
        return
    weighted = route.route.weighted_clusters
    for destination in rule.route:
        if destination.weight:
            entry = weighted.clusters.add(name=cluster_of(destination.destination, context))
            entry.weight.value = destination.weight
            headers.of_destination(entry, destination)


def cluster_of(destination: Any, context: RouteContext) -> str:
    """The cluster of a destination: its port is the one that is written, else the service's only one, else the
    listener's. A destination that does not exist has a name too; Envoy answers 503 for it.
    """
    reader, client = context.reader, Viewer(context.scope.namespace)
    host = services.meant(reader, services.resolve(reader, destination.host, context.namespace), client)
    port = destination.port.number if destination.port is not None and destination.port.number else None
    if port is None:
        service = reader.ask(services.service, host, client)
        only = service is not None and len(service.ports) == 1
        port = service.ports[0].number if service is not None and only else context.port
    return names.outbound(host, port, destination.subset or "")
