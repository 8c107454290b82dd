"""VirtualService `http[].corsPolicy`: which pages of other origins may call.

Source: Istio's CorsPolicy, and the Fetch standard. Envoy: the CORS filter, configured per route.
"""

from __future__ import annotations

from typing import Any

from envoy.config.route.v3 import route_components_pb2 as route_pb2
from envoy.extensions.filters.http.cors.v3 import cors_pb2

from legation.render import wire
from legation.render.context import RouteContext

FILTER = "envoy.filters.http.cors"


def apply(route: route_pb2.Route, rule: Any, context: RouteContext) -> None:
    """The filter answers a preflight of an origin that fits by itself, and leaves others to the service unless told to
    ignore them. Without origins none fits. It looks at routes to services only.
    """
    written = rule.cors_policy
    if written is None or not route.HasField("route"):
        return
    made = cors_pb2.CorsPolicy(
        allow_methods=",".join(written.allow_methods),
        allow_headers=",".join(written.allow_headers),
        expose_headers=",".join(written.expose_headers),
    )
    for origin in written.allow_origins:
        matcher = made.allow_origin_string_match.add()
        if origin.exact is not None:
            matcher.exact = origin.exact
        elif origin.prefix is not None:
            matcher.prefix = origin.prefix
        else:
            matcher.safe_regex.regex = origin.regex
    for name in written.allow_origin if not written.allow_origins else ():
        made.allow_origin_string_match.add(exact=name)
    if written.max_age is not None:
        made.max_age = str(int(written.max_age.total_seconds()))
    if written.allow_credentials is not None:
        made.allow_credentials.value = written.allow_credentials
    made.filter_enabled.default_value.numerator = 100
    made.forward_not_matching_preflights.value = written.unmatched_preflights != "IGNORE"
    route.typed_per_filter_config[FILTER].CopyFrom(wire.pack(made))
