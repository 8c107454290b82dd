"""What a workload's proxy opens for the calls that its workload makes.

Capture mode NONE: real listeners on loopback; the services of a port share one and are told apart by Host, or by the name
that TLS asks for. REDIRECT: one real listener, to which the kernel redirects, and beside it one for every address and
port that is known.
"""

from __future__ import annotations

from collections.abc import Mapping

from legation import names
from legation.model import mesh, outlets, sidecars
from legation.model.outlets import Outlet, Share
from legation.model.proxy import Capture, Scope
from legation.model.recall import Reader
from legation.model.sidecars import Viewer
from legation.render import assembly, http_manager, mesh_routes, opaque, tcp
from legation.render.chains import Chain, chain
from legation.snapshot.snapshot import Resource


def listener_names(reader: Reader, scope: Scope) -> tuple[str, ...]:
    """The names of the listeners for calls that go out."""
    first = (names.VIRTUAL_OUTBOUND,) if scope.capture is Capture.REDIRECT else ()
    return (*first, *reader.ask(_by_name, scope))


def listener(reader: Reader, name: str, scope: Scope) -> Resource | None:
    """One of them."""
    if name == names.VIRTUAL_OUTBOUND:
        return _virtual(reader, scope)
    of = reader.ask(outlet, name, scope)
    if of is None:
        return None
    by_share = reader.each(opaque.chains, (of.viewer, scope), _shares, name, scope)
    passed = [one for share in by_share for one in by_share[share]]
    anything = any(not one.names for one in passed)
    is_caught = scope.capture is Capture.REDIRECT and not of.is_real
    found = [*_routed(reader, name, of, scope, sniffed=is_caught or anything), *passed]
    rest = _unknown(reader, of.viewer, scope, "PassthroughFilterChain") if is_caught else None
    port = scope.real_port(of.port) if of.is_real else of.port
    return assembly.telling(reader, name, scope, of.bind, port, found, rest, is_real=of.is_real)


def outlet(reader: Reader, name: str, scope: Scope) -> Outlet | None:
    """What a listener is for (a unit)."""
    return reader.ask(_by_name, scope).get(name)


def _by_name(reader: Reader, scope: Scope) -> Mapping[str, Outlet]:
    """The same, for all of them (a unit)."""
    found: dict[str, Outlet] = {}
    for one in reader.ask(outlets.outlets, scope):
        found.setdefault(names.listener(one.bind, scope.real_port(one.port) if one.is_real else one.port), one)
    return found


def _shares(reader: Reader, name: str, scope: Scope) -> tuple[Share, ...]:
    of = reader.ask(outlet, name, scope)
    return of.shares if of is not None else ()


def _routed(reader: Reader, name: str, of: Outlet, scope: Scope, *, sniffed: bool) -> list[Chain]:
    """HTTP, if it is spoken here; found out from the first bytes where something else may be spoken."""
    if of.table is None:
        return []
    looks_up = mesh_routes.unknown(reader, of.table) == names.BY_HOST_CLUSTER
    manager = http_manager.manager(reader, scope, name, of.table.name, looks_up=looks_up, for_browsers=of.for_browsers)
    refs = frozenset(((names.ROUTE, of.table.name),))
    return [
        Chain(chain(http_manager.FILTER, manager), (), (), assembly.SNIFFED if sniffed else (), plain=True, refs=refs)
    ]


def _unknown(reader: Reader, view: Viewer, scope: Scope, called: str) -> Chain:
    """What becomes of connections to addresses that nobody knows: passed on as they were meant, or closed."""
    mode, proxy = reader.ask(sidecars.outbound_policy, view._replace(entry=None))
    to = names.BLACK_HOLE_CLUSTER if mode == "REGISTRY_ONLY" else names.PASSTHROUGH_CLUSTER
    if proxy is not None:
        to = mesh_routes.egress_proxy(reader, view)
    config, refs = tcp.to_cluster(reader, to, scope)
    return Chain(chain(tcp.FILTER, config, called=called), refs=refs)


def _virtual(reader: Reader, scope: Scope) -> Resource:
    """Where the kernel redirects to. What calls it by its own port would be passed on to itself, for ever."""
    config, refs = tcp.to_cluster(reader, names.BLACK_HOLE_CLUSTER, scope)
    itself = Chain(chain(tcp.FILTER, config, called=f"{names.VIRTUAL_OUTBOUND}-blackhole"), refs=refs)
    rest = _unknown(reader, reader.ask(sidecars.viewer, scope), scope, f"{names.VIRTUAL_OUTBOUND}-catchall-tcp")
    port = scope.real_port(reader.ask(mesh.setting, "proxy_listen_port"))
    return assembly.catching(reader, names.VIRTUAL_OUTBOUND, scope, port, [itself, rest])
