"""What a route's features may know besides the rule that they translate."""

from __future__ import annotations

from dataclasses import dataclass

from legation.model.meta import Key, Object
from legation.model.proxy import Scope
from legation.model.recall import Reader


@dataclass(frozen=True, slots=True)
class RouteContext:
    """Where a rule is used: by which VirtualService, at which gateway (`mesh` or `namespace/name`), on which port.

    `port` is the port as it is written in the Gateway, or the service's port in the mesh.
    """

    reader: Reader
    item: Object
    gateway: str
    port: int
    scope: Scope
    secure: bool = False
    source: Key | None = None
    """The document that the rule stands in, if it is another one: a delegate."""

    @property
    def namespace(self) -> str:
        """The namespace in which short names are understood."""
        return (self.source or self.item.key).namespace
