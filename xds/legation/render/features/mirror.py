"""VirtualService `http[].mirror` and `http[].mirrors`: copies of requests, whose answers nobody waits for.

Source: Istio's HTTPRoute and HTTPMirrorPolicy. Envoy: RouteAction.request_mirror_policies.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from envoy.config.route.v3 import route_components_pb2 as route_pb2
from envoy.type.v3 import percent_pb2

from legation.render import shares
from legation.render.context import RouteContext
from legation.render.features import destinations


def apply(route: route_pb2.Route, rule: Any, context: RouteContext) -> None:
    """All requests are copied if no share is named; a share of 0 is no copy."""
    if not route.HasField("route"):
        return
    for destination, share in _copies(rule):
        if share.numerator:
            # As in Istio the copy keeps its Host (Envoy would add `-shadow` to it).
            policy = route.route.request_mirror_policies.add(
                cluster=destinations.cluster_of(destination, context), disable_shadow_host_suffix_append=True
            )
            policy.runtime_fraction.default_value.CopyFrom(share)
            policy.trace_sampled.value = False


def _copies(rule: Any) -> Iterator[tuple[Any, percent_pb2.FractionalPercent]]:
    if rule.mirror is not None:
        whole = 100 if rule.mirror_percent is None else rule.mirror_percent
        yield rule.mirror, shares.share(rule.mirror_percentage, whole)
    for copy in rule.mirrors:
        yield copy.destination, shares.share(copy.percentage, 100)
