"""VirtualService `http[].fault`: delays and aborts.

Source: Istio's HTTPFaultInjection. Envoy: the fault filter, configured per route. Without a percentage nothing is
injected.
"""

from __future__ import annotations

from typing import Any

from envoy.config.route.v3 import route_components_pb2 as route_pb2
from envoy.extensions.filters.http.fault.v3 import fault_pb2
from google.rpc import code_pb2

from legation.render import shares, wire
from legation.render.context import RouteContext

FILTER = "envoy.filters.http.fault"


def apply(route: route_pb2.Route, rule: Any, context: RouteContext) -> None:
    """The fault filter runs before routing: what it aborts is not retried, and its delay is outside the timeout."""
    written = rule.fault
    if written is None or rule.redirect is not None or rule.direct_response is not None:
        return
    made = fault_pb2.HTTPFault()
    if written.delay is not None and written.delay.fixed_delay is not None:
        made.delay.fixed_delay.FromTimedelta(written.delay.fixed_delay)
        made.delay.percentage.CopyFrom(shares.share(written.delay.percentage, written.delay.percent or 0))
    abort = written.abort
    if abort is not None and abort.http_status is not None:
        made.abort.http_status = abort.http_status
        made.abort.percentage.CopyFrom(shares.share(abort.percentage, 0))
    elif abort is not None and abort.grpc_status:
        made.abort.grpc_status = code_pb2.Code.Value(abort.grpc_status)
        made.abort.percentage.CopyFrom(shares.share(abort.percentage, 0))
    if made.HasField("delay") or made.HasField("abort"):
        route.typed_per_filter_config[FILTER].CopyFrom(wire.pack(made))
