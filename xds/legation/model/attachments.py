"""Whether what a document names fits what it is named for: hosts and gateways, ports, subsets and endpoints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from legation.model import endpoints, gateway_analysis, hosts, index, servers, services
from legation.model.findings import Finding
from legation.model.meta import Object
from legation.model.protocols import Protocol
from legation.model.proxy import Labels
from legation.model.recall import Reader
from legation.model.sidecars import Viewer
from legation.names import MESH_GATEWAY
from legation.problems import Path, Severity

NOT_AT_GATEWAY = "IST0132"
WHICH_PORT = "IST0112"
SELECTS_NOTHING = "IST0173"
UNSPOKEN = "LEG0605"


def of(reader: Reader, item: Object) -> Iterator[Finding]:
    """What does not fit."""
    if item.key.kind == "VirtualService":
        yield from _at_gateways(reader, item)
        yield from _ports(reader, item)
        yield from _unspoken(reader, item)
    elif item.key.kind == "DestinationRule":
        yield from _subsets(reader, item)
    elif item.key.kind == "Gateway":
        yield from gateway_analysis.unruled(reader, item.key)
        yield from gateway_analysis.shared(reader, item.key)


def _at_gateways(reader: Reader, item: Object) -> Iterator[Finding]:
    """Hosts that no server of any gateway of a rule takes. In the mesh every host has a use."""
    names = [index.gateway_reference(written, item.key.namespace) for written in item.spec.gateways]
    found = [gateway for name in names for gateway in reader.get("Gateway", tuple(name.split("/")))]
    if not names or len(found) < len(names):
        return
    served = [host for gateway in found for host in _served(gateway, item.key.namespace)]
    for place, written in enumerate(item.spec.hosts):
        host = hosts.resolve_at_gateway(written, item.key.namespace, reader.mesh.domain)
        if not any(hosts.contains(mine, host) or hosts.contains(host, mine) for mine in served):
            which = str(found[0].key) if len(found) == 1 else "its gateways"
            said = f"no server of {which} takes {host} from here: the rule is not served for it"
            hint = (
                f"{', '.join(dict.fromkeys(served))} would be taken"
                if served
                else "the servers are for other namespaces"
            )
            path = ("spec", "hosts", place)
            yield Finding(item.key, path, Severity.WARNING, NOT_AT_GATEWAY, said, hint, found[0].key)


def _served(gateway: Object, client: str) -> Iterator[str]:
    """The hosts that a Gateway's servers take from a namespace."""
    for server in gateway.spec.servers:
        for written in server.hosts:
            mine = servers.server_host(written, gateway.key.namespace)
            if mine.namespace in ("", client):
                yield mine.host


def _ports(reader: Reader, item: Object) -> Iterator[Finding]:
    for path, destination in _destinations(item):
        if destination.port is not None:
            continue
        host = services.resolve(reader, destination.host, item.key.namespace)
        service = reader.ask(services.service, host, Viewer(item.key.namespace))
        if service is not None and len(service.ports) > 1:
            listed = ", ".join(str(port.number) for port in service.ports)
            said = (
                f"{host} has several ports; without `port`, the one is called that has the number of the request's own"
            )
            yield Finding(item.key, path, Severity.WARNING, WHICH_PORT, said, f"add `port`: one of {listed}")


def _destinations(item: Object) -> Iterator[tuple[Path, Any]]:
    for field, listed in (("http", item.spec.http), ("tls", item.spec.tls), ("tcp", item.spec.tcp)):
        for number, rule in enumerate(listed):
            for place, route in enumerate(rule.route):
                yield ("spec", field, number, "route", place, "destination"), route.destination


def _unspoken(reader: Reader, item: Object) -> Iterator[Finding]:
    """Rules for the mesh of which no host has a port that speaks what they are about."""
    if MESH_GATEWAY not in index.gateways(item):
        return
    named = [services.resolve(reader, written, item.key.namespace) for written in item.spec.hosts]
    seen = [reader.ask(services.service, host, Viewer(item.key.namespace)) for host in named]
    if None in seen or not seen:
        return
    spoken = {port.protocol for service in seen if service is not None for port in service.ports}
    encrypted = {Protocol.TLS, Protocol.HTTPS}
    fitting = {
        "http": any(protocol.is_http for protocol in spoken),
        "tls": bool(spoken & encrypted),
        "tcp": any(protocol is Protocol.AUTO or not protocol.is_http for protocol in spoken - encrypted),
    }
    for field, fits in fitting.items():
        if getattr(item.spec, field) and not fits and spoken:
            said = f"no port of its hosts speaks what `{field}` is about: in the mesh these rules have no effect"
            hint = "compare with the `protocol` of the ports, or the beginning of their names"
            yield Finding(item.key, ("spec", field), Severity.WARNING, UNSPOKEN, said, hint)


def _subsets(reader: Reader, item: Object) -> Iterator[Finding]:
    host = services.resolve(reader, item.spec.host, item.key.namespace)
    if not item.spec.subsets or hosts.is_wildcard(host):
        return
    known = reader.ask(_labels, host, item.key.namespace)
    for place, subset in enumerate(item.spec.subsets):
        wanted = set(subset.labels.items())
        if known and wanted and not any(wanted <= set(labels) for labels in known):
            listed = ", ".join(f"{key}={value}" for key, value in sorted(wanted))
            said = f"no endpoint of {host} has {listed}; requests to this subset are answered 503"
            yield Finding(
                item.key, ("spec", "subsets", place, "labels"), Severity.WARNING, SELECTS_NOTHING, said,
                "compare the labels with those of the workloads",
            )  # fmt: skip


def _labels(reader: Reader, host: str, client: str) -> frozenset[Labels]:
    """Every combination of labels that the endpoints of a host have (a unit): it stays as it is when only more of the
    same come.
    """
    service = reader.ask(services.service, host, Viewer(client))
    if service is None:
        return frozenset()
    return frozenset(
        tuple(sorted(endpoint.all_labels.items()))
        for port in service.ports
        for endpoint in reader.ask(endpoints.endpoints, host, service.namespace, port.number)
    )
