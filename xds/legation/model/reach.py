"""How a caller's cluster comes by its endpoints."""

from __future__ import annotations

from enum import Enum

from legation.model import endpoints
from legation.model.recall import Reader
from legation.model.rules import Caller, Selection
from legation.model.services import Resolution, Service


class Way(Enum):
    """Who finds the endpoints of a cluster."""

    TOLD = "told"
    """We do, and tell the proxy."""
    LOOKED_UP = "looked up"
    """The proxy looks names up, and uses every address."""
    ONE_NAME = "one name"
    """The proxy looks one name up, and every new connection goes to the address that it had last."""
    BY_HOST = "by host"
    """The proxy looks up the host of each request."""
    AS_CALLED = "as called"
    """Nobody: connections go where the caller wanted to go."""


def way(reader: Reader, service: Service, port: int, selection: Selection, caller: Caller) -> Way:
    """How it is for a port of a service.

    Where a caller wanted to go is known only to a sidecar whose traffic is redirected; others are told what there is,
    which for a service without endpoints of its own is nothing.
    """
    if selection.as_called or (caller.is_redirected and service.passes_through):
        return Way.AS_CALLED
    if service.resolution is Resolution.BY_HOST:
        return Way.BY_HOST
    if service.resolution is Resolution.ONE_NAME:
        return Way.ONE_NAME
    return Way.LOOKED_UP if endpoints.found_by_dns(reader, service, port) else Way.TOLD
