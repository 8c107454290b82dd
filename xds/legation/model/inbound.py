"""The ports that a sidecar's workload is called on, and where the calls go on to.

A Sidecar's `ingress` says it; else, where calls are redirected to the proxy, the services do whose endpoints the workload
is. Source: Istio's Sidecar reference, and istiod's inbound listeners and clusters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from legation import names
from legation.model import baseline, hosts, instances, mesh, outlets, protocols, rules, sidecars
from legation.model.connections import ConnectionPoolSettings, HTTPSettings
from legation.model.findings import Finding
from legation.model.gateway import ServerTLSSettings
from legation.model.instances import Instance
from legation.model.meta import Key, Object
from legation.model.policies import Policy
from legation.model.protocols import Protocol
from legation.model.proxy import Capture, Client, Role, Scope
from legation.model.recall import Reader
from legation.model.sidecar import IstioIngressListener
from legation.names import ClusterName
from legation.problems import Path, Severity

LOOPBACK = "127.0.0.1"
ANY_ADDRESS = ("0.0.0.0", "::")

NEVER_OPEN = "LEG0304"
SAME_ADDRESS = "LEG0305"
TWO_PROTOCOLS = "IST0116"
LANDS_ON_ONE = "LEG0802"


@dataclass(frozen=True, slots=True)
class Inbound:
    """A port that a workload is called on; `protocol` is what is spoken inside TLS that ends here.

    With `bind` it is a listener of its own, on the proxy's port `real`; without, calls are redirected. They go on to
    `address`, a Unix socket or an IP address with the port `to`; without, to where they were going, on that port.
    """

    number: int
    protocol: Protocol
    service_port: int
    to: int
    address: str = ""
    bind: str = ""
    real: int = 0
    tls: ServerTLSSettings | None = None
    instance: Instance | None = None
    policy: Policy = field(default_factory=Policy)
    path: Path = ()
    origins: tuple[Key, ...] = ()
    """The first is the document that opens it, in which it stands at `path`."""

    @property
    def cluster(self) -> str:
        """The cluster that calls are passed on to."""
        return names.inbound(self.number) if self.number else names.INBOUND_PASSTHROUGH_CLUSTER

    @property
    def is_http(self) -> bool:
        """Whether it is known to carry HTTP; what nobody declared is found out from the first bytes."""
        return self.protocol.is_http and self.protocol is not Protocol.AUTO


def elsewhere(reader: Reader) -> Inbound:
    """Every port that nobody names: calls go on to where they were going."""
    policy = baseline.under(reader.ask(baseline.of_mesh), Policy())
    return Inbound(0, Protocol.TCP, 0, 0, policy=policy)


@dataclass(frozen=True, slots=True)
class Opened:
    """The ports of a scope, and what is to be said about those that it does not open."""

    ports: tuple[Inbound, ...] = ()
    findings: tuple[Finding, ...] = ()


def opened(reader: Reader, scope: Scope) -> Opened:
    """On which ports the workloads of a scope are called (a unit)."""
    if scope.role is not Role.SIDECAR or scope.client is Client.GRPC:
        return Opened()
    key = reader.ask(sidecars.governing, scope.namespace, scope.labels)
    item = sidecars.document(reader, key) if key is not None else None
    workload = scope.workload
    called = reader.ask(instances.instances, scope.namespace, workload) if workload is not None else ()
    if item is not None and item.spec.ingress:
        found = [
            _of_entry(reader, scope, item, place, called)
            for place, written in enumerate(item.spec.ingress)
            if written.port.protocol.upper() != "UDP"
        ]
    elif scope.capture is Capture.REDIRECT:
        pool = item.spec.inbound_connection_pool if item is not None else None
        found = [_of_instance(reader, scope, instance, pool, item) for instance in called]
    else:
        found = []
    return _without_clashes(reader, scope, found)


# --- by the services ----------------------------------------------------------------------------------------------


def _of_instance(
    reader: Reader, scope: Scope, instance: Instance, pool: ConnectionPoolSettings | None, item: Object | None
) -> Inbound:
    origins = (*instance.service.origins, *((item.key,) if item is not None and pool is not None else ()))
    made = Inbound(
        instance.number, instance.port.protocol, instance.port.number, instance.number,
        instance=instance, path=("spec", "ports"), origins=origins,
    )  # fmt: skip
    return _on_loopback(reader, _bounded(reader, scope, made, pool))


def _on_loopback(reader: Reader, made: Inbound) -> Inbound:
    """MeshConfig may say that workloads listen on loopback only."""
    policy = reader.ask(mesh.setting, "inbound_traffic_policy")
    return replace(made, address=LOOPBACK) if policy is not None and policy.mode == "LOCALHOST" else made


# --- by a Sidecar -------------------------------------------------------------------------------------------------


def _of_entry(
    reader: Reader, scope: Scope, item: Object, place: int, called: tuple[Instance, ...]
) -> Inbound | Finding:
    written: IstioIngressListener = item.spec.ingress[place]
    path: Path = ("spec", "ingress", place)
    own = written.capture_mode == "NONE" or (written.capture_mode == "DEFAULT" and scope.capture is Capture.NONE)
    if not own and scope.capture is Capture.NONE:
        said = "nothing is redirected to this proxy (capture mode NONE): nobody is answered here"
        return Finding(item.key, (*path, "captureMode"), Severity.WARNING, NEVER_OPEN, said, "leave `captureMode` out")
    instance = next((one for one in called if one.number == written.port.number), None)
    ends_tls = written.tls is not None and written.tls.mode in ("SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL")
    made = Inbound(
        number=written.port.number,
        protocol=_spoken(written, ends_tls),
        service_port=written.port.number,
        to=written.port.number,
        bind=hosts.address(written.bind or scope.bind) if own else "",
        real=scope.real_port(written.port.number) if own else 0,
        tls=written.tls if ends_tls else None,
        instance=instance,
        path=path,
        origins=(item.key, *(instance.service.origins if instance is not None else ())),
    )
    made = _leading(reader, scope, made, written.default_endpoint)
    if own and _leads_back(made):
        said = f"{made.address}:{made.to} is this listener itself: calls would go round for ever; it stays closed"
        hint = "let the workload listen on another port and name it as `defaultEndpoint`, or choose another `bind`"
        return Finding(item.key, path, Severity.WARNING, NEVER_OPEN, said, hint)
    return _bounded(reader, scope, made, written.connection_pool or item.spec.inbound_connection_pool)


def _spoken(written: IstioIngressListener, ends_tls: bool) -> Protocol:
    protocol = protocols.of_field(written.port.protocol)
    if protocol is Protocol.HTTPS:
        return Protocol.HTTP if ends_tls else Protocol.TLS
    return Protocol.TCP if protocol is Protocol.TLS and ends_tls else protocol


def _leading(reader: Reader, scope: Scope, made: Inbound, endpoint: str) -> Inbound:
    """Where the calls of an entry go on to: `defaultEndpoint`, else the workload on the same port."""
    if not endpoint:
        return replace(made, address=LOOPBACK) if made.bind else _on_loopback(reader, made)
    if endpoint.startswith("unix://"):
        return replace(made, address=endpoint, to=0)
    host, _, port = endpoint.rpartition(":")
    host = host.strip("[]")
    if host not in ANY_ADDRESS:
        return replace(made, address=host, to=int(port))
    # The workload's own address: where the call was going, or the one that the proxy says it has.
    known = scope.workload.address if scope.workload is not None else ""
    own = known or (LOOPBACK if host == "0.0.0.0" else "::1")
    return replace(made, address=own if made.bind else "", to=int(port))


def _leads_back(made: Inbound) -> bool:
    """Whether what it passes on would arrive where it listens."""
    return made.to == made.real and (
        made.address == made.bind or (made.bind in ANY_ADDRESS and hosts.is_ip(made.address))
    )


# --- both ---------------------------------------------------------------------------------------------------------


def _bounded(reader: Reader, scope: Scope, made: Inbound, pool: ConnectionPoolSettings | None) -> Inbound:
    """Bounds of the connections to the workload: the Sidecar's, else those that a DestinationRule has for its service."""
    said = Policy(connection_pool=pool)
    origins: tuple[Key, ...] = ()
    if pool is None and made.instance is not None:
        caller, host = reader.ask(rules.caller, scope), made.instance.service.host
        ruling = reader.ask(rules.ruling, host, caller.viewer, caller.labels)
        of = ClusterName("inbound", made.instance.port.number, "", host)
        said, origins = rules.policy(reader, of, ruling) or said, ruling
    else:
        said = baseline.under(reader.ask(baseline.of_mesh), said)
    pool = _spoken_to(said.connection_pool, made.protocol)
    return replace(made, policy=Policy(connection_pool=pool), origins=(*made.origins, *origins))


