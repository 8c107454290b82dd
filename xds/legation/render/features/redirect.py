"""VirtualService `http[].redirect`. Envoy: route.v3.RedirectAction."""

from __future__ import annotations

from typing import Any

from envoy.config.route.v3 import route_components_pb2 as route_pb2

from legation.render.context import RouteContext

_CODES = {
    301: route_pb2.RedirectAction.MOVED_PERMANENTLY,
    302: route_pb2.RedirectAction.FOUND,
    303: route_pb2.RedirectAction.SEE_OTHER,
    307: route_pb2.RedirectAction.TEMPORARY_REDIRECT,
    308: route_pb2.RedirectAction.PERMANENT_REDIRECT,
}
_DEFAULT_PORTS = {"http": 80, "https": 443}


def apply(route: route_pb2.Route, rule: Any, context: RouteContext) -> None:
    """A redirect goes before any other action; the default port of the resulting scheme is not written out."""
    written = rule.redirect
    if written is None:
        return
    action = route.redirect
    action.response_code = _CODES[written.redirect_code or 301]
    if written.authority:
        action.host_redirect = written.authority
    if written.scheme:
        action.scheme_redirect = written.scheme
    if written.prefix_rewrite:
        action.prefix_rewrite = written.prefix_rewrite
    else:
        action.path_redirect = written.uri or ""
    port = written.port if written.port is not None else 0
    if written.derive_port is not None and str(written.derive_port) == "FROM_REQUEST_PORT":
        port = context.port
    scheme = written.scheme or ("https" if context.secure else "http")
    action.port_redirect = 0 if port == _DEFAULT_PORTS[scheme] else port
