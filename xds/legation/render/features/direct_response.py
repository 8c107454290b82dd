"""VirtualService `http[].directResponse`. Envoy: route.v3.DirectResponseAction."""

from __future__ import annotations

import base64
from typing import Any

from envoy.config.route.v3 import route_components_pb2 as route_pb2

from legation.render.context import RouteContext


def apply(route: route_pb2.Route, rule: Any, context: RouteContext) -> None:
    """A fixed answer; a redirect goes before it."""
    written = rule.direct_response
    if written is None or rule.redirect is not None:
        return
    route.direct_response.status = written.status
    if written.body is not None and written.body.string is not None:
        route.direct_response.body.inline_string = written.body.string
    elif written.body is not None and written.body.bytes is not None:
        data = written.body.bytes
        route.direct_response.body.inline_bytes = data if isinstance(data, bytes) else base64.b64decode(data)