def _spoken_to(pool: ConnectionPoolSettings | None, protocol: Protocol) -> ConnectionPoolSettings | None:
    """A workload is spoken to as its port declares, and where that does not, as it was called: it is never upgraded."""
    http = (pool.http if pool is not None else None) or HTTPSettings()
    said = {"h2_upgrade_policy": "DO_NOT_UPGRADE"} | (
        {"use_client_protocol": True} if protocol is Protocol.AUTO else {}
    )
    asked = http.model_copy(update=said)
    return (pool or ConnectionPoolSettings()).model_copy(update={"http": asked})


def _without_clashes(reader: Reader, scope: Scope, found: list[Inbound | Finding] | list[Inbound]) -> Opened:
    """Of several for one port the first has it; and what is called by many goes before what is new: an address at which
    the workload's own calls are taken is theirs.
    """
    ports: dict[object, Inbound] = {}
    findings: list[Finding] = []
    for one in found:
        if isinstance(one, Finding):
            findings.append(one)
        elif not one.bind and one.number == arrival(reader, scope):
            said = f"port {one.number} is where calls are redirected to; no workload can be called there"
            findings.append(Finding(one.origins[0], one.path, Severity.WARNING, NEVER_OPEN, said, "use another port"))
        elif one.bind and _is_taken(reader, scope, one):
            said = (
                f"at {one.bind}:{one.real} this proxy takes the calls that its workload makes; this entry stays closed"
            )
            hint = "give the entry another `bind`, or start the proxy with another --bind"
            findings.append(Finding(one.origins[0], one.path, Severity.ERROR, SAME_ADDRESS, said, hint))
        elif (first := ports.setdefault((one.bind, one.real) if one.bind else one.number, one)) is not one:
            findings += _clash(first, one)
    return Opened(tuple(ports.values()), tuple(findings))


