"""VirtualService `http[].fault`: delays and aborts.

Source: Istio's HTTPFaultInjection. Envoy: the fault filter, configured per route. Without a percentage nothing is
injected.
"""

from __future__ import annotations

from typing import Any

from envoy.config.route.v3 import route_components_pb2 as route_pb2
from envoy.extensions.filters.http.fault.v3 import fault_pb2
from envoy.type.v3 import percent_pb2
from google.rpc import code_pb2

from legation.render import wire
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
        made.delay.percentage.CopyFrom(_share(written.delay.percentage, written.delay.percent))
    abort = written.abort
    if abort is not None and abort.http_status is not None:
        made.abort.http_status = abort.http_status
        made.abort.percentage.CopyFrom(_share(abort.percentage, None))
    elif abort is not None and abort.grpc_status:
        made.abort.grpc_status = code_pb2.Code.Value(abort.grpc_status)
        made.abort.percentage.CopyFrom(_share(abort.percentage, None))
    if made.HasField("delay") or made.HasField("abort"):
        route.typed_per_filter_config[FILTER].CopyFrom(wire.pack(made))


def _share(percentage: Any, whole: int | None) -> percent_pb2.FractionalPercent:
    """Percent as millionths, rounded (Istio cuts off, so that 0.57 % becomes 0.5699 %)."""
    if percentage is None or percentage.value is None:
        return percent_pb2.FractionalPercent(numerator=whole or 0)
    return percent_pb2.FractionalPercent(
        numerator=round(percentage.value * 10_000), denominator=percent_pb2.FractionalPercent.MILLION
    )
