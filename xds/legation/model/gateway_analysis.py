"""What is to be said about Gateways in the light of the others, and of the proxies that open them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from legation import names
from legation.model import index, routing, servers
from legation.model.conditions import L4MatchAttributes
from legation.model.findings import Finding, Reference
from legation.model.meta import Key, Object
from legation.model.proxy import Role, Scope
from legation.model.recall import Reader
from legation.model.servers import Clash, Conflict, Handling, Server
from legation.model.sidecars import Viewer
from legation.problems import Path, Severity


def lost(reader: Reader, key: Key) -> tuple[Conflict, ...]:
    """What the servers of a Gateway give way to."""
    return reader.ask(servers.conflicts).get(key, ())


def at_proxy(reader: Reader, scope: Scope) -> tuple[Finding, ...]:
    """What concerns only the proxies of a scope (a unit)."""
    if scope.role is not Role.GATEWAY:
        return ()
    found = [conflict(one) for one in reader.ask(servers.merged, scope.labels, scope.port_map).conflicts]
    for server in reader.ask(servers.servers, scope):
        found += _unavailable(reader, server, scope)
    return tuple(found)


def conflict(of: Conflict) -> Finding:
    """Somebody gives way to somebody."""
    place: Path = ("spec", "servers", of.place)
    match of.why:
        case Clash.PORT:
            said = (
                f"{of.winner} opens port {of.winning_port}, which is the same port of a proxy: {of.port} stays closed"
            )
            hint = "map one of them to another port (--map-port)"
            return Finding(of.loser, (*place, "port", "number"), Severity.ERROR, "LEG0802", said, hint, of.winner)
        case Clash.PROTOCOL:
            said = f"port {of.port} is {of.winner}'s, and who is meant could not be told; this server is left out"
            hint = "use another port, or another `bind`"
            return Finding(of.loser, (*place, "port"), Severity.WARNING, "IST0145", said, hint, of.winner)
        case Clash.HOSTS:
            listed = ", ".join(f'"{host}"' for host in of.hosts)
            said = f"on port {of.port} {listed} belongs to {of.winner}; this server does not answer for it"
            hint = "keep it in one of them, or use another port or `bind`"
            return Finding(of.loser, (*place, "hosts"), Severity.WARNING, "IST0145", said, hint, of.winner)


def shared(reader: Reader, key: Key) -> tuple[Finding, ...]:
    """The servers of a Gateway that show another one's certificate."""
    return reader.ask(_shared).get(key, ())


def _shared(reader: Reader) -> Mapping[Key, tuple[Finding, ...]]:
    """The same, for all Gateways (a unit). A browser that holds an HTTP/2 connection asks over it for every name that the
    certificate is for; the server at its other end knows its own names only.
    """
    found: dict[Key, dict[Finding, None]] = {}
    for selector in sorted(reader.ask(servers.selectors)):
        shown: dict[Any, Server] = {}
        for server in reader.ask(servers.merged, selector, ()).servers:
            if server.handling is not Handling.HTTPS or server.tls is None or server.tls.mode == "ISTIO_MUTUAL":
                continue
            tls = server.tls
            certificate = tls.credential_name or tls.credential_names or tls.tls_certificates or tls.server_certificate
            first = shown.setdefault((server.listens, certificate), server)
            if first.origin != server.origin:
                said = f"{first.origin} shows the same certificate on port {server.number}: over a connection to one of the"
                said += " two, browsers ask for the other's names too, and are answered 404"
                path = ("spec", "servers", server.place, "tls")
                hint = "join the two servers, or give each a certificate for its own names"
                finding = Finding(server.origin, path, Severity.WARNING, "IST0138", said, hint, first.origin)
                found.setdefault(finding.key, {})[finding] = None
    return {key: tuple(of) for key, of in found.items()}


def passed_over(reader: Reader, key: Key) -> tuple[Finding, ...]:
    """The names of a VirtualService's rules `tls` that are somebody else's already."""
    return reader.ask(_passed_over).get(key, ())


def _passed_over(reader: Reader) -> Mapping[Key, tuple[Finding, ...]]:
    """The same, for all of them (a unit)."""
    found: dict[Key, dict[Finding, None]] = {}
    for selector in sorted(reader.ask(servers.selectors)):
        taken: dict[tuple[Any, ...], tuple[Key, Path]] = {}
        opened = reader.ask(servers.merged, selector, ()).servers
        for server in opened:
            if server.handling.ends_tls:
                taken.update({(server.listens, name, ()): (server.origin, ()) for name in server.names})
        for server in opened:
            if server.handling is Handling.PASSTHROUGH:
                for finding in _by_name(reader, server, taken):
                    found.setdefault(finding.key, {})[finding] = None
    return {key: tuple(of) for key, of in found.items()}


