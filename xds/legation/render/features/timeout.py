"""VirtualService `http[].timeout`. Envoy's own default of 15 s never applies: without a timeout there is none."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from envoy.config.route.v3 import route_components_pb2 as route_pb2

from legation.render import wire
from legation.render.context import RouteContext

NONE = timedelta(0)


def apply(route: route_pb2.Route, rule: Any, context: RouteContext) -> None:
    """A timeout is for the whole of a call, gRPC's included; without one a caller's `grpc-timeout` counts as it is."""
    if route.HasField("route"):
        limit(route.route, rule.timeout or NONE)


def limit(action: route_pb2.RouteAction, timeout: timedelta) -> None:
    """Sets the timeout of a route's action; zero is none.

    Envoy looks at `timeout` only where there is no `max_stream_duration`, which alone knows `grpc-timeout` (the older field
    for it is deprecated, and Envoy would log that): so it is one or the other.
    """
    wire.set_duration(action.timeout, timeout)
    if not timeout:
        action.max_stream_duration.grpc_timeout_header_max.SetInParent()
