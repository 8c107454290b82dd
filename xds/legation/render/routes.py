"""Route configurations: which there are, and who makes each.

Envoy: envoy.config.route.v3.RouteConfiguration.
"""

from __future__ import annotations

from legation.model.proxy import Role, Scope
from legation.model.recall import Reader
from legation.render import gateway_routes, mesh_routes
from legation.snapshot.snapshot import Resource


def route_names(reader: Reader, scope: Scope) -> tuple[str, ...]:
    """The names of a scope's route configurations (a unit)."""
    at_gateway = scope.role is Role.GATEWAY
    return gateway_routes.route_names(reader, scope) if at_gateway else mesh_routes.route_names(reader, scope)


def route_configuration(reader: Reader, name: str, scope: Scope) -> Resource | None:
    """One route configuration, assembled (a unit)."""
    if scope.role is Role.GATEWAY:
        return gateway_routes.route_configuration(reader, name, scope)
    return mesh_routes.route_configuration(reader, name, scope)
