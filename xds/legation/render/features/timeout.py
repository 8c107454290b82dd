"""VirtualService `http[].timeout`. Envoy's own default of 15 s never applies: without a timeout there is none."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from envoy.config.route.v3 import route_components_pb2 as route_pb2

from legation.render.context import RouteContext

NONE = timedelta(0)


def apply(route: route_pb2.Route, rule: Any, context: RouteContext) -> None:
    """The timeout caps what a `grpc-timeout` header may ask for; without one the header counts as it is."""
    if route.HasField("route"):
        limit(route.route, rule.timeout or NONE)


def limit(action: route_pb2.RouteAction, timeout: timedelta) -> None:
    """Sets the timeout of a route's action; zero is none."""
    action.timeout.FromTimedelta(timeout)
    action.max_stream_duration.grpc_timeout_header_max.FromTimedelta(timeout)
