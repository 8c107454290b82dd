"""How a caller reaches a service: by which rules, which endpoints each of its clusters has, and who finds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from legation.model import baseline, endpoints, localities, rules, services
from legation.model.localities import Standpoint
from legation.model.protocols import Protocol
from legation.model.recall import Reader
from legation.model.rules import Caller, Ruling, Selection
from legation.model.services import Resolution, Service, ServicePort
from legation.model.sidecars import Viewer
from legation.names import ClusterName


class Way(StrEnum):
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


@dataclass(frozen=True, slots=True)
class Reached:
    """One cluster, as a caller reaches it. Callers for whom this is the same share the cluster and its endpoints.

    `namespace` is the one that defines the service; `seen_from` is where the caller is, if that matters. `sniffed`: what
    it speaks was found out from its first bytes, and is spoken on.
    """

    namespace: str
    ruling: Ruling
    selection: Selection
    way: Way
    seen_from: Standpoint | None = None
    sniffed: bool = False

    @property
    def anywhere(self) -> Reached:
        """As much of it as the cluster itself depends on: where the caller runs only if the endpoints stand in it."""
        return replace(self, seen_from=None) if self.seen_from is not None and self.way is Way.TOLD else self


def reached(reader: Reader, host: str, caller: Caller) -> Mapping[tuple[int, str], Reached]:
    """The clusters of a service for a caller, by port and subset (a unit); none of a service that is only another name,
    none for UDP, and none of what a caller does not import.
    """
    service = reader.ask(services.service, host, caller.viewer)
    if service is None or service.resolution is Resolution.ALIAS:
        return {}
    ruling = reader.ask(rules.ruling, host, caller.viewer, caller.labels)
    return {
        (port.number, subset): _reached(reader, service, port, selection, ruling, caller)
        for port in service.ports
        if port.protocol is not Protocol.UDP
        for subset, selection in _selections(reader, service, port, ruling)
    }


def called(reader: Reader, of: ClusterName, caller: Caller) -> Reached | None:
    """One cluster, for a caller that some rule sends there: what a rule names need not be imported."""
    found = reader.ask(reached, of.host, caller).get((of.port, of.subset))
    if found is None and caller.viewer.sidecar is not None:
        anyone = replace(caller, viewer=Viewer(caller.viewer.namespace))
        found = reader.ask(reached, of.host, anyone).get((of.port, of.subset))
    return found


def _selections(reader: Reader, service: Service, port: ServicePort, ruling: Ruling) -> Iterator[tuple[str, Selection]]:
    """Which endpoints the service itself has, and each of its subsets. What rules say of localities goes before what the
    service asks for, and that before what the mesh says.
    """
    of_mesh, said = reader.ask(baseline.of_mesh), reader.ask(rules.rule, ruling)
    for subset in (rules.WHOLE, *said.subsets):
        written = rules.written(said, subset, port.number)
        wanted = () if localities.is_settled(written) else service.preferred
        yield subset.name, rules.selection(baseline.under(of_mesh, written), subset.labels, wanted)


def _reached(
    reader: Reader, service: Service, port: ServicePort, selection: Selection, ruling: Ruling, caller: Caller
) -> Reached:
    way = _way(reader, service, port.number, selection, caller)
    seen_from = None
    if selection.preference is not None and way in (Way.TOLD, Way.LOOKED_UP):
        seen_from = localities.standpoint(selection.preference, caller.locality, dict(caller.labels))
    sniffed = caller.is_redirected and port.protocol is Protocol.AUTO
    return Reached(service.namespace, ruling, selection, way, seen_from, sniffed)


def _way(reader: Reader, service: Service, port: int, selection: Selection, caller: Caller) -> Way:
    """Where a caller wanted to go is known only to a sidecar whose traffic is redirected; others are told what there is,
    which for a service without endpoints of its own is nothing.
    """
    if selection.as_called or (caller.is_redirected and service.passes_through):
        return Way.AS_CALLED
    if service.resolution is Resolution.BY_HOST:
        return Way.BY_HOST
    if service.resolution is Resolution.ONE_NAME:
        return Way.ONE_NAME
    return Way.LOOKED_UP if endpoints.found_by_dns(reader, service, port) else Way.TOLD
