"""What a gateway opens: a listener per port and bind address."""

from __future__ import annotations

from envoy.config.core.v3.base_pb2 import TransportSocket

from legation import names
from legation.model import mesh, servers
from legation.model.gateway import ServerTLSSettings
from legation.model.proxy import Scope
from legation.model.recall import Reader
from legation.model.servers import Handling, Server
from legation.render import assembly, http_manager, tcp, tls
from legation.render.chains import ANY, Chain, chain
from legation.snapshot.snapshot import Ref, Resource


def listener_names(reader: Reader, scope: Scope) -> tuple[str, ...]:
    """The names of a gateway's listeners."""
    opened = {server.listener: server.listens for server in reader.ask(servers.servers, scope)}
    return tuple(sorted(opened, key=lambda name: opened[name]))


def listener(reader: Reader, name: str, scope: Scope) -> Resource | None:
    """One of them."""
    by_server = reader.each(server_chains, (scope,), servers.sharing, name, scope)
    if not by_server:
        return None
    first: Server = next(iter(by_server))
    # Who has a certificate for a name goes before rules that would pass it on unread: it may ask clients for theirs.
    ordered = sorted(by_server, key=lambda server: not server.handling.ends_tls)
    found = [one for server in ordered for one in by_server[server]]
    inspected = any(not server.handling.is_plain for server in by_server)
    return assembly.listener(
        reader, name, scope, first.bind or servers.ALL_ADDRESSES, first.real_port, found, inspected
    )


def server_chains(reader: Reader, server: Server, scope: Scope) -> tuple[Chain, ...]:
    """What is done with the connections of one server (a unit)."""
    match server.handling:
        case Handling.HTTP | Handling.HTTPS:
            return (_routed(reader, server, scope),)
        case Handling.TCP:
            return tuple(tcp.by_rule(reader, server, scope, None, frozenset()))
        case Handling.TLS:
            assert server.tls is not None
            return tuple(tcp.by_rule(reader, server, scope, *_encryption(reader, server.tls)))
        case Handling.PASSTHROUGH:
            return tuple(tcp.by_name(reader, server, scope))
        case Handling.AUTO_PASSTHROUGH:
            return tuple(tcp.by_service(reader, server, scope))


def _routed(reader: Reader, server: Server, scope: Scope) -> Chain:
    refs = frozenset(((names.ROUTE, server.route),))
    plain = server.handling is Handling.HTTP
    prefix = server.listener if plain else server.name or server.listener
    # Servers in clear text share one manager, whichever of them comes first.
    for_browsers = any(one.for_browsers for one in reader.ask(servers.routing_by, server.route, scope))
    manager = http_manager.manager(reader, scope, prefix, server.route, for_browsers=for_browsers)
    if plain or server.tls is None:
        return Chain(chain(http_manager.FILTER, manager), plain=True, refs=refs, origins=(server.origin,))
    socket, secrets = _encryption(reader, server.tls, tls.HTTP)
    body = chain(http_manager.FILTER, manager, socket)
    return Chain(body, server.names or (ANY,), refs=refs | secrets, origins=(server.origin,))


def _encryption(
    reader: Reader, of: ServerTLSSettings, offers: tuple[str, ...] = ()
) -> tuple[TransportSocket, frozenset[Ref]]:
    return tls.downstream(of, offers, reader.ask(mesh.setting, "tls_defaults"))
