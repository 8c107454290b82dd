"""Which features apply to what, in which order, and why in this one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.route.v3 import route_components_pb2 as route_pb2
from envoy.extensions.filters.http.fault.v3 import fault_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from google.protobuf.message import Message

from legation.model.rules import Rule, Subset
from legation.render.context import RouteContext
from legation.render.features import (
    destinations,
    direct_response,
    fault,
    headers,
    load_balancer,
    redirect,
    retries,
    rewrite,
    timeout,
)

RouteFeature = Callable[[route_pb2.Route, Any, RouteContext], None]
ClusterFeature = Callable[[cluster_pb2.Cluster, Rule | None, Subset | None], None]

ROUTE: Final[tuple[RouteFeature, ...]] = (
    # The action: exactly one of the three, which the others then refine.
    redirect.apply,
    direct_response.apply,
    destinations.apply,
    # What refines a route to a cluster; they look whether there is one.
    timeout.apply,
    retries.apply,
    # Before headers: `rewrite.authority` goes before a `host` that is set as a header.
    rewrite.apply,
    headers.apply,
    # Beside the action, for the filter of that name.
    fault.apply,
)
"""From a rule of a VirtualService to Envoy's Route, whose match is there already."""

CLUSTER: Final[tuple[ClusterFeature, ...]] = (load_balancer.apply,)
"""From a DestinationRule to Envoy's Cluster, whose name, type and defaults are there already."""

HTTP_FILTERS: Final[tuple[tuple[str, Message], ...]] = (
    # Always there, empty, so that a route can configure it without a new listener (which would drain connections).
    (fault.FILTER, fault_pb2.HTTPFault()),
    # Envoy wants it last.
    ("envoy.filters.http.router", router_pb2.Router()),
)
"""The HTTP filters of every listener, as Istio orders them."""
