"""Which Sidecar is for a proxy, and what of the mesh it imports.

Source: Istio's Sidecar reference; the order is istiod's: those of the proxy's namespace that select it, then the one for
the whole namespace, then the root namespace's; the oldest first in each. Without any, everything is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from legation.model import hosts, index, mesh, protocols
from legation.model.meta import Key, Object
from legation.model.protocols import Protocol
from legation.model.proxy import Labels, Role, Scope
from legation.model.recall import Reader
from legation.model.sidecar import IstioEgressListener
from legation.model.traffic import Destination


class Viewer(NamedTuple):
    """Who looks at the mesh: a namespace, and the Sidecar that says what of it is imported; all of it without one.

    `entry` is the number of the one entry of its `egress` through which it looks; None for all of them together.
    """

    namespace: str
    sidecar: Key | None = None
    entry: int | None = None


def viewer(reader: Reader, scope: Scope) -> Viewer:
    """How a scope sees the mesh (a unit): gateways see all of it."""
    if scope.role is Role.GATEWAY:
        return Viewer(scope.namespace)
    return Viewer(scope.namespace, reader.ask(governing, scope.namespace, scope.labels))


def governing(reader: Reader, namespace: str, labels: Labels) -> Key | None:
    """The Sidecar that is for the proxies of a namespace with these labels (a unit)."""
    own, wide = dict(labels), None
    for item in reader.get(index.SIDECAR, namespace):
        if selected := index.sidecar_labels(item):
            if selected.items() <= own.items():
                return item.key
        elif wide is None:
            wide = item.key
    root = mesh.root(reader)
    if wide is None and namespace != root:
        wide = next((item.key for item in reader.get(index.SIDECAR, root) if not index.sidecar_labels(item)), None)
    return wide


def document(reader: Reader, key: Key) -> Object | None:
    """A Sidecar by its name."""
    return next(iter(reader.get(key.kind, (key.namespace, key.name))), None)


@dataclass(frozen=True, slots=True)
class Pattern:
    """An entry of `hosts`: the hosts that something imported has, and the namespace that says so, `*` for any.

    `excluded`: these are left out, whatever else imports them.
    """

    namespace: str
    host: str
    excluded: bool = False


@dataclass(frozen=True, slots=True)
class Egress:
    """An entry of `egress`, with its place in the list; the default one, which imports everything, has none."""

    place: int | None
    patterns: tuple[Pattern, ...]
    written: IstioEgressListener | None = None

    @property
    def port(self) -> int | None:
        """The one port that it is for, whichever services have it; 0 for a Unix socket; None for all that no other
        entry has.
        """
        return self.written.port.number if self.written is not None and self.written.port is not None else None

    @property
    def protocol(self) -> Protocol:
        """What is spoken through it, if it has a port."""
        port = self.written.port if self.written is not None else None
        return protocols.of_field(port.protocol) if port is not None else Protocol.AUTO

    @property
    def bind(self) -> str | None:
        """The address that is written."""
        return self.written.bind if self.written is not None else None

    @property
    def is_proxy(self) -> bool:
        """Whether it is a forward proxy: services of all ports are called through it."""
        port = self.written.port if self.written is not None else None
        return port is not None and port.protocol.upper() == "HTTP_PROXY"

    @property
    def is_socket(self) -> bool:
        """Whether it is opened at a Unix socket."""
        return self.written is not None and (self.written.bind or "").startswith("unix:")

    def takes(self, port: int) -> bool:
        """Whether services are called through it on this port of theirs."""
        return self.port in (None, 0, port) or self.is_proxy

    def imports(self, namespace: str, host: str) -> bool:
        """Whether a service of a namespace is imported."""
        return self._wants(namespace, host, hosts.contains)

    def imports_rule(self, namespace: str, ruled: Iterable[str]) -> bool:
        """Whether a VirtualService of a namespace is: one of its hosts and one that is imported have names in common."""
        return any(self._wants(namespace, host, _meet) for host in ruled)

    def _wants(self, namespace: str, host: str, fits: Callable[[str, str], bool]) -> bool:
        here = [one for one in self.patterns if one.namespace in ("*", namespace)]
        if any(one.excluded and hosts.contains(one.host, host) for one in here):
            return False
        return any(fits(one.host, host) for one in here if not one.excluded)


def _meet(one: str, other: str) -> bool:
    return hosts.contains(one, other) or hosts.contains(other, one)


_EVERYTHING: Final = Egress(None, (Pattern("*", "*"),))


def egress(reader: Reader, of: Viewer) -> tuple[Egress, ...]:
    """The entries through which a viewer looks (a unit), in the order in which they are written."""
    item = document(reader, of.sidecar) if of.sidecar is not None else None
    if item is None or not item.spec.egress:
        return (_EVERYTHING,)
    found = tuple(
        Egress(place, tuple(_patterns(written.hosts, of.namespace)), written)
        for place, written in enumerate(item.spec.egress)
    )
    return found if of.entry is None else found[of.entry : of.entry + 1]


def _patterns(written: Iterable[str], own: str) -> Iterator[Pattern]:
    """`~/*` imports nothing, and `~namespace/host` leaves out; `.` is the proxy's own namespace."""
    for text in written:
        namespace, _, host = text.partition("/")
        bare = namespace.removeprefix("~")
        if bare:
            yield Pattern(own if bare == "." else bare, host.lower(), bare != namespace)


def outbound_policy(reader: Reader, of: Viewer) -> tuple[str, Destination | None]:
    """What becomes of calls to hosts that nobody knows (a unit): the mode, and the service that they go through."""
    item = document(reader, of.sidecar) if of.sidecar is not None else None
    written = item.spec.outbound_traffic_policy if item is not None else None
    if written is None:
        return reader.ask(mesh.outbound_mode), None
    return written.mode, written.egress_proxy if written.mode == "ALLOW_ANY" else None


def entry_for(entries: Iterable[Egress], port: int) -> Egress | None:
    """The entry for the services of a port: its own one, else the one that is for all; None if there is neither."""
    listed = list(entries)
    own = next((one for one in listed if one.port == port), None)
    return own or next((one for one in listed if one.port is None), None)
