"""The servers of Gateways that a gateway proxy opens: merged port by port, and who gives way where they collide.

Source: Istio's Gateway reference; the rules are istiod's (`mergeGateways`): the oldest Gateway first, its servers in the
order they are written. What differs: a server that collides over some of its hosts loses these and keeps the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from typing import Any

from legation import names
from legation.model import hosts, protocols
from legation.model.gateway import ServerTLSSettings
from legation.model.meta import Key, Object
from legation.model.proxy import Labels, Scope
from legation.model.recall import Reader

ALL_ADDRESSES = "0.0.0.0"
"""Where a server without `bind` listens; written out it is the same."""


@dataclass(frozen=True, slots=True)
class ServerHost:
    """A host of a Gateway's server: for VirtualServices of `namespace` only, or of all if it is empty."""

    namespace: str
    host: str


class Handling(Enum):
    """What becomes of a server's connections."""

    HTTP = "requests in clear text are routed"
    HTTPS = "TLS ends here, and requests are routed"
    TCP = "passed on as they come"
    TLS = "TLS ends here, and what was in it is passed on"
    PASSTHROUGH = "TLS is passed on unread, by the name that is asked for, as rules say"
    AUTO_PASSTHROUGH = "TLS is passed on unread, to the service whose name is asked for"

    @property
    def ends_tls(self) -> bool:
        """Whether the server has a certificate of its own."""
        return self in (Handling.HTTPS, Handling.TLS)

    @property
    def is_plain(self) -> bool:
        """Whether clients speak clear text."""
        return self in (Handling.HTTP, Handling.TCP)

    @property
    def has_requests(self) -> bool:
        """Whether requests are routed."""
        return self in (Handling.HTTP, Handling.HTTPS)


