"""Which VirtualServices rule a host, for whom, and in what order.

Source: Istio's VirtualService reference; the order is istiod's: what is private to the client's namespace, what is
exported to it by name, what is public; the oldest first in each.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping

from legation.model import hosts, mesh, services, sidecars
from legation.model.meta import Key, Object
from legation.model.recall import Reader
from legation.model.servers import Server
from legation.model.sidecars import Viewer
from legation.names import MESH_GATEWAY


def in_mesh(reader: Reader, host: str, client: Viewer) -> tuple[Object, ...]:
    """The VirtualServices that rule a service for a sidecar (a unit), in order: those for the host itself,
    else those for the longest wildcard that contains it. The first that has a route rules alone; there is no merging.
    """
    if exact := by_name(reader, host, client):
        return tuple(exact)
    patterns = [name for name in reader.names(("bound wildcard", MESH_GATEWAY)) if isinstance(name, str)]
    fitting = {pattern for pattern in patterns if hosts.contains(pattern, host) and pattern != host}
    while fitting:
        best = hosts.most_specific(fitting, host)
        if found := _ordered(reader, reader.get(_IN_MESH, best), client):
            return tuple(found)
        fitting.discard(best or "")
    return ()


_IN_MESH = ("bound", MESH_GATEWAY)


def about(reader: Reader, host: str, client: Viewer) -> tuple[Object, ...]:
    """All VirtualServices of the mesh that are for a service (a unit), in order: those for the host itself, then those for
    wildcards that contain it, the longest first. Connections ask one after the other; there is a rule or there is none.
    """
    patterns = [name for name in reader.names(("bound wildcard", MESH_GATEWAY)) if isinstance(name, str)]
    fitting = sorted((one for one in patterns if hosts.contains(one, host) and one != host), key=len, reverse=True)
    found = by_name(reader, host, client)
    found += [item for one in fitting for item in _ordered(reader, reader.get(_IN_MESH, one), client)]
    return tuple({item.key: item for item in found}.values())


def by_name(reader: Reader, host: str, client: Viewer) -> list[Object]:
    """The VirtualServices of the mesh that name a host, in the order in which a client asks them."""
    return _ordered(reader, (item for item in reader.get(_IN_MESH, host) if host in _hosts(reader, item)), client)


def _hosts(reader: Reader, item: Object) -> list[str]:
    return [services.resolve(reader, written, item.key.namespace) for written in item.spec.hosts]


def ports_alone(reader: Reader, host: str, client: Viewer) -> frozenset[int]:
    """The ports on which a host that no service has is ruled for a namespace (a unit).

    As in Istio: on port 80, and on the ports of the services that its rule names beside it. A wildcard which contains a
    service of a port is a rule for such services there, and no name of its own.
    """
    found = _naming(reader, host, client)
    ports = {80} if found else set()
    for item in found:
        ports |= {number for other in _hosts(reader, item) for number in _ports(reader, other, client)}
    if found and hosts.is_wildcard(host):
        fitting = (name for name in reader.names(hosts.SERVICE) if hosts.contains(host, str(name)))
        ports -= {number for name in fitting for number in _ports(reader, str(name), client)}
    return frozenset(ports)


def alone(reader: Reader, host: str, port: int, client: Viewer) -> list[Object]:
    """The VirtualServices that rule a host which no service has, on one of its `ports_alone`, in order."""
    return [
        item
        for item in _naming(reader, host, client)
        if port == 80 or any(port in _ports(reader, other, client) for other in _hosts(reader, item))
    ]


def _naming(reader: Reader, host: str, client: Viewer) -> list[Object]:
    """The VirtualServices that name a host which no service has; where not everything is imported, this name must be."""
    found = by_name(reader, host, client)
    if client.sidecar is None:
        return found
    entries = reader.ask(sidecars.egress, client)
    return [item for item in found if any(entry.imports_rule(item.key.namespace, [host]) for entry in entries)]


def _ports(reader: Reader, host: str, client: Viewer) -> set[int]:
    service = reader.ask(services.service, host, client)
    return {port.number for port in service.ports} if service is not None else set()


def alone_by_port(reader: Reader, client: Viewer) -> Mapping[int, frozenset[str]]:
    """All hosts that no service has, by the ports on which they are ruled (a unit)."""
    found: dict[int, set[str]] = {}
    for host, ports in reader.each(ports_alone, (client,), _in_no_service).items():
        for port in ports:
            found.setdefault(port, set()).add(host)
    return {port: frozenset(names) for port, names in found.items()}


def _in_no_service(reader: Reader) -> frozenset[str]:
    names = (str(name) for name in reader.names(_IN_MESH))
    return frozenset(name for name in names if not services.known(reader, name))


def is_alone(reader: Reader, host: str, port: int, client: Viewer) -> bool:
    """Whether a name has rules of its own on a port, though no service has it."""
    if not reader.get(_IN_MESH, host) or services.known(reader, host):
        return False
    return port in reader.ask(ports_alone, host, client)


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


def at_gateway(reader: Reader, of: Server, host: str, client: Viewer) -> tuple[Object, ...]:
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
    return tuple(_ordered(reader, found.values(), client))


def bound_to(reader: Reader, of: Server, client: Viewer) -> tuple[Object, ...]:
    """The VirtualServices that say something about any of a server's hosts, in order (a unit)."""
    found = {item.key: item for host in hosts_at_gateway(reader, of) for item in at_gateway(reader, of, host, client)}
    return tuple(_ordered(reader, found.values(), client))


def narrowed(asked: Iterable[str], server: Server, namespace: str) -> tuple[str, ...]:
    """Of the names that a rule of a namespace is for and those that a server has for it, the narrower one of each pair."""
    own = [mine.host for mine in server.hosts if mine.namespace in ("", namespace)]
    found: dict[str, None] = {}
    for name in (name.lower() for name in asked):
        for mine in own:
            if hosts.contains(mine, name):
                found[name] = None
            elif hosts.contains(name, mine):
                found[mine] = None
    return ("*",) if "*" in found else tuple(found)


def _ordered(reader: Reader, items: Iterable[Object], client: Viewer) -> list[Object]:
    """Those that a client sees: private, then exported to its namespace by name, then public; oldest first in each."""
    listed: list[tuple[int, Object]] = []
    entries = reader.ask(sidecars.egress, client) if client.sidecar is not None else ()
    for item in items:
        if entries and not any(entry.imports_rule(item.key.namespace, _hosts(reader, item)) for entry in entries):
            continue
        own = item.key.namespace
        exported = mesh.exported(reader, item.spec.export_to, "virtual_service")
        if not exported or "*" in exported:
            listed.append((2, item))
        elif {"." if own == client.namespace else client.namespace, client.namespace} & set(exported):
            listed.append((0 if own == client.namespace and len(exported) == 1 else 1, item))
    return [item for _, item in sorted(listed, key=lambda entry: (entry[0], entry[1].age))]
