"""What a sidecar opens for the calls that its workload makes: which addresses and ports, and for which services.

Sources: Istio's Sidecar reference and its "Protocol Selection" page. Where traffic is redirected, an address need not be
a real one: it says which connections are meant. Where it is not, the addresses are real, and on loopback.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from legation import names
from legation.model import endpoints, hosts, mesh, services, sidecars
from legation.model.meta import Key
from legation.model.protocols import Protocol
from legation.model.proxy import Capture, Scope
from legation.model.recall import Reader
from legation.model.services import Resolution
from legation.model.sidecars import Egress, Viewer

ANY_ADDRESS = "0.0.0.0"
Age = tuple[bool, float, str, str]


@dataclass(frozen=True, slots=True)
class Opaque:
    """A port of a service whose connections are passed on as they are, be they TLS (`tls`) or anything else.

    `may_be_http`: nobody said what it speaks. `by_host`: the name that TLS asks for is looked up. `addresses` are what
    callers connect to, IP addresses and blocks of them; none means any.
    """

    host: str
    port: int
    age: Age
    origins: tuple[Key, ...]
    addresses: tuple[str, ...] = ()
    tls: bool = False
    may_be_http: bool = False
    by_host: bool = False
    nowhere: bool = False


@dataclass(frozen=True, slots=True)
class Share:
    """The part of an address and port that is a service's: connections to these blocks of addresses (any, without), and
    of TLS, if it is `named`, only those that ask for its host.
    """

    of: Opaque
    subnets: tuple[str, ...] = ()
    named: bool = False

    @property
    def claim(self) -> tuple[str, tuple[str, ...]]:
        """What no other service can have beside it."""
        return self.of.host if self.named else "", self.subnets


@dataclass(frozen=True, slots=True)
class Table:
    """A table of HTTP routes: for a port (0: for all), and perhaps for one host alone.

    `is_proxy`: callers say host and port in each request. `is_real`: callers connect to the proxy and know it, so that
    where they wanted to go is only what they say.
    """

    name: str
    viewer: Viewer
    port: int = 0
    host: str = ""
    is_proxy: bool = False
    is_real: bool = True


@dataclass(frozen=True, slots=True)
class Outlet:
    """An address and port, written as in documents. `lost`: services that would be here too, and who has their part;
    `for_browsers`: some service here is called with gRPC-Web, which is translated.
    """

    bind: str
    port: int
    is_real: bool
    viewer: Viewer
    table: Table | None = None
    shares: tuple[Share, ...] = ()
    lost: tuple[tuple[Opaque, Opaque], ...] = ()
    for_browsers: bool = False


@dataclass(slots=True)
class _Draft:
    is_real: bool
    viewer: Viewer
    table: Table | None = None
    shares: dict[tuple[str, tuple[str, ...]], Share] = field(default_factory=dict)
    lost: list[tuple[Opaque, Opaque]] = field(default_factory=list)
    for_browsers: bool = False

    @property
    def is_proxy(self) -> bool:
        """Whether it takes everything itself."""
        return self.table is not None and self.table.is_proxy

    def take(self, share: Share) -> None:
        """The oldest has it."""
        first = self.shares.setdefault(share.claim, share)
        if first.of.host != share.of.host:
            self.lost.append((share.of, first.of))


def outlets(reader: Reader, scope: Scope) -> tuple[Outlet, ...]:
    """Everything that a sidecar opens (a unit)."""
    view = reader.ask(sidecars.viewer, scope)
    entries = reader.ask(sidecars.egress, view)
    found: dict[tuple[str, int], _Draft] = {}
    proxy = int(reader.ask(mesh.setting, "proxy_http_port"))
    if proxy:
        everything = view._replace(entry=next((one.place for one in entries if one.port is None), None))
        table = Table(names.HTTP_PROXY_ROUTE, everything, is_proxy=True)
        found[scope.bind, proxy] = _Draft(True, everything, table)
    for entry in entries:
        if entry.is_proxy or (entry.is_socket and entry.protocol.is_http):
            _forward(scope, view._replace(entry=entry.place), entry, found)
    for port in sorted(number for number in reader.names("ports") if isinstance(number, int)):
        chosen = sidecars.entry_for(entries, port)
        if chosen is not None and not chosen.is_proxy and not chosen.is_socket:
            _of_port(reader, scope, view._replace(entry=chosen.place), chosen, port, found)
    taken = reserved(reader, scope)
    return tuple(
        Outlet(
            bind,
            port,
            made.is_real,
            made.viewer,
            made.table,
            tuple(made.shares.values()),
            tuple(made.lost),
            made.for_browsers,
        )
        for (bind, port), made in found.items()
        if (made.table is not None or made.shares) and not (bind == ANY_ADDRESS and port in taken)
    )


def reserved(reader: Reader, scope: Scope) -> frozenset[int]:
    """The ports that are the proxy's own at every address (a unit): the kernel redirects to them."""
    if scope.capture is Capture.NONE:
        return frozenset()
    settings = ("proxy_listen_port", "proxy_inbound_listen_port")
    return frozenset(int(reader.ask(mesh.setting, name)) for name in settings)


def _forward(scope: Scope, view: Viewer, entry: Egress, found: dict[tuple[str, int], _Draft]) -> None:
    is_real = entry.is_socket or is_bound(entry, scope)
    bind = entry.bind or (scope.bind if is_real else ANY_ADDRESS)
    name = bind if entry.is_socket else names.sidecar_http_route(entry.port or 0)
    table = Table(name, view, is_proxy=True, is_real=is_real)
    found.setdefault((bind, entry.port or 0), _Draft(is_real, view, table))


