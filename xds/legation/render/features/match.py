"""VirtualService `http[].match`: what is decided here, and what Envoy decides per request.

Source: Istio's HTTPMatchRequest. Envoy: envoy.config.route.v3.RouteMatch.
"""

from __future__ import annotations

from typing import Any

from envoy.config.route.v3 import route_components_pb2 as route_pb2
from envoy.type.matcher.v3 import string_pb2

from legation.model import index
from legation.model.conditions import CLAIMS
from legation.render.context import RouteContext


def concerns(match: Any, context: RouteContext) -> bool:
    """Whether a match of requests can hold for this gateway, port and proxy at all."""
    if any(name.startswith(CLAIMS) for asked in (match.headers, match.without_headers) for name in asked):
        return False  # nothing here reads tokens yet, so no claim is known to be there, and none to be missing
    return is_for(match, context)


def is_for(match: Any, context: RouteContext) -> bool:
    """Whether a match, be it of requests or of connections, is for this gateway, port and proxy. Gateways that it names
    make Istio ignore its source conditions; else a gateway proxy is held against them like any other caller.
    """
    if match.port is not None and match.port != context.port:
        return False
    if match.gateways:
        own = context.namespace
        return any(index.gateway_reference(name, own) == context.gateway for name in match.gateways)
    if match.source_namespace and match.source_namespace != context.scope.namespace:
        return False
    return (match.source_labels or {}).items() <= dict(context.scope.labels).items()


def translate(match: Any) -> route_pb2.RouteMatch:
    """One match as Envoy's; None stands for a rule without any, which holds for every request."""
    made = route_pb2.RouteMatch()
    uri = match.uri if match is not None else None
    if uri is not None and uri.exact is not None:
        made.path = uri.exact
    elif uri is not None and uri.regex is not None:
        made.safe_regex.regex = uri.regex
    else:
        made.prefix = (uri.prefix if uri is not None else None) or "/"
    if match is None:
        return made
    if match.ignore_uri_case:
        made.case_sensitive.value = False
    for name, wanted in sorted((match.headers or {}).items()):
        _header(made, name, wanted, present="headers")
    for name, wanted in sorted((match.without_headers or {}).items()):
        header = _header(made, name, wanted, present="withoutHeaders")
        header.invert_match = True
        # A header that is missing reads as empty, so "without x: 1" holds for requests that have no x at all.
        header.treat_missing_header_as_empty = not header.HasField("present_match")
    for name, wanted in ((":method", match.method), (":authority", match.authority), (":scheme", match.scheme)):
        if wanted is not None:
            _header(made, name, wanted, present="")
    for name, wanted in sorted((match.query_params or {}).items()):
        parameter = made.query_parameters.add(name=name)
        if _is_presence(wanted):
            parameter.present_match = True
        else:
            _string(parameter.string_match, wanted)
    return made


def is_catch_all(made: route_pb2.RouteMatch) -> bool:
    """Whether a match holds for every request, so that no later rule is ever reached."""
    if made.headers or made.query_parameters or made.dynamic_metadata:
        return False
    return made.prefix == "/" or made.safe_regex.regex == ".*"


def _header(made: route_pb2.RouteMatch, name: str, wanted: Any, present: str) -> route_pb2.HeaderMatcher:
    header = made.headers.add(name=name)
    if present and _is_presence(wanted):
        header.present_match = True
    else:
        _string(header.string_match, wanted)
    return header


def _is_presence(wanted: Any) -> bool:
    """An empty match, or the regex `*`, which is a token and no expression, asks only whether it is there."""
    return (
        wanted is None or wanted.regex == "*" or (wanted.exact is None and wanted.prefix is None and not wanted.regex)
    )


def _string(made: string_pb2.StringMatcher, wanted: Any) -> None:
    if wanted.exact is not None:
        made.exact = wanted.exact
    elif wanted.prefix is not None:
        made.prefix = wanted.prefix
    else:
        made.safe_regex.regex = wanted.regex or ".*"
