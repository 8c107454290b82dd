"""VirtualService `http[].rewrite`. Envoy: prefix_rewrite, regex_rewrite and host_rewrite_literal of RouteAction."""

from __future__ import annotations

from typing import Any

from envoy.config.route.v3 import route_components_pb2 as route_pb2

from legation.render.context import RouteContext
from legation.render.features import proxy_defaults


def apply(route: route_pb2.Route, rule: Any, context: RouteContext) -> None:
    """What was matched is replaced: the prefix of a prefix match, the whole path of the others."""
    written = rule.rewrite
    if written is None or not route.HasField("route"):
        return
    if written.uri_regex_rewrite is not None:
        route.route.regex_rewrite.pattern.regex = written.uri_regex_rewrite.match
        route.route.regex_rewrite.substitution = written.uri_regex_rewrite.rewrite
    elif written.uri:
        route.route.prefix_rewrite = written.uri
    if written.authority:
        route.route.host_rewrite_literal = written.authority
        route.route.append_x_forwarded_host = proxy_defaults.says_host(context.reader)
