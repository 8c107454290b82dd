"""Which features apply to what, in which order, and why in this one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from envoy.config.route.v3 import route_components_pb2 as route_pb2
from envoy.extensions.filters.http.cors.v3 import cors_pb2
from envoy.extensions.filters.http.fault.v3 import fault_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from google.protobuf.message import Message

from legation.model.inbound import Inbound
from legation.model.proxy import Scope
from legation.model.recall import Reader
from legation.render.context import RouteContext
from legation.render.draft import ClusterDraft
from legation.render.features import (
    arrivals,
    connection_pool,
    consistent_hash,
    cors,
    destinations,
    direct_response,
    fault,
    headers,
    load_balancer,
    locality,
    mirror,
    outlier_detection,
    proxy_protocol,
    redirect,
    retries,
    retry_budget,
    rewrite,
    timeout,
    upstream_tls,
    warmup,
)

RouteFeature = Callable[[route_pb2.Route, Any, RouteContext], None]
ClusterFeature = Callable[[ClusterDraft], None]
InboundFeature = Callable[[Reader, Scope, Inbound], Iterator[tuple[str, Message]]]

ROUTE: Final[tuple[RouteFeature, ...]] = (
    # The action: exactly one of the three, which the others then refine.
    redirect.apply,
    direct_response.apply,
    destinations.apply,
    # What refines a route to a cluster; they look whether there is one.
    timeout.apply,
    # Before retries: a request that belongs to one endpoint may be tried there again.
    consistent_hash.apply_to_route,
    retries.apply,
    # Before headers: `rewrite.authority` goes before a `host` that is set as a header.
    rewrite.apply,
    headers.apply,
    # Copies are of the request as it is sent on, so nothing of the above is theirs to say.
    mirror.apply,
    # Beside the action, for the filters of these names.
    fault.apply,
    cors.apply,
)
"""From a rule of a VirtualService to Envoy's Route, whose match is there already."""

CLUSTER: Final[tuple[ClusterFeature, ...]] = (
    # Who gets a request: one balancer, which the hash replaces, and of which warmup asks whether it can do that.
    load_balancer.apply,
    consistent_hash.apply,
    warmup.apply,
    locality.apply,
    # Which HTTP is spoken, before TLS, which has to offer it; the bounds, one of which a budget takes the place of.
    connection_pool.apply,
    retry_budget.apply,
    outlier_detection.apply,
    # The socket, and what is around it.
    upstream_tls.apply,
    proxy_protocol.apply,
)
"""From a DestinationRule to Envoy's Cluster, whose name and type are there; what nobody asked for has Istio's defaults."""

HTTP_FILTERS: Final[tuple[tuple[str, Message], ...]] = (
    # Always there, empty, so that a route can configure it without a new listener (which would drain connections).
    (fault.FILTER, fault_pb2.HTTPFault()),
    # After faults, as in Istio: they hit preflights too.
    (cors.FILTER, cors_pb2.Cors()),
    # Envoy wants it last.
    ("envoy.filters.http.router", router_pb2.Router()),
)
"""The HTTP filters of every listener, as Istio orders them."""

INBOUND_HTTP: Final[tuple[InboundFeature, ...]] = (
    # After whatever says who may call: that looks at a request as it came.
    arrivals.for_browsers,
    # Envoy wants it last.
    arrivals.request,
)
"""From a port that a workload is called on to the HTTP filters there. No rule of a VirtualService has a say in them."""

INBOUND_TCP: Final[tuple[InboundFeature, ...]] = (
    # Envoy wants it last.
    arrivals.connection,
)
"""The same for connections that are passed on as a whole."""
