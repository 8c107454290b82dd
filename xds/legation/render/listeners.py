"""Listeners: which there are, and who makes each.

Envoy: envoy.config.listener.v3.Listener. Whatever changes often is kept out of it: any changed byte makes Envoy replace
what changed and drain its connections. Of a listener of which only filter chains differ, it keeps the others.
"""

from __future__ import annotations

from types import ModuleType
from typing import Final

from legation.model.proxy import Client, Role, Scope
from legation.model.recall import Reader
from legation.render import gateway_listeners, grpc_clients, outbound
from legation.snapshot.snapshot import Resource

_PARTS: Final[dict[Role, tuple[ModuleType, ...]]] = {
    Role.GATEWAY: (gateway_listeners,),
    # Where two open one address, the first has it.
    Role.SIDECAR: (outbound,),
}
"""Who opens listeners, by the role of a proxy: each has `listener_names` and `listener`, as here; None is for what is not its
own.
"""


def listener_names(reader: Reader, scope: Scope) -> tuple[str, ...]:
    """The names of the listeners that a scope may have (a unit)."""
    found = (name for part in _parts(scope) for name in part.listener_names(reader, scope))
    return tuple(dict.fromkeys(found))


def listener(reader: Reader, name: str, scope: Scope) -> Resource | None:
    """One listener (a unit); None if nothing would be done with its connections."""
    for part in _parts(scope):
        made: Resource | None = part.listener(reader, name, scope)
        if made is not None:
            return made
    return None


def _parts(scope: Scope) -> tuple[ModuleType, ...]:
    """A gRPC library opens nothing; its listeners say what its calls become, whatever its role."""
    return (grpc_clients,) if scope.client is Client.GRPC else _PARTS[scope.role]
