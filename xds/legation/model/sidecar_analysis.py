"""What is to be said about Sidecars in the light of the others."""

from __future__ import annotations

from collections.abc import Iterator

from legation.model import hosts, index, mesh, outlets, services, sidecars
from legation.model.findings import Finding
from legation.model.meta import Key, Object
from legation.model.outlets import Opaque, Outlet
from legation.model.proxy import Capture, Role, Scope
from legation.model.recall import Reader
from legation.model.sidecars import Viewer
from legation.names import MESH_GATEWAY
from legation.problems import Path, Severity

SAME_WORKLOADS = "IST0110"
SAME_NAMESPACE = "IST0111"
NOT_THERE = "IST0101"
HIDDEN = "LEG0602"
SAME_PORT = "LEG0802"
MIXED = "LEG0604"
ONLY_SOME = "LEG0303"


def of(reader: Reader, item: Object) -> Iterator[Finding]:
    """What a Sidecar says to nobody, or loses to an older one."""
    yield from _selects_nobody(reader, item)
    yield from _imports_nothing(reader, item)
    yield from _older(reader, item)


def _selects_nobody(reader: Reader, item: Object) -> Iterator[Finding]:
    """Where workloads are written down, proxies beside others are a mistake."""
    wanted, namespace = index.sidecar_labels(item), item.key.namespace
    if not wanted or not reader.names((index.OF_NAMESPACE, namespace)):
        return
    key, value = min(wanted.items())
    here = reader.get("workload", (namespace, key, value))
    if not any(wanted.items() <= index.workload_labels(found).items() for found in here):
        listed = ", ".join(f"{key}={value}" for key, value in sorted(wanted.items()))
        said = f"no workload of the namespace {namespace} has {listed}: this is for nobody"
        yield Finding(item.key, _SELECTOR, Severity.WARNING, NOT_THERE, said, "compare the labels")


def _imports_nothing(reader: Reader, item: Object) -> Iterator[Finding]:
    """Hosts that are imported by their full name, and are nowhere, or somewhere else."""
    own = item.key.namespace
    for place, entry in enumerate(item.spec.egress):
        for number, text in enumerate(entry.hosts):
            namespace, _, host = text.lower().partition("/")
            if namespace.startswith("~") or hosts.is_wildcard(host) or (namespace == "." and own == mesh.root(reader)):
                continue
            where = _homes(reader, host)
            if not where or (namespace != "*" and (own if namespace == "." else namespace) not in where):
                path: Path = ("spec", "egress", place, "hosts", number)
                which = (
                    "nothing"
                    if namespace == "*"
                    else f"nothing in the namespace {own if namespace == '.' else namespace}"
                )
                said = f"{which} has the host {host}: this imports nothing"
                yield Finding(item.key, path, Severity.WARNING, NOT_THERE, said, _elsewhere(reader, host, where))
    policy = item.spec.outbound_traffic_policy
    if policy is not None and policy.egress_proxy is not None:
        host = services.resolve(reader, policy.egress_proxy.host, own)
        if not services.known(reader, host):
            path = ("spec", "outboundTrafficPolicy", "egressProxy", "host")
            said = f"no service has the host {host}: calls to hosts that nobody knows are answered 503"
            yield Finding(item.key, path, Severity.WARNING, NOT_THERE, said, _elsewhere(reader, host, set()))


def _homes(reader: Reader, host: str) -> set[str]:
    """The namespaces that say something about a host."""
    ruling = reader.get(("bound", MESH_GATEWAY), host)
    return {found.key.namespace for found in (*reader.get(hosts.SERVICE, host), *ruling)}


def _elsewhere(reader: Reader, host: str, where: set[str]) -> str:
    if where:
        return f"write {min(where)}/{host}"
    near = hosts.closest(host, (str(name) for name in reader.names(hosts.SERVICE)))
    return f"did you mean {near}?" if near else "add a Service or a ServiceEntry for it"