def _of_port(
    reader: Reader, scope: Scope, view: Viewer, entry: Egress, port: int, found: dict[tuple[str, int], _Draft]
) -> None:
    is_real = is_bound(entry, scope)
    if not is_real and scope.capture is Capture.NONE:
        return
    offered = reader.ask(on_port, port, view, scope.capture)
    usual = entry.bind or (scope.bind if is_real else ANY_ADDRESS)
    if offered.http:
        draft = found.setdefault((usual, port), _Draft(is_real, view))
        draft.table = draft.table or Table(names.sidecar_http_route(port), view, port, is_real=is_real)
        draft.for_browsers = offered.for_browsers
    for opaque in sorted(offered.opaque, key=lambda one: one.age):
        for bind, share in _shares(opaque, usual, entry.bind is not None, is_real):
            draft = found.setdefault((bind, port), _Draft(is_real, view))
            if draft.is_proxy:
                continue
            if opaque.may_be_http and draft.table is None:
                host = opaque.host if bind != usual else ""
                name = names.sniffed_http_route(host, port) if host else names.sidecar_http_route(port)
                draft.table = Table(name, view, port, host, is_real=is_real)
            draft.take(share)


def _shares(of: Opaque, usual: str, is_fixed: bool, is_real: bool) -> Iterator[tuple[str, Share]]:
    """Where a service's connections arrive. Real addresses are only opened on loopback."""
    if of.nowhere:
        return
    single = [address for address in of.addresses if "/" not in address and not is_fixed]
    subnets = tuple(address for address in of.addresses if "/" in address and not is_fixed)
    if is_real:
        single, subnets = [address for address in single if ip_address(address).is_loopback], ()
    for address in single:
        yield address, Share(of, (), of.tls and of.by_host)
    if subnets or not single:
        yield usual, Share(of, subnets, of.tls)


def is_bound(entry: Egress, scope: Scope) -> bool:
    """Whether what an entry opens is a real address of the proxy."""
    mode = entry.written.capture_mode if entry.written is not None else "DEFAULT"
    return mode == "NONE" or (mode == "DEFAULT" and scope.capture is Capture.NONE)


# --- one port -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Offer:
    """What the services of a port speak: whether any speaks HTTP, or gRPC-Web among it; and those that are passed on as
    they are.
    """

    http: bool
    opaque: frozenset[Opaque]
    for_browsers: bool = False


def on_port(reader: Reader, port: int, view: Viewer, capture: Capture) -> Offer:
    """What the services of a port speak (a unit)."""
    found = reader.each(_spoken, (port, view, capture), hosts_on, port)
    http = found.union(_http)
    return Offer(bool(http), found.union(_opaque), Protocol.GRPC_WEB in http)


def hosts_on(reader: Reader, port: int) -> frozenset[str]:
    """The hosts that have a port (a unit)."""
    return frozenset(str(host) for host in reader.names(("port", port)))


def _http(found: Opaque | Protocol | None) -> tuple[Protocol, ...]:
    return (found,) if isinstance(found, Protocol) else ()


def _opaque(found: Opaque | Protocol | None) -> tuple[Opaque, ...]:
    return (found,) if isinstance(found, Opaque) else ()


def _spoken(reader: Reader, host: str, port: int, view: Viewer, capture: Capture) -> Opaque | Protocol | None:
    """What a service speaks on a port (a unit): which kind of HTTP; None if it is not there."""
    service = reader.ask(services.service, host, view)
    of_port = service.port(port) if service is not None and service.resolution is not Resolution.ALIAS else None
    if service is None or of_port is None or of_port.protocol is Protocol.UDP:
        return None
    spoken: Protocol = of_port.protocol
    if spoken.is_http and view.entry is not None:
        (entry,) = reader.ask(sidecars.egress, view)
        spoken = entry.protocol if not entry.protocol.is_http else spoken
    sniffed = spoken is Protocol.AUTO and capture is Capture.REDIRECT
    if spoken.is_http and not sniffed:
        return spoken
    addresses = tuple(address for address in service.addresses if address != ANY_ADDRESS)
    nowhere = False
    if service.headless and capture is Capture.REDIRECT:
        # Its callers connect to its endpoints, each by its own address.
        there = reader.ask(endpoints.endpoints, host, service.namespace, port)
        addresses = tuple(dict.fromkeys(one.address for one in there if hosts.is_ip(one.address)))
        nowhere = not addresses
    (first, *_) = service.origins
    (item,) = reader.get(first.kind, (first.namespace, first.name))
    is_tls = spoken in (Protocol.TLS, Protocol.HTTPS)
    by_host = service.resolution is Resolution.BY_HOST
    return Opaque(host, port, item.age, service.origins, addresses, is_tls, sniffed, by_host, nowhere)


# --- by name ------------------------------------------------------------------------------------------------------


def tables(reader: Reader, scope: Scope) -> Mapping[str, Table]:
    """The tables of HTTP routes by their names (a unit)."""
    return {one.table.name: one.table for one in reader.ask(outlets, scope) if one.table is not None}


def table(reader: Reader, name: str, scope: Scope) -> Table | None:
    """One of them (a unit)."""
    return reader.ask(tables, scope).get(name)


def ports(reader: Reader, scope: Scope) -> tuple[int, ...]:
    """The ports that are really opened, as they are written (a unit)."""
    return tuple(sorted({one.port for one in reader.ask(outlets, scope) if one.is_real} - {0}))
