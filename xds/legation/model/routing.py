"""Which VirtualServices rule a host, for whom, and in what order.

Source: Istio's VirtualService reference; the order is istiod's: what is private to the client's namespace, what is
exported to it by name, what is public; the oldest first in each.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from legation.model import hosts, services
from legation.model.meta import Key, Object
from legation.model.proxy import Scope
from legation.model.recall import Reader
from legation.names import MESH_GATEWAY


def in_mesh(reader: Reader, host: str, client: str) -> Object | None:
    """The VirtualService that rules a host for sidecars of a namespace (a unit): the first for the host itself, else
    the first for the longest wildcard that contains it. There is no merging in the mesh.
    """
    table = ("bound", MESH_GATEWAY)
    exact = [
        item
        for item in reader.get(table, host)
        if any(services.resolve(reader, written, item.key.namespace) == host for written in item.spec.hosts)
    ]
    for item in _ordered(exact, client):
        return item
    patterns = [name for name in reader.names(("bound wildcard", MESH_GATEWAY)) if isinstance(name, str)]
    fitting = {pattern for pattern in patterns if hosts.contains(pattern, host) and pattern != host}
    while fitting:
        best = hosts.most_specific(fitting, host)
        for item in _ordered(reader.get(table, best), client):
            return item
        fitting.discard(best or "")
    return None


@dataclass(frozen=True, slots=True)
class ServerHost:
    """A host of a Gateway's server: for VirtualServices of `namespace` only, or of all if it is empty."""

    namespace: str
    host: str


ALL_ADDRESSES = "0.0.0.0"
"""Where a server without `bind` listens; written out it is the same."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server of a Gateway that a proxy serves. `number` is the port as it is written, `real_port` where it listens;
    `bind` is empty for all addresses.
    """

    gateway: str
    number: int
    real_port: int
    bind: str
    protocol: services.Protocol
    hosts: tuple[ServerHost, ...]
    origin: Key


def servers(reader: Reader, scope: Scope) -> tuple[Server, ...]:
    """Every HTTP server that a gateway proxy serves (a unit): its Gateways oldest first, in the order they are written."""
    gateways = [item for name in reader.names("Gateway") for item in reader.get("Gateway", name)]
    labels = dict(scope.labels)
    return tuple(
        Server(
            gateway=f"{item.key.namespace}/{item.key.name}",
            number=server.port.number,
            real_port=scope.real_port(server.port.number),
            bind="" if server.bind == ALL_ADDRESSES else server.bind or "",
            protocol=services.protocol_of_field(server.port.protocol),
            hosts=tuple(dict.fromkeys(_server_host(host, item.key.namespace) for host in server.hosts)),
            origin=item.key,
        )
        for item in sorted(gateways, key=lambda item: item.age)
        if (item.spec.selector or {}).items() <= labels.items()
        for server in item.spec.servers
        if server.tls is None and services.protocol_of_field(server.port.protocol) in _HTTP_SERVERS
    )


_HTTP_SERVERS = (
    services.Protocol.HTTP,
    services.Protocol.HTTP2,
    services.Protocol.GRPC,
    services.Protocol.GRPC_WEB,
)


def _server_host(written: str, namespace: str) -> ServerHost:
    where, slash, host = written.rpartition("/")
    if not slash or where == "*":
        return ServerHost("", host.lower())
    return ServerHost(namespace if where == "." else where, host.lower())


def hosts_at_gateway(reader: Reader, of: Server) -> set[str]:
    """Every host for which a server may have routes: the narrower one of each server's host and rule's host."""
    ruled = {name for name in reader.names(("bound", of.gateway)) if isinstance(name, str)}
    wildcards = [name for name in ruled if hosts.is_wildcard(name)]
    found: set[str] = set()
    for host in {mine.host for mine in of.hosts}:
        if hosts.is_wildcard(host):
            found.update(theirs for theirs in ruled if hosts.contains(host, theirs))
        if host in ruled or any(hosts.contains(theirs, host) for theirs in wildcards):
            found.add(host)
    return found


def at_gateway(reader: Reader, of: Server, host: str, client: str) -> tuple[Object, ...]:
    """The VirtualServices that a server asks for one of its hosts, in order; their routes are joined."""
    table, found = ("bound", of.gateway), dict[Key, Object]()
    for mine in of.hosts:
        ruled: list[Hashable] = [host] if hosts.contains(mine.host, host) else []
        if mine.host == host:
            wildcards = reader.names(("bound wildcard", of.gateway))
            ruled += [name for name in wildcards if name != host and hosts.contains(str(name), host)]
        for name in ruled:
            for item in reader.get(table, name):
                if not mine.namespace or mine.namespace == item.key.namespace:
                    found[item.key] = item
    return tuple(_ordered(found.values(), client))


def _ordered(items: Iterable[Object], client: str) -> list[Object]:
    """Those that a client's namespace sees: private, then exported to it by name, then public; oldest first in each."""
    listed: list[tuple[int, Object]] = []
    for item in items:
        exported, own = item.spec.export_to or (), item.key.namespace
        if not exported or "*" in exported:
            listed.append((2, item))
        elif {"." if own == client else client, client} & set(exported):
            listed.append((0 if own == client and len(exported) == 1 else 1, item))
    return [item for _, item in sorted(listed, key=lambda entry: (entry[0], entry[1].age))]