def _older(reader: Reader, item: Object) -> Iterator[Finding]:
    """What a Sidecar loses to an older one that is for the same proxies."""
    mine = index.sidecar_labels(item)
    for other in reader.get(index.SIDECAR, item.key.namespace):
        if other.age >= item.age:
            return
        theirs = index.sidecar_labels(other)
        if not mine and not theirs:
            said = f"{other.key} is for all of the namespace too, and older: this one has no effect"
            yield _lost(item, (), SAME_NAMESPACE, said, other, "keep one of the two, or give one a `workloadSelector`")
            return
        if mine and theirs and theirs.items() <= mine.items():
            said = f"{other.key} selects every workload that this one does, and is older: this one has no effect"
            yield _lost(item, _SELECTOR, SAME_WORKLOADS, said, other, "let each workload be selected by one of them")
            return
        if mine and theirs and (both := _selected_by_both(reader, item, other)):
            said = f"{other.key} selects {both} too, and is older: this one has no effect there"
            yield _lost(item, _SELECTOR, SAME_WORKLOADS, said, other, "let each workload be selected by one of them")


_SELECTOR: Path = ("spec", "workloadSelector")


def _selected_by_both(reader: Reader, one: Object, other: Object) -> str:
    """A workload that both select; empty if there is none."""
    wanted = {*index.sidecar_labels(one).items(), *index.sidecar_labels(other).items()}
    key, value = min(wanted)
    for item in reader.get("workload", (one.key.namespace, key, value)):
        if wanted <= index.workload_labels(item).items():
            return str(item.key)
    return ""


def _lost(item: Object, path: Path, code: str, said: str, other: Object, hint: str) -> Finding:
    return Finding(item.key, path, Severity.WARNING, code, said, hint, other.key)


# --- for the proxies of a scope -----------------------------------------------------------------------------------


def at_proxy(reader: Reader, scope: Scope) -> tuple[Finding, ...]:
    """What has no effect for the sidecars of a scope, or another one than it seems (a unit)."""
    if scope.role is not Role.SIDECAR:
        return ()
    view = reader.ask(sidecars.viewer, scope)
    found = [*_entries(reader, view, scope), *_unknown_hosts(reader, view, scope)]
    opened: dict[tuple[str, int], Outlet] = {}
    for outlet in reader.ask(outlets.outlets, scope):
        first = opened.setdefault((outlet.bind, scope.real_port(outlet.port)), outlet) if outlet.is_real else outlet
        if first is not outlet:
            found += _shut(reader, outlet, first)
            continue
        found += _outdone(reader, outlet, scope)
        found += _mixed(reader, outlet)
    for port in sorted(reader.ask(outlets.reserved, scope)):
        found += _reserved(reader, port, view)
    return tuple(found)


def _shut(reader: Reader, outlet: Outlet, first: Outlet) -> Iterator[Finding]:
    """Two written ports are one port of the proxy."""
    for item in _with_port(reader, outlet.port):
        said = f"port {first.port} is the same port of a sidecar on {outlet.bind}: {outlet.port} stays closed there"
        hint = "map one of them to another port (--map-port)"
        yield Finding(item.key, _port(item, outlet.port), Severity.ERROR, SAME_PORT, said, hint)


def _reserved(reader: Reader, port: int, view: Viewer) -> Iterator[Finding]:
    """Ports of services that are a proxy's own. By an address of its own a service is reached all the same."""
    for item in _with_port(reader, port):
        said = f"{port} is the port to which the traffic of sidecars is redirected: nothing else of this number is told apart"
        hint = "use another port, or set `proxyListenPort` or `proxyInboundListenPort` in MeshConfig"
        yield Finding(item.key, _port(item, port), Severity.WARNING, HIDDEN, said, hint)
    for entry in reader.ask(sidecars.egress, view):
        if view.sidecar is not None and entry.place is not None and entry.port == port:
            said = f"{port} is the port to which the traffic of sidecars is redirected: this entry is not opened"
            path: Path = ("spec", "egress", entry.place, "port", "number")
            yield Finding(view.sidecar, path, Severity.WARNING, HIDDEN, said, "use another port")


def _with_port(reader: Reader, port: int) -> list[Object]:
    """The documents that define services with a port."""
    found = {item.key: item for host in reader.ask(outlets.hosts_on, port) for item in reader.get(hosts.SERVICE, host)}
    return [found[key] for key in sorted(found)]