def _by_name(reader: Reader, server: Server, taken: dict[tuple[Any, ...], tuple[Key, Path]]) -> Iterator[Finding]:
    for item in reader.ask(routing.bound_to, server, Viewer(server.origin.namespace)):
        for number, rule in enumerate(item.spec.tls):
            for place, match in enumerate(rule.match):
                if not _is_for_all(match, server, item.key.namespace):
                    continue
                for name in routing.narrowed(match.sni_hosts, server, item.key.namespace):
                    mine = (item.key, ("spec", "tls", number, "match", place, "sniHosts"))
                    owner = taken.setdefault((server.listens, name, match.destination_subnets), mine)
                    if owner != mine:
                        said = f"on port {server.number} {name} is {owner[0]}'s already; this match has no part of it"
                        yield Finding(*mine, Severity.WARNING, "LEG0602", said, "name it in one place", owner[0])


def _is_for_all(match: Any, server: Server, namespace: str) -> bool:
    """Whether a match is for a server whoever its proxies are."""
    if match.port not in (None, server.number):
        return False
    if match.gateways:
        return any(index.gateway_reference(name, namespace) == server.gateway for name in match.gateways)
    return not match.source_labels and not match.source_namespace


def unruled(reader: Reader, key: Key) -> tuple[Finding, ...]:
    """The servers of a Gateway that pass connections on, and no rule says where to."""
    return reader.ask(_unruled).get(key, ())


def _unruled(reader: Reader) -> Mapping[Key, tuple[Finding, ...]]:
    """The same, for all of them (a unit)."""
    found: dict[Key, dict[Finding, None]] = {}
    for selector in sorted(reader.ask(servers.selectors)):
        for server in reader.ask(servers.merged, selector, ()).servers:
            if server.handling in _RULED and not _rules(reader, server):
                finding = _goes_nowhere(server)
                found.setdefault(finding.key, {})[finding] = None
    return {key: tuple(of) for key, of in found.items()}


_RULED = {Handling.TCP: "tcp", Handling.TLS: "tcp", Handling.PASSTHROUGH: "tls"}
"""Whose connections go where rules of a field say."""


def _rules(reader: Reader, server: Server) -> bool:
    bound = reader.ask(routing.bound_to, server, Viewer(server.origin.namespace))
    rules = (rule for item in bound for rule in getattr(item.spec, _RULED[server.handling]))
    return any(match.port in (None, server.number) for rule in rules for match in rule.match or (_ANYTHING,))


def _goes_nowhere(server: Server) -> Finding:
    closed = "the port stays closed" if server.handling is Handling.TCP else "they are closed"
    said = f"no rule says where connections to port {server.number} go: {closed}"
    hint = f"bind a VirtualService with a rule `{_RULED[server.handling]}` for its hosts to {server.gateway}"
    return Finding(server.origin, ("spec", "servers", server.place), Severity.WARNING, "LEG0603", said, hint)


_ANYTHING = L4MatchAttributes()


def credentials(item: Object) -> Iterator[Reference]:
    """The Secrets that a Gateway names. Which namespace is meant depends on the proxy; here any will do."""
    for place, server in enumerate(item.spec.servers):
        for path, name in _written(server):
            parts = names.parse_secret(names.credential(name))
            if parts is not None and not parts.config_map:
                yield Reference("secret", (parts.name,), ("spec", "servers", place, "tls", *path))


def _unavailable(reader: Reader, server: Server, scope: Scope) -> Iterator[Finding]:
    """The Secrets that a server names and its proxy does not get: they are not in its namespace, or its channel must not
    carry them.
    """
    for item in reader.get(server.origin.kind, (server.origin.namespace, server.origin.name)):
        for path, name in _written(item.spec.servers[server.place]):
            parts = names.parse_secret(names.credential(name))
            if parts is None or parts.config_map or not reader.get("secret", parts.name):
                continue
            where: Path = ("spec", "servers", server.place, "tls", *path)
            if parts.namespace not in ("", scope.namespace) or not reader.get("Secret", (scope.namespace, parts.name)):
                said = f"proxies in the namespace {scope.namespace} find no Secret {parts.name} there; they refuse handshakes"
                hint = f"put it into the namespace {scope.namespace}: a proxy has the Secrets of its own only"
                yield Finding(item.key, where, Severity.WARNING, "IST0101", said, hint)
            elif not scope.secrets:
                said = f"Secret {parts.name} is not sent to proxies that are connected over plaintext TCP"
                hint = "connect them over a Unix socket (--xds unix:PATH) or TLS (--tls-cert), or say --secrets-on-loopback"
                yield Finding(item.key, where, Severity.WARNING, "LEG0801", said, hint)


def _written(server: Any) -> Iterator[tuple[Path, str]]:
    tls = server.tls
    if tls is None:
        return
    if tls.credential_name:
        yield ("credentialName",), tls.credential_name
    for place, name in enumerate(tls.credential_names or ()):
        yield ("credentialNames", place), name
    if tls.ca_cert_credential_name:
        yield ("caCertCredentialName",), tls.ca_cert_credential_name
