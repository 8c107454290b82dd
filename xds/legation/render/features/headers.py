"""VirtualService `headers`, of a rule and of a destination.

Source: Istio's Headers. Envoy: request_headers_to_add and its siblings. `host` is rewritten, not set.
"""

from __future__ import annotations

from typing import Any

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2 as route_pb2

from legation.render.context import RouteContext

_OVERWRITE = base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
_APPEND = base_pb2.HeaderValueOption.APPEND_IF_EXISTS_OR_ADD


def apply(route: route_pb2.Route, rule: Any, context: RouteContext) -> None:
    """The rule's headers, then those of its destination if it has only one."""
    _operations(route, rule.headers)
    single = rule.route[0] if rule.route and len(rule.route) == 1 else None
    if single is not None and route.HasField("route"):
        _operations(route, single.headers)
    if route.HasField("route") and not route.route.host_rewrite_literal:
        for source in (rule.headers, single.headers if single is not None else None):
            authority = _authority(source)
            if authority:
                route.route.host_rewrite_literal = authority
                break


def of_destination(entry: route_pb2.WeightedCluster.ClusterWeight, destination: Any) -> None:
    """The headers of one of several destinations."""
    _operations(entry, destination.headers)
    authority = _authority(destination.headers)
    if authority:
        entry.host_rewrite_literal = authority


def _operations(made: route_pb2.Route | route_pb2.WeightedCluster.ClusterWeight, written: Any) -> None:
    """All that is set, by name, then all that is added."""
    if written is None:
        return
    for operations, add, remove in (
        (written.request, made.request_headers_to_add, made.request_headers_to_remove),
        (written.response, made.response_headers_to_add, made.response_headers_to_remove),
    ):
        if operations is None:
            continue
        for values, action in ((operations.set, _OVERWRITE), (operations.add, _APPEND)):
            for name, value in sorted((values or {}).items()):
                if not _is_authority(name) and not name.startswith(":"):
                    add.add(header=base_pb2.HeaderValue(key=name, value=value), append_action=action)
        remove.extend(name for name in operations.remove or () if not name.startswith(":") and not _is_authority(name))


def _authority(written: Any) -> str | None:
    if written is None or written.request is None:
        return None
    for values in (written.request.set, written.request.add):
        for name, value in sorted((values or {}).items()):
            if _is_authority(name):
                return str(value)
    return None


def _is_authority(name: str) -> bool:
    return name.lower() in ("host", ":authority")