def _outdone(reader: Reader, outlet: Outlet, scope: Scope) -> Iterator[Finding]:
    where = f"{outlet.bind}:{outlet.port}"
    for loser, winner in outlet.lost:
        said = f"connections to {where} are {winner.host}'s, which is older: {loser.host} is not reached there"
        hint = "use another port; or an address of its own in `addresses`, on loopback if traffic is not redirected"
        yield _of_port(reader, loser, HIDDEN, said, hint, winner.origins[0])
    if outlet.table is not None and outlet.table.is_proxy and scope.capture is Capture.NONE:
        for item in _with_port(reader, outlet.port):
            said = f"a forward proxy is at {where}: nothing else is reached there"
            hint = "give the proxy another port"
            yield Finding(item.key, _port(item, outlet.port), Severity.WARNING, HIDDEN, said, hint)


def _mixed(reader: Reader, outlet: Outlet) -> Iterator[Finding]:
    if outlet.table is None or reader.ask(mesh.setting, "protocol_detection_timeout"):
        return
    for share in outlet.shares:
        if not share.named and not share.of.may_be_http:
            said = (
                f"HTTP is spoken on {outlet.bind}:{outlet.port} too: connections are told apart by their first bytes, "
                "and one that waits for the service to speak first waits for ever"
            )
            hint = "use another port, or set `protocolDetectionTimeout` in MeshConfig"
            yield _of_port(reader, share.of, MIXED, said, hint)


def _of_port(reader: Reader, of: Opaque, code: str, said: str, hint: str, other: Key | None = None) -> Finding:
    key = of.origins[0]
    (item,) = reader.get(key.kind, (key.namespace, key.name))
    return Finding(key, _port(item, of.port), Severity.WARNING, code, said, hint, other)


def _port(item: Object, number: int) -> Path:
    written = item.spec.spec.ports if item.key.kind == "Service" else item.spec.ports
    of_it = [port.port if item.key.kind == "Service" else port.number for port in written]
    return ("spec", "ports", of_it.index(number)) if number in of_it else ("spec", "ports")


def _entries(reader: Reader, view: Viewer, scope: Scope) -> Iterator[Finding]:
    """Entries of a Sidecar through which nothing goes here."""
    for entry in reader.ask(sidecars.egress, view):
        if view.sidecar is None or entry.written is None or entry.place is None:
            continue
        path: Path = ("spec", "egress", entry.place)
        if scope.capture is Capture.NONE and entry.written.capture_mode == "IPTABLES":
            said = "the traffic of proxies with capture mode NONE is not redirected: nothing goes through this entry"
            at: Path = (*path, "captureMode")
            yield Finding(view.sidecar, at, Severity.WARNING, ONLY_SOME, said, "leave `captureMode` out, or write NONE")
        if entry.is_socket and not entry.protocol.is_http:
            said = "at a Unix socket only HTTP can be told apart: nothing goes through this entry"
            yield Finding(view.sidecar, (*path, "port", "protocol"), Severity.WARNING, "LEG0301", said, "write HTTP")


def _unknown_hosts(reader: Reader, view: Viewer, scope: Scope) -> Iterator[Finding]:
    """ALLOW_ANY that is written, where nobody can tell where a call wanted to go."""
    mode, proxy = reader.ask(sidecars.outbound_policy, view)
    if scope.capture is Capture.REDIRECT or mode != "ALLOW_ANY" or proxy is not None:
        return
    own = sidecars.document(reader, view.sidecar) if view.sidecar is not None else None
    of_mesh = next(iter(mesh.documents(reader)), None)
    at = next((one for one in (own, of_mesh) if one is not None and one.spec.outbound_traffic_policy is not None), None)
    if at is not None and not reader.ask(mesh.setting, "proxy_http_port"):
        said = "without redirection nobody can tell where an unknown host is: calls to it are answered 502"
        hint = "set `proxyHttpPort` in MeshConfig and call through that proxy"
        path = ("spec", "outboundTrafficPolicy", "mode")
        yield Finding(at.key, path, Severity.WARNING, ONLY_SOME, said, hint)
