"""What a document that should protect something, and can't be put in force, would leave open: nothing that protects fails
open.

Such a document was never decoded, so this reads what is written in it. Where that says nothing, everything new in its
namespace is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from legation.ingest.documents import Document
from legation.model import hosts, index, mesh
from legation.model.meta import Key, Object
from legation.model.recall import Recall
from legation.model.world import World

_WORKLOADS: Final = ("Pod", "WorkloadEntry", *index.WORKLOADS)
_OPENS: Final = ("Service", "ServiceEntry", "VirtualService", "Gateway", *_WORKLOADS)
"""The kinds that make something reachable."""


Find = Callable[[Key], Object | None]


def waiting(new: Iterable[Object], broken: Mapping[Key, Document], world: World) -> dict[Key, Key]:
    """Which of the new documents open a way to what the broken ones should protect, each with one that it waits for: the
    same hosts for a DestinationRule and a Gateway, the same workloads for a policy.
    """
    coming = {item.key: item for item in new if item.key.kind in _OPENS}
    root, domain = str(Recall(world).ask(mesh.setting, "root_namespace")), world.mesh.domain

    def find(key: Key) -> Object | None:
        return coming.get(key) or next(iter(world.get(key.kind, (key.namespace, key.name))), None)

    return {
        key: protector
        for key, item in coming.items()
        for protector, document in broken.items()
        if _opens(item, protector, document.value.get("spec"), root, domain, find)
    }


def _opens(new: Object, protector: Key, spec: Any, root: str, domain: str, find: Find) -> bool:
    match protector.kind:
        case "DestinationRule":
            host = spec.get("host") if isinstance(spec, dict) else None
            if not isinstance(host, str) or not host:
                return new.key.namespace == protector.namespace
            return _meet(hosts.readings(host, protector.namespace, domain), _hosts(new, domain))
        case "Gateway":
            if new.key.kind == "VirtualService" and f"{protector.namespace}/{protector.name}" in index.gateways(new):
                return True
            return _meet(tuple(_served(spec)), _hosts(new, domain))
        case _:
            return _concerns(_selector(spec), new, protector.namespace, root, domain, find)


def _meet(mine: tuple[str, ...], theirs: Iterator[str]) -> bool:
    return any(hosts.contains(one, other) or hosts.contains(other, one) for other in theirs for one in mine)


def _hosts(item: Object, domain: str) -> Iterator[str]:
    """The hosts that a document makes reachable, or sends requests to; every way in which a short name may be meant."""
    own = item.key.namespace
    match item.key.kind:
        case "Service":
            yield index.service_host(item, domain)
        case "ServiceEntry":
            yield from (host.lower() for host in item.spec.hosts)
        case "Gateway":
            yield from (host.rpartition("/")[2].lower() for server in item.spec.servers for host in server.hosts)
        case "VirtualService":
            for host in (*item.spec.hosts, *_destinations(item)):
                yield host.lower()
                yield from hosts.readings(host.lower(), own, domain)


def _destinations(rule: Object) -> Iterator[str]:
    for one in (*rule.spec.http, *rule.spec.tls, *rule.spec.tcp):
        yield from (entry.destination.host for entry in one.route)


def _served(spec: Any) -> Iterator[str]:
    """The hosts of a Gateway's servers, as far as they can be read."""
    servers = spec.get("servers") if isinstance(spec, dict) else None
    for server in servers if isinstance(servers, list) else ():
        listed = server.get("hosts") if isinstance(server, dict) else None
        for host in listed if isinstance(listed, list) else ():
            if isinstance(host, str):
                yield host.rpartition("/")[2].lower()


def _selector(spec: Any) -> Mapping[str, Any]:
    """The labels of the workloads that a policy is for; none for all of its namespace."""
    selector = spec.get("selector") if isinstance(spec, dict) else None
    labels = selector.get("matchLabels") if isinstance(selector, dict) else None
    return labels if isinstance(labels, dict) else {}


def _concerns(labels: Mapping[str, Any], new: Object, namespace: str, root: str, domain: str, find: Find) -> bool:
    """Whether a policy for these workloads of a namespace is for those that a new document makes reachable."""
    spec = new.spec
    match new.key.kind:
        case "Gateway":
            return _is_at(labels, namespace, new, root)
        case "VirtualService":
            gateways = [name.partition("/") for name in index.gateways(new) if "/" in name]
            found = (find(Key("Gateway", where, name)) for where, _, name in gateways)
            if any(gateway is not None and _is_at(labels, namespace, gateway, root) for gateway in found):
                return True
            services = (host.split(".")[:2] for host in _hosts(new, domain) if host.endswith(f".svc.{domain}"))
            return any(
                namespace in (where, root) and _is_for(labels, find(Key("Service", where, name)))
                for name, where in services
            )
    if namespace not in (new.key.namespace, root):
        return False
    if new.key.kind == "Service":
        return _agree(labels, spec.spec.selector or {})
    if new.key.kind == "ServiceEntry":
        selected = spec.workload_selector.labels if spec.workload_selector is not None else {}
        return _agree(labels, selected or {})
    mine = index.workload_labels(new)
    return all(mine.get(name) == value for name, value in labels.items())


def _is_at(labels: Mapping[str, Any], namespace: str, gateway: Object, root: str) -> bool:
    """Whether a policy may be for a Gateway's proxies, which are named by labels alone and may run in any namespace."""
    selector = gateway.spec.selector or {}
    near = namespace in (gateway.key.namespace, root)
    return _agree(labels, selector) and (near or any(selector.get(name) == value for name, value in labels.items()))


def _is_for(labels: Mapping[str, Any], service: Object | None) -> bool:
    return service is not None and _agree(labels, service.spec.spec.selector or {})


def _agree(labels: Mapping[str, Any], selector: Mapping[str, str]) -> bool:
    """Whether one workload may have the labels of both."""
    return all(selector.get(name, value) == value for name, value in labels.items())
