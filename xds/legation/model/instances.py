"""Which services' endpoints a workload is, as its own proxy has to know: by who it is, then by labels and ports.

A proxy says its name; the Pod, WorkloadEntry or Deployment of that name says which labels and ports it has. Without one
the labels count that the proxy claims. Its address hardly ever says anything: on one machine it is everybody's.

Source: istiod's service targets of a proxy.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from legation.model import endpoints, hosts, index, services
from legation.model.meta import Object
from legation.model.protocols import Protocol
from legation.model.proxy import Capture, Client, Proxy, Role, Scope, Workload, labels
from legation.model.recall import Reader
from legation.model.services import Service, ServicePort
from legation.model.world import World

KINDS = ("Pod", "WorkloadEntry", *index.WORKLOADS)
"""The kinds of documents that say what a workload is."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What documents look at in proxies: the labels of `labels`, in their workloads those of `of_workloads`; whether
    proxies that nothing is redirected to take calls at all, and whether their own addresses matter.
    """

    labels: frozenset[str] = frozenset()
    of_workloads: frozenset[str] = frozenset()
    takes_calls: bool = False
    addresses: bool = False


def asked(world: World) -> Asked:
    """What a World looks at."""
    return Asked(
        frozenset(str(key) for key in world.names("selected label")),
        frozenset(str(key) for key in world.names("service label")),
        bool(world.names(index.INGRESS)),
        bool(world.names(index.OWN_ADDRESS)),
    )


def scope(world: World, proxy: Proxy, looked_at: Asked | None = None) -> Scope:
    """The projection of a proxy that rendering sees in a World; `looked_at` is what `asked` says of it, if that is known."""
    looked_at = looked_at or asked(world)
    if proxy.role is not Role.SIDECAR:
        return proxy.scope(looked_at.labels)
    item = document(world, proxy)
    if item is not None:
        proxy = replace(proxy, labels=labels({**dict(proxy.labels), **index.workload_labels(item)}))
    made = proxy.scope(looked_at.labels)
    if proxy.client is Client.GRPC or (proxy.capture is Capture.NONE and not looked_at.takes_calls):
        return made
    counted = tuple((key, value) for key, value in proxy.labels if key in looked_at.of_workloads)
    ip = hosts.address(proxy.ip)
    names_it = looked_at.addresses or world.get(index.LISTING, ip)
    address = ip if names_it and hosts.is_ip(ip) and not hosts.is_loopback(ip) else ""
    is_entry = item is not None and item.key.kind == "WorkloadEntry"
    return replace(made, workload=Workload(counted, _ports(item), is_entry, address))


def document(world: World, proxy: Proxy) -> Object | None:
    """The document of a proxy's workload: a Pod rather than what made it."""
    found = (item for kind in KINDS for name in identities(proxy) for item in world.get(kind, name))
    return next(found, None)


def identities(proxy: Proxy) -> tuple[tuple[str, str], ...]:
    """The namespace and name of the documents that may speak of a sidecar's workload."""
    if proxy.role is not Role.SIDECAR:
        return ()
    return tuple((proxy.namespace, name) for name in dict.fromkeys((proxy.name, proxy.deployment)) if name)


LOOKED_UP = frozenset((*KINDS, index.LISTING))
"""The tables in which a scope looks a proxy itself up."""


def looked_up(proxy: Proxy) -> tuple[Hashable, ...]:
    """Under which names: who is found there anew may have another scope."""
    return (*identities(proxy), hosts.address(proxy.ip)) if proxy.role is Role.SIDECAR else ()


def _ports(item: Object | None) -> tuple[tuple[str, int], ...]:
    """The ports of a workload that have a name."""
    if item is None:
        return ()
    if item.key.kind == "WorkloadEntry":
        return tuple(sorted((item.spec.ports or {}).items()))
    spec = item.spec.spec if item.key.kind == "Pod" else item.spec.spec.template.spec
    named = {port.name: port.container_port for port in reversed(spec.ports) if port.name and port.protocol == "TCP"}
    return tuple(sorted(named.items()))


@dataclass(frozen=True, slots=True)
class Instance:
    """A port of a workload, and the port of the service that leads there."""

    number: int
    service: Service
    port: ServicePort


def instances(reader: Reader, namespace: str, workload: Workload) -> tuple[Instance, ...]:
    """What a workload is called for (a unit): by its ports, for each of them the oldest service first."""
    found = sorted(_all(reader, namespace, workload), key=lambda pair: (pair[1].number, pair[0], pair[1].port.number))
    return tuple(dict.fromkeys(instance for _, instance in found))


def _all(reader: Reader, namespace: str, workload: Workload) -> Iterator[tuple[object, Instance]]:
    own = dict(workload.labels)
    places = [(namespace, key, value) for key, value in workload.labels]
    for item in _under(reader, "selecting", places):
        if selector(item).items() <= own.items():
            for service, port in _services(reader, item):
                if (number := _target(workload, port)) is not None:
                    yield (item.age, service.host), Instance(number, service, port)
    for item in _under(reader, index.LISTING, [*places, workload.address]):
        for endpoint in item.spec.endpoints:
            if _is(endpoint, workload, own):
                for service, port in _services(reader, item):
                    assert isinstance(port.target, int), port
                    number = (endpoint.ports or {}).get(port.name) or port.target
                    yield (item.age, service.host), Instance(number, service, port)


def _under(reader: Reader, table: str, names: Iterable[Hashable]) -> Iterable[Object]:
    return {item.key: item for name in names for item in reader.get(table, name)}.values()


def _services(reader: Reader, item: Object) -> Iterator[tuple[Service, ServicePort]]:
    """What a document defines, by port."""
    for host in services.hosts_of(item, reader.mesh.domain):
        found = reader.ask(services.definition, host, item.key.namespace)
        if found is not None and item.key in found.origins:
            yield from ((found, port) for port in found.ports if port.protocol is not Protocol.UDP)


def selector(item: Object) -> dict[str, str]:
    """The labels of the workloads behind a Service or a ServiceEntry; none if it selects none."""
    if item.key.kind == "Service":
        return dict(item.spec.spec.selector or {})
    written = item.spec.workload_selector
    return dict(written.labels or {}) if written is not None else {}


def _is(endpoint: Any, workload: Workload, own: dict[str, str]) -> bool:
    """Whether an endpoint that has no name is this workload: it has its address, or labels that tell services apart."""
    if workload.address and hosts.address(endpoint.address) == workload.address:
        return True
    carried = dict(endpoint.labels or {})
    return any(key in carried for key in index.TELLING) and carried.items() <= own.items()


def _target(of: Workload, port: ServicePort) -> int | None:
    own = dict(of.ports)
    if of.is_entry:
        return endpoints.entry_port(own, port, port.target)
    return port.target if isinstance(port.target, int) else own.get(str(port.target))
