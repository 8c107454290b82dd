"""Which table of the World a document appears in, and under which name.

This is the list of questions that are asked of a World; a new question is a new line here. Tables:

    <kind>                        (namespace, name)        every document of a kind
    "service"                     host                     what defines a host: Services and ServiceEntries
    ("port", number)              host                     the same, by the port
    "ports"                       number                   the same, by the number alone
    "stands for"                  host                     Services of type ExternalName, by what they stand for
    "server"                      server_place             Gateways that serve a host on a port of the same proxies
    "by host"                     host                     ServiceEntries whose endpoints are looked up by each request's host
    "address"                     IP address               the same, by the addresses that stand for them
    ("bound", gateway)            host as it may be meant  VirtualServices of `mesh` or of a gateway `namespace/name`
    ("bound wildcard", gateway)   *.host                   of these, the ones with a wildcard
    "delegate"                    (namespace, name)        VirtualServices without hosts: they fill in others
    "rule"                        host as it may be meant  DestinationRules
    "rule wildcard"               *.host                   of these, the ones with a wildcard
    "sidecar"                     namespace                Sidecars
    "secret"                      name                     Secrets of any namespace
    "slice"                       (namespace, service)     EndpointSlices and Endpoints
    "workload"                    (namespace, key, value)  Pods, WorkloadEntries and Deployments by each label
    ("workloads", namespace)      (kind, name)             the same, all of a namespace
    "selecting"                   (namespace, key, value)  Services and ServiceEntries, by a label of what they select
    "listing"                     the same, or an address  ServiceEntries that list endpoints themselves
    "ingress"                     namespace                Sidecars that say which ports their workloads are called on
    "own address"                 namespace                of these, the ones in which the workload's own address counts
    "service label"               label key                the labels by which a service's workloads are found
    "selected label"              label key                what selects proxies by that label (or by LOCALITY)
    "rule label"                  label key                of these, what decides over endpoints
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from legation.model import distribution, hosts, policies
from legation.model.meta import Object
from legation.model.proxy import LOCALITY, TOPOLOGY
from legation.names import MESH_GATEWAY

STANDS_FOR = "stands for"
BY_HOST = "by host"
INGRESS = "ingress"
OF_NAMESPACE = "workloads"
LISTING = "listing"
OWN_ADDRESS = "own address"

SIDECAR = "sidecar"

Place = tuple[Hashable, Hashable]

DELEGATE = "delegate"
"""The table of VirtualServices that have no hosts: the rules of others name them."""

WORKLOADS = ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet")
"""The kinds that stand for pods."""


def places(item: Object, domain: str) -> Iterator[Place]:
    """Every place of a document."""
    yield item.key.kind, (item.key.namespace, item.key.name)
    if item.key.kind in ("Service", "ServiceEntry"):
        yield from _instances(item)
        yield from _preferring(item)
    elif item.key.kind == "Sidecar":
        yield from _ingress(item)
    match item.key.kind:
        case "Service":
            host = service_host(item, domain)
            yield hosts.SERVICE, host
            for number in {port.port for port in item.spec.spec.ports}:
                yield ("port", number), host
                yield "ports", number
            if item.spec.spec.type == "ExternalName":
                yield STANDS_FOR, item.spec.spec.external_name.lower().rstrip(".")
            for ip in {item.spec.spec.cluster_ip, *item.spec.spec.cluster_ips} - {"", "None"}:
                yield "address", hosts.address(ip)
        case "ServiceEntry":
            for host in dict.fromkeys(host.lower() for host in item.spec.hosts):
                yield hosts.SERVICE, host
                for port in item.spec.ports:
                    yield ("port", port.number), host
                if item.spec.resolution == "DYNAMIC_DNS":
                    yield BY_HOST, host
            for number in {port.number for port in item.spec.ports}:
                yield "ports", number
            for ip in {hosts.address(written) for written in item.spec.addresses}:
                yield "address", ip
        case "VirtualService":
            if not item.spec.hosts:
                yield DELEGATE, (item.key.namespace, item.key.name)
            yield from _bound(item, domain)
        case "DestinationRule":
            for host in hosts.readings(item.spec.host, item.key.namespace, domain):
                yield "rule", host
                if hosts.is_wildcard(host):
                    yield "rule wildcard", host
            for key in rule_labels(item):
                yield "selected label", key
                yield "rule label", key
        case "Sidecar":
            yield SIDECAR, item.key.namespace
            for key in sidecar_labels(item):
                yield "selected label", key
        case "MeshConfig":
            for key in mesh_labels(item):
                yield "selected label", key
                yield "rule label", key
        case "Secret":
            yield "secret", item.key.name
        case "Gateway":
            for key in item.spec.selector or ():
                yield "selected label", key
            for server in item.spec.servers:
                for written in server.hosts:
                    yield "server", server_place(item, server, written)
        case "EndpointSlice":
            yield "slice", (item.key.namespace, item.meta.labels.get("kubernetes.io/service-name", ""))
        case "Endpoints":
            yield "slice", (item.key.namespace, item.key.name)
        case _:
            yield from _workload(item)


TELLING = ("app", "app.kubernetes.io/name", "app.kubernetes.io/instance", "k8s-app", "name")
"""The labels that are likely to tell services apart."""


def telling(selector: Mapping[str, str]) -> str:
    """The one label of a selector by which what it selects is looked up, and it itself by what might be selected."""
    return next((key for key in TELLING if key in selector), min(selector))


def _preferring(item: Object) -> Iterator[Place]:
    """What a service itself looks at in its callers."""
    wanted = distribution.preferred(item)
    for key in {LOCALITY, *wanted} if wanted else ():
        yield "selected label", key
        yield "rule label", key


def _workload(item: Object) -> Iterator[Place]:
    for key, value in workload_labels(item).items():
        yield "workload", (item.key.namespace, key, value)
    if item.key.kind in ("Pod", "WorkloadEntry", *WORKLOADS):
        yield (OF_NAMESPACE, item.key.namespace), (item.key.kind, item.key.name)


def _ingress(item: Object) -> Iterator[Place]:
    """What a Sidecar says of the calls that workloads take."""
    if item.spec.ingress:
        yield INGRESS, item.key.namespace
    if any(listener.default_endpoint.startswith(("0.0.0.0:", "[::]:")) for listener in item.spec.ingress):
        yield OWN_ADDRESS, item.key.namespace


def _instances(item: Object) -> Iterator[Place]:
    """Where a Service or a ServiceEntry is found by one of its workloads."""
    namespace, listed = item.key.namespace, tuple[Any, ...]()
    if item.key.kind == "Service":
        selector: Mapping[str, str] = item.spec.spec.selector or {}
    else:
        selector = item.spec.workload_selector.labels or {} if item.spec.workload_selector is not None else {}
        listed = item.spec.endpoints or ()
    found: set[Place] = {("service label", key) for key in selector}
    if selector:
        own = telling(selector)
        found.add(("selecting", (namespace, own, selector[own])))
    for endpoint in listed:
        if hosts.is_ip(endpoint.address) and not hosts.is_loopback(endpoint.address):
            found.add((LISTING, hosts.address(endpoint.address)))
        if key := next((key for key in TELLING if key in (endpoint.labels or {})), ""):
            found.add((LISTING, (namespace, key, endpoint.labels[key])))
            found.update(("service label", key) for key in endpoint.labels)
    yield from found


def server_place(gateway: Object, server: Any, host: str) -> tuple[Hashable, ...]:
    """Which proxies serve a host of a server, where, and for whom."""
    selector = tuple(sorted((gateway.spec.selector or {}).items()))
    where, slash, name = host.rpartition("/")
    for_whom = gateway.key.namespace if where == "." else where
    bind = "" if server.bind == "0.0.0.0" else hosts.address(server.bind or "")
    return selector, server.port.number, bind, for_whom if slash and where != "*" else "", name.lower()


def _bound(item: Object, domain: str) -> Iterator[Place]:
    seen: set[Place] = set()
    for gateway in gateways(item):
        for written in item.spec.hosts:
            if gateway == MESH_GATEWAY:
                meant = hosts.readings(written, item.key.namespace, domain)
            else:
                meant = (hosts.resolve_at_gateway(written, item.key.namespace, domain),)
            for host in meant:
                seen.add((("bound", gateway), host))
                if hosts.is_wildcard(host):
                    seen.add((("bound wildcard", gateway), host))
    yield from seen
    for rule in (*item.spec.http, *item.spec.tls, *item.spec.tcp):
        for match in rule.match:
            for key in match.source_labels or ():
                yield "selected label", key


def rule_labels(item: Object) -> set[str]:
    """What a DestinationRule looks at in proxies: the labels that select them, or that endpoints should share with
    them; LOCALITY if it matters where they run.
    """
    keys = {entry.partition("=")[0] for entry in policies.lists(item.spec)}
    if keys.intersection(TOPOLOGY) or any(_minds_place(policy) for policy in policies.written(item.spec)):
        keys.add(LOCALITY)
    selector = item.spec.workload_selector
    return keys | set(selector.match_labels if selector is not None else ())


def sidecar_labels(item: Object) -> Mapping[str, str]:
    """The labels of the workloads that a Sidecar is for; none if it is for all of its namespace."""
    written = item.spec.workload_selector
    labels: Mapping[str, str] = written.labels if written is not None else {}
    return labels


def mesh_labels(item: Object) -> set[str]:
    """What MeshConfig looks at in proxies, as `rule_labels`."""
    settings = [
        found for found in (item.spec.locality_lb_setting, item.spec.zone_aware_lb_setting) if found is not None
    ]
    keys = {entry.partition("=")[0] for setting in settings for entry in setting.failover_priority}
    baseline = item.spec.default_traffic_policy
    watched = baseline is not None and baseline.outlier_detection is not None
    return keys | {LOCALITY} if settings or watched else keys


def _minds_place(policy: Any) -> bool:
    balancer = policy.load_balancer
    spread = (
        balancer is not None and balancer.locality_lb_setting is not None and balancer.locality_lb_setting.distribute
    )
    return bool(policy.outlier_detection is not None or spread)


def gateways(virtual_service: Object) -> tuple[str, ...]:
    """The gateways of a VirtualService as `mesh` or `namespace/name`; without any it is the mesh's."""
    written = virtual_service.spec.gateways or (MESH_GATEWAY,)
    return tuple(dict.fromkeys(gateway_reference(name, virtual_service.key.namespace) for name in written))


def gateway_reference(name: str, namespace: str) -> str:
    """`name`, `./name`, `other/name` or the old `name.other.svc…` as `namespace/name`; `mesh` stays."""
    if name == MESH_GATEWAY:
        return name
    if "/" in name:
        where, _, what = name.partition("/")
        return f"{namespace if where == '.' else where}/{what}"
    what, _, rest = name.partition(".")
    return f"{rest.partition('.')[0] or namespace}/{what}"


def service_host(service: Object, domain: str) -> str:
    """The host of a Kubernetes Service."""
    return f"{service.key.name}.{service.key.namespace}.svc.{domain}"


def workload_labels(item: Object) -> Mapping[str, str]:
    """The labels by which a document is selected as a workload; none for what is no workload."""
    if item.key.kind in WORKLOADS:
        labels: Any = item.spec.spec.template.metadata.labels
        return labels or {}
    if item.key.kind == "WorkloadEntry":
        return {**(item.spec.labels or {}), **item.meta.labels}
    return item.meta.labels if item.key.kind == "Pod" else {}
