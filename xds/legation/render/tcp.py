"""Connections that are passed on as a whole, by the rules `tcp` and `tls` of VirtualServices at a gateway.

Sources: Istio's TCPRoute and TLSRoute. Envoy: envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from envoy.config.core.v3 import base_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2

from legation import names
from legation.model import hosts, routing, rules, services
from legation.model.meta import Key
from legation.model.policies import Policy
from legation.model.proxy import Scope
from legation.model.recall import Reader
from legation.model.rules import Caller
from legation.model.servers import Handling, Server
from legation.model.sidecars import Viewer
from legation.render import access_logs, clusters
from legation.render.chains import Chain, chain
from legation.render.context import RouteContext
from legation.render.features import destinations, match
from legation.render.features import tcp as destination_rule
from legation.snapshot.snapshot import Ref

FILTER = "envoy.filters.network.tcp_proxy"
MESH_PROTOCOLS = ("istio-peer-exchange", "istio", "istio-http/1.0", "istio-http/1.1", "istio-h2")
"""What Istio's proxies offer to speak with each other, inside TLS that is the mesh's own."""


def by_rule(
    reader: Reader, server: Server, scope: Scope, socket: base_pb2.TransportSocket | None, refs: frozenset[Ref]
) -> Iterator[Chain]:
    """The chains of a server that is no HTTP server and reads what it passes on: the first rule that fits, of the first
    VirtualService that has one. Rules for certain addresses that were called stand before it.
    """
    plain = server.handling is Handling.TCP
    for item in reader.ask(routing.bound_to, server, Viewer(scope.namespace)):
        found = False
        context = RouteContext(reader, item, server.gateway, server.number, scope, secure=not plain)
        for rule in item.spec.tcp:
            for subnets in called(rule.match, context):
                found = True
                config, used = proxied(rule.route, context)
                body = chain(FILTER, config, socket)
                origins = (server.origin, item.key)
                yield Chain(body, server.names if socket else (), subnets, (), plain, refs | used, origins)
                if not subnets:
                    return
        if found:
            break
    if socket is not None:
        # Nobody rules it. The names stay its own all the same, and never fall to a server with a wildcard, which may
        # ask less of its clients.
        config = tcp_proxy_pb2.TcpProxy(stat_prefix=names.BLACK_HOLE_CLUSTER, cluster=names.BLACK_HOLE_CLUSTER)
        yield Chain(chain(FILTER, logged(reader, config), socket), server.names, refs=refs, origins=(server.origin,))


def by_name(reader: Reader, server: Server, scope: Scope) -> Iterator[Chain]:
    """The chains of a server that passes TLS on unread: one for every match of a rule `tls`."""
    for item in reader.ask(routing.bound_to, server, Viewer(scope.namespace)):
        context = RouteContext(reader, item, server.gateway, server.number, scope, secure=True)
        for rule in item.spec.tls:
            for wanted in rule.match:
                narrowed = routing.narrowed(wanted.sni_hosts, server, item.key.namespace)
                if narrowed and match.is_for(wanted, context):
                    config, used = proxied(rule.route, context)
                    body, origins = chain(FILTER, config), (server.origin, item.key)
                    yield Chain(body, narrowed, wanted.destination_subnets, (), False, used, origins)


def by_service(reader: Reader, server: Server, scope: Scope) -> Iterator[Chain]:
    """The chains of a server that passes the mesh's own TLS on to whichever service of it is asked for."""
    for host in sorted(str(name) for name in reader.names(hosts.SERVICE)):
        # A wildcard's name would have its `*` in the middle, and Envoy refuses the listener for it.
        if not hosts.is_wildcard(host) and any(hosts.contains(mine, host) for mine in server.names):
            yield from reader.ask(_of_service, host, reader.ask(rules.caller, scope), server.origin)


def _of_service(reader: Reader, host: str, caller: Caller, origin: Key) -> tuple[Chain, ...]:
    service = reader.ask(services.service, host, caller.viewer)
    if service is None or service.external:
        return ()
    found = []
    for name in reader.ask(clusters.of_service, host, caller):
        parts = names.parse_cluster(name)
        assert parts is not None, name
        asked = names.sni_cluster(parts.host, parts.port, parts.subset)
        body = chain(FILTER, logged(reader, tcp_proxy_pb2.TcpProxy(stat_prefix=asked, cluster=asked)))
        used = frozenset(((names.CLUSTER, asked),))
        found.append(Chain(body, (asked,), (), MESH_PROTOCOLS, False, used, (origin, *service.origins)))
    return tuple(found)


def called(matches: tuple[Any, ...], context: RouteContext) -> Iterator[tuple[str, ...]]:
    """The addresses for which a rule holds, once per match that can hold here; empty for all."""
    if not matches:
        yield ()
    for wanted in matches:
        if match.is_for(wanted, context):
            yield wanted.destination_subnets


def proxied(route: tuple[Any, ...], context: RouteContext) -> tuple[tcp_proxy_pb2.TcpProxy, frozenset[Ref]]:
    """One destination is named as it is, whatever its weight; of several, those with weight 0 are left out. The policy of
    the first holds for all of its connections.
    """
    to = [destinations.cluster_of(entry.destination, context) for entry in route]
    made = tcp_proxy_pb2.TcpProxy()
    if len(route) == 1:
        made.stat_prefix = made.cluster = to[0]
        used = {to[0]}
    else:
        made.stat_prefix = f"{context.item.key.name}.{context.namespace}"
        shares: dict[str, int] = {}
        for name, entry in zip(to, route, strict=True):
            if entry.weight:
                shares[name] = shares.get(name, 0) + entry.weight
        for name, weight in shares.items():
            made.weighted_clusters.clusters.add(name=name, weight=weight)
        used = set(shares)
    if (policy := _policy(context.reader, to[0], context.scope)) is not None:
        destination_rule.apply(made, policy)
    return logged(context.reader, made), frozenset((names.CLUSTER, name) for name in used)


def _policy(reader: Reader, cluster: str, scope: Scope) -> Policy | None:
    parts, caller = names.parse_cluster(cluster), reader.ask(rules.caller, scope)
    assert parts is not None, cluster
    return rules.policy(reader, parts, reader.ask(rules.ruling, parts.host, caller.viewer, caller.labels))


def to_cluster(reader: Reader, name: str, scope: Scope) -> tuple[tcp_proxy_pb2.TcpProxy, frozenset[Ref]]:
    """Everything goes to one cluster, by its policy."""
    made = tcp_proxy_pb2.TcpProxy(stat_prefix=name, cluster=name)
    if names.parse_cluster(name) is not None and (policy := _policy(reader, name, scope)) is not None:
        destination_rule.apply(made, policy)
    return logged(reader, made), frozenset(((names.CLUSTER, name),))


def logged(reader: Reader, made: tcp_proxy_pb2.TcpProxy) -> tcp_proxy_pb2.TcpProxy:
    """The same with the mesh's log of connections."""
    made.access_log.extend(access_logs.of_mesh(reader))
    return made