@dataclass(frozen=True)
class Server:
    """A server of a Gateway that a proxy serves: the `place`-th of its Gateway.

    `number` is the port as it is written, `real_port` where it listens; `bind` is empty for all addresses.
    `for_browsers`: gRPC-Web is spoken, and translated.
    """

    gateway: str
    place: int
    number: int
    port_name: str
    real_port: int
    bind: str
    handling: Handling
    hosts: tuple[ServerHost, ...]
    origin: Key
    tls: ServerTLSSettings | None = None
    name: str = ""
    for_browsers: bool = False

    @property
    def redirects(self) -> bool:
        """Whether requests in clear text are sent to https."""
        return self.handling is Handling.HTTP and self.tls is not None and self.tls.https_redirect

    @property
    def listens(self) -> tuple[int, str]:
        """Its socket: servers that share one share a listener."""
        return self.real_port, self.bind

    @property
    def listener(self) -> str:
        """The name of its listener."""
        return names.listener(self.bind or ALL_ADDRESSES, self.real_port)

    @property
    def route(self) -> str:
        """The name of its route configuration; empty if it has none."""
        match self.handling:
            case Handling.HTTP:
                return names.gateway_http_route(self.real_port, self.bind)
            case Handling.HTTPS:
                return names.gateway_https_route(self.number, self.port_name, self.gateway, self.bind)
            case _:
                return ""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Its hosts without the namespaces, each once."""
        return tuple(dict.fromkeys(mine.host for mine in self.hosts))

    @cached_property
    def _hash(self) -> int:
        return hash((self.gateway, self.place, self.real_port, self.bind, self.hosts))

    def __hash__(self) -> int:
        return self._hash  # a server is part of many questions


class Clash(Enum):
    """Why a server, or some of its hosts, gives way to another one on the same socket."""

    PORT = "two written ports land on one"
    PROTOCOL = "what clients speak cannot be told apart"
    HOSTS = "a name is claimed twice"


@dataclass(frozen=True, slots=True)
class Conflict:
    """Somebody gives way: `hosts` of the server at `place` of `loser`, or, without any, that whole server."""

    why: Clash
    loser: Key
    place: int
    winner: Key
    winning_place: int
    port: int
    winning_port: int
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Merged:
    """What is opened, and who had to give way."""

    servers: tuple[Server, ...]
    conflicts: tuple[Conflict, ...]


def servers(reader: Reader, scope: Scope) -> tuple[Server, ...]:
    """Every server that a gateway proxy opens (a unit): its Gateways oldest first, in the order they are written."""
    return reader.ask(merged, scope.labels, scope.port_map).servers


def sharing(reader: Reader, listener: str, scope: Scope) -> tuple[Server, ...]:
    """The servers of one listener (a unit)."""
    return tuple(server for server in reader.ask(servers, scope) if server.listener == listener)


def routing_by(reader: Reader, route: str, scope: Scope) -> tuple[Server, ...]:
    """The servers that share a route configuration (a unit)."""
    return tuple(server for server in reader.ask(servers, scope) if server.route == route)


def merged(reader: Reader, labels: Labels, port_map: tuple[tuple[int, int], ...]) -> Merged:
    """The Gateways for proxies with these labels, merged (a unit)."""
    gateways = (item for name in reader.names("Gateway") for item in reader.get("Gateway", name))
    own = dict(labels)
    mine = [item for item in gateways if (item.spec.selector or {}).items() <= own.items()]
    return _merge(_written(sorted(mine, key=lambda item: item.age), dict(port_map)))


def selectors(reader: Reader) -> frozenset[Labels]:
    """The labels by which Gateways select proxies (a unit): there may be proxies that have just these."""
    gateways = (item for name in reader.names("Gateway") for item in reader.get("Gateway", name))
    return frozenset(tuple(sorted((item.spec.selector or {}).items())) for item in gateways)


def conflicts(reader: Reader) -> Mapping[Key, tuple[Conflict, ...]]:
    """Who gives way at the proxies that some Gateway selects, wherever they serve their ports (a unit)."""
    found: dict[Key, dict[Conflict, None]] = {}
    for selector in sorted(reader.ask(selectors)):
        for conflict in reader.ask(merged, selector, ()).conflicts:
            found.setdefault(conflict.loser, {})[conflict] = None
    return {key: tuple(of) for key, of in found.items()}


def _written(gateways: Iterable[Object], port_map: Mapping[int, int]) -> Iterable[Server]:
    for item in gateways:
        for place, server in enumerate(item.spec.servers):
            yield Server(
                gateway=f"{item.key.namespace}/{item.key.name}",
                place=place,
                number=server.port.number,
                port_name=server.port.name,
                real_port=port_map.get(server.port.number, server.port.number),
                bind="" if server.bind == ALL_ADDRESSES else hosts.address(server.bind or ""),
                handling=handling(server),
                hosts=_hosts_of(server.hosts, item.key.namespace),
                origin=item.key,
                tls=server.tls,
                name=server.name,
                for_browsers=protocols.of_field(server.port.protocol) is protocols.Protocol.GRPC_WEB,
            )


_UNREAD = {"PASSTHROUGH": Handling.PASSTHROUGH, "AUTO_PASSTHROUGH": Handling.AUTO_PASSTHROUGH}


def handling(server: Any) -> Handling:
    """What becomes of the connections of a server, as it is written."""
    protocol = protocols.of_field(server.port.protocol)
    if protocol.is_http:
        return Handling.HTTP
    if server.tls is None:
        return Handling.TCP
    ended = Handling.HTTPS if protocol is protocols.Protocol.HTTPS else Handling.TLS
    return _UNREAD.get(server.tls.mode, ended)


def _hosts_of(written: Iterable[str], namespace: str) -> tuple[ServerHost, ...]:
    return tuple(dict.fromkeys(server_host(host, namespace) for host in written))


def server_host(written: str, namespace: str) -> ServerHost:
    """A host of a server as it is written in a Gateway of a namespace: `*.example.com`, `team/a.example.com`, `./*`."""
    where, slash, host = written.rpartition("/")
    if not slash or where == "*":
        return ServerHost("", host.lower())
    return ServerHost(namespace if where == "." else where, host.lower())


@dataclass(slots=True)
class _Socket:
    """What is opened on one address and port so far."""

    first: Server
    plain: Server | None = None
    names: dict[str, Server] = field(default_factory=dict)


def _merge(written: Iterable[Server]) -> Merged:
    opened: list[Server] = []
    lost: list[Conflict] = []
    sockets: dict[tuple[int, str], _Socket] = {}
    for server in written:
        socket = sockets.setdefault(server.listens, _Socket(server))
        if socket.first.number != server.number:
            lost.append(_conflict(Clash.PORT, server, socket.first))
        elif socket.plain is not None and not (
            server.handling is socket.plain.handling is Handling.HTTP
        ):  # a second protocol could only be told from the first by chance
            lost.append(_conflict(Clash.PROTOCOL, server, socket.plain))
        elif server.handling.is_plain:
            socket.plain = socket.plain or server
            opened.append(server)
        else:
            taken: dict[Server, list[str]] = {}
            for name in server.names:
                if name in socket.names:
                    taken.setdefault(socket.names[name], []).append(name)
            kept = tuple(mine for mine in server.hosts if mine.host not in socket.names)
            lost += (_conflict(Clash.HOSTS, server, winner, tuple(claimed)) for winner, claimed in taken.items())
            if kept:
                opened.append(server := replace(server, hosts=kept))
                socket.names.update(dict.fromkeys(server.names, server))
    return Merged(tuple(opened), tuple(lost))


def _conflict(why: Clash, loser: Server, winner: Server, hosts: tuple[str, ...] = ()) -> Conflict:
    return Conflict(why, loser.origin, loser.place, winner.origin, winner.place, loser.number, winner.number, hosts)
