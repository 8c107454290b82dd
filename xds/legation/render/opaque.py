"""Calls that a sidecar passes on as they are, by the rules `tls` and `tcp` of the mesh's VirtualServices.

Sources: Istio's TLSRoute and TCPRoute. Envoy: tcp_proxy, and sni_dynamic_forward_proxy before it.
"""

from __future__ import annotations

from collections.abc import Iterator

from legation import names
from legation.model import routing
from legation.model.outlets import Share
from legation.model.proxy import Scope
from legation.model.recall import Reader
from legation.model.sidecars import Viewer
from legation.render import tcp
from legation.render.chains import Chain, chain
from legation.render.context import RouteContext
from legation.render.features import dynamic_dns, match


def chains(reader: Reader, share: Share, view: Viewer, scope: Scope) -> tuple[Chain, ...]:
    """The filter chains for a service's share of a listener (a unit); that of no rule is the last."""
    return tuple((_by_name if share.of.tls else _by_rule)(reader, share, view, scope))


def _by_name(reader: Reader, share: Share, view: Viewer, scope: Scope) -> Iterator[Chain]:
    """One for every match of a rule `tls`; if there is none, one for the service."""
    ruled = False
    for item in reader.ask(routing.about, share.of.host, view):
        context = RouteContext(reader, item, names.MESH_GATEWAY, share.of.port, scope)
        for rule in item.spec.tls:
            for wanted in rule.match:
                if match.is_for(wanted, context):
                    ruled = True
                    config, used = tcp.proxied(rule.route, context)
                    asked = tuple(name.lower() for name in wanted.sni_hosts)
                    subnets = wanted.destination_subnets or share.subnets
                    origins = (*share.of.origins, item.key)
                    yield Chain(chain(tcp.FILTER, config), asked, subnets, refs=used, origins=origins)
    if not ruled:
        yield _plainly(reader, share, scope)


def _by_rule(reader: Reader, share: Share, view: Viewer, scope: Scope) -> Iterator[Chain]:
    """The first rule `tcp` that fits, after those for certain addresses; if there is none, the service."""
    for item in reader.ask(routing.about, share.of.host, view):
        context = RouteContext(reader, item, names.MESH_GATEWAY, share.of.port, scope)
        for rule in item.spec.tcp:
            for subnets in tcp.called(rule.match, context):
                config, used = tcp.proxied(rule.route, context)
                origins = (*share.of.origins, item.key)
                yield Chain(chain(tcp.FILTER, config), (), subnets or share.subnets, refs=used, origins=origins)
                if not subnets:
                    return
    yield _plainly(reader, share, scope)


def _plainly(reader: Reader, share: Share, scope: Scope) -> Chain:
    config, used = tcp.to_cluster(reader, names.outbound(share.of.host, share.of.port), scope)
    asked = (share.of.host,) if share.named else ()
    waits = [(dynamic_dns.BY_NAME, dynamic_dns.by_name(share.of.port, reader))] if share.of.by_host else []
    return Chain(chain(tcp.FILTER, config, before=waits), asked, share.subnets, refs=used, origins=share.of.origins)
