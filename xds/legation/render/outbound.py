"""What a workload's proxy opens for the calls that its workload makes.

Capture mode NONE: real listeners on loopback; the services of a port share one and are told apart by Host.
"""

from __future__ import annotations

from collections.abc import Mapping

from legation import names
from legation.model.proxy import Scope
from legation.model.recall import Reader
from legation.render import assembly, http_manager, routes
from legation.render.chains import Chain, chain
from legation.snapshot.snapshot import Resource


def listener_names(reader: Reader, scope: Scope) -> tuple[str, ...]:
    """The names of the listeners for calls that go out."""
    return tuple(reader.ask(_ports, scope))


def listener(reader: Reader, name: str, scope: Scope) -> Resource | None:
    """One of them."""
    port = reader.ask(_ports, scope).get(name)
    if port is None:
        return None
    route = names.sidecar_http_route(port)
    manager = chain(http_manager.FILTER, http_manager.manager(reader, scope, name, route))
    chains = [Chain(manager, refs=frozenset(((names.ROUTE, route),)))]
    return assembly.listener(reader, name, scope, scope.bind, scope.real_port(port), chains)


def _ports(reader: Reader, scope: Scope) -> Mapping[str, int]:
    ports = reader.ask(routes.sidecar_ports, scope)
    return {names.listener(scope.bind, scope.real_port(port)): port for port in ports}