def _is_taken(reader: Reader, scope: Scope, port: Inbound) -> bool:
    if scope.capture is Capture.REDIRECT:
        caught = scope.real_port(reader.ask(mesh.setting, "proxy_listen_port"))
        if port.real in (caught, arrival(reader, scope)):
            return True
    for other in reader.ask(outlets.outlets, scope.outward):
        same = port.bind == other.bind or (other.is_real and not {port.bind, other.bind}.isdisjoint(ANY_ADDRESS))
        if same and port.real == (scope.real_port(other.port) if other.is_real else other.port):
            return True
    return False


def arrival(reader: Reader, scope: Scope) -> int:
    """The port of a proxy to which calls to its workload are redirected."""
    return scope.real_port(reader.ask(mesh.setting, "proxy_inbound_listen_port"))


def at_proxy(reader: Reader, scope: Scope) -> tuple[Finding, ...]:
    """What is to be said about the ports that proxies of a scope do not open (a unit)."""
    return reader.ask(opened, scope.anywhere).findings


def _clash(first: Inbound, one: Inbound) -> Iterator[Finding]:
    winner, loser = first.origins[0], one.origins[0]
    if one.bind:
        said = f"port {first.number} is the same port of a proxy: {one.number} stays closed"
        hint = "map one of them to another port (--map-port)"
        yield Finding(loser, one.path, Severity.ERROR, LANDS_ON_ONE, said, hint, winner)
    elif first.protocol is not one.protocol:
        said = (
            f"{winner} leads to port {one.number} of the same workloads and says {first.protocol.value or 'nothing'} "
            f"where this says {one.protocol.value or 'nothing'}: calls are taken as the older one says"
        )
        yield Finding(loser, one.path, Severity.WARNING, TWO_PROTOCOLS, said, "let both say the same", winner)
