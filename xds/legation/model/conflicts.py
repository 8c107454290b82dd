"""Documents that speak for the same thing: which of them counts, and what the others lose.

The older one counts, by `metadata.creationTimestamp`, then name, then namespace; never the order of files. Every check
looks at the documents that speak for one thing, and at no others.
"""

from __future__ import annotations

from collections.abc import Iterator

from legation.model import (
    gateway_analysis,
    hosts,
    index,
    mesh,
    protocols,
    routing,
    rules,
    servers,
    services,
    sidecar_analysis,
)
from legation.model.findings import Finding
from legation.model.meta import Object
from legation.model.recall import Reader
from legation.model.servers import Handling
from legation.model.sidecars import Viewer
from legation.names import MESH_GATEWAY
from legation.problems import Path, Severity

HIDDEN = "LEG0602"
SAME_HOST = "IST0109"
SAME_SERVER = "IST0145"
OTHER_PROTOCOL = "IST0177"


def of(reader: Reader, item: Object) -> Iterator[Finding]:
    """What a document loses to others."""
    match item.key.kind:
        case "MeshConfig":
            yield from _mesh_config(reader, item)
        case "ServiceEntry":
            yield from _service_entry(reader, item)
        case "DestinationRule":
            yield from _destination_rule(reader, item)
        case "VirtualService":
            yield from _virtual_service(reader, item)
        case "Gateway":
            yield from _gateway(reader, item)
        case "Sidecar":
            yield from sidecar_analysis.of(reader, item)


def _lost(item: Object, path: Path, code: str, said: str, other: Object, hint: str) -> Finding:
    return Finding(item.key, path, Severity.WARNING, code, said, hint, other.key)


def _mesh_config(reader: Reader, item: Object) -> Iterator[Finding]:
    first = mesh.documents(reader)[0]
    if first.key != item.key:
        said = f"{first.key} is the mesh's configuration; this one has no effect"
        yield _lost(item, (), HIDDEN, said, first, "keep one of the two")


def _service_entry(reader: Reader, item: Object) -> Iterator[Finding]:
    for place, written in enumerate(item.spec.hosts):
        host, path = written.lower(), ("spec", "hosts", place)
        older = [other for other in reader.get(hosts.SERVICE, host) if other.key != item.key]
        service = next((other for other in older if other.key.kind == "Service"), None)
        if service is not None:
            said = f"{service.key} has the host {host}, and goes before any ServiceEntry: this one is never used for it"
            yield _lost(item, path, HIDDEN, said, service, "give it another host, or remove one of the two")
            continue
        older = [other for other in older if other.age < item.age]
        same = next((other for other in older if other.key.namespace == item.key.namespace), None)
        if same is not None and same.spec.resolution != item.spec.resolution:
            said = f"{same.key} is older, so {host} has its resolution, {same.spec.resolution}"
            yield _lost(item, path, HIDDEN, said, same, "write the same `resolution` in both")
        public = next((other for other in older if _is_public(reader, other)), None)
        if same is None and public is not None and _is_public(reader, item):
            said = f"{public.key} is older: {host} is this one for clients in {item.key.namespace} only"
            yield _lost(item, path, HIDDEN, said, public, "say `exportTo: [.]` in both if that is meant")
        meeting = [
            other
            for other in older
            if other.key.namespace == item.key.namespace or (_is_public(reader, other) and _is_public(reader, item))
        ]
        yield from _protocols(item, host, meeting)


def _protocols(item: Object, host: str, older: list[Object]) -> Iterator[Finding]:
    for place, port in enumerate(item.spec.ports):
        spoken = protocols.of_field(port.protocol)
        for other in older:
            theirs = next((its for its in other.spec.ports if its.number == port.number), None)
            if theirs is not None and protocols.of_field(theirs.protocol) != spoken:
                said = f"{other.key} is older, and says {theirs.protocol or 'nothing'} for port {port.number} of {host}"
                hint = "write the same `protocol` in both"
                yield _lost(item, ("spec", "ports", place, "protocol"), OTHER_PROTOCOL, said, other, hint)
                break


def _is_public(reader: Reader, item: Object) -> bool:
    exported = mesh.exported(reader, item.spec.export_to, "service")
    return not exported or "*" in exported


def _destination_rule(reader: Reader, item: Object) -> Iterator[Finding]:
    older = list(rules.older_for_the_same(reader, item))
    ruling = next((other for other in older if other.spec.traffic_policy is not None), None)
    if item.spec.traffic_policy is not None and ruling is not None:
        said = f"{ruling.key} is for the same host and older: its policy counts, and this one has no effect"
        yield _lost(item, ("spec", "trafficPolicy"), HIDDEN, said, ruling, "write one policy, in one of the two")
    for place, subset in enumerate(item.spec.subsets):
        for other in older:
            if other.spec.subset(subset.name) is not None:
                said = f"{other.key} is older, and has a subset {subset.name} of the same host: this one has no effect"
                yield _lost(item, ("spec", "subsets", place), HIDDEN, said, other, "give it another name")
                break


def _virtual_service(reader: Reader, item: Object) -> Iterator[Finding]:
    """At gateways the routes of several are joined, and TLS goes to the first; in the mesh the first rules alone."""
    yield from gateway_analysis.passed_over(reader, item.key)
    if MESH_GATEWAY not in index.gateways(item) or not item.spec.http:
        return
    for place, written in enumerate(item.spec.hosts):
        host = services.resolve(reader, written, item.key.namespace)
        ruling = next(
            (other for other in routing.by_name(reader, host, Viewer(item.key.namespace)) if other.spec.http), item
        )
        if ruling.key != item.key:
            said = f"{ruling.key} rules {host} in the mesh alone: this one has no effect for it there"
            hint = "join the two, or bind one of them to a gateway only"
            yield _lost(item, ("spec", "hosts", place), SAME_HOST, said, ruling, hint)


def _gateway(reader: Reader, item: Object) -> Iterator[Finding]:
    lost = gateway_analysis.lost(reader, item.key)
    yield from map(gateway_analysis.conflict, lost)
    for number, server in enumerate(item.spec.servers):
        if servers.handling(server) is not Handling.HTTP or any(conflict.place == number for conflict in lost):
            continue
        for place, written in enumerate(server.hosts):
            same = reader.get("server", index.server_place(item, server, written))
            older = next((other for other in same if other.age < item.age), None)
            if older is not None:
                said = f"{older.key} serves {written} on port {server.port.number} of the same proxies, and is older"
                hint = "two servers that both take a host share it at best; keep one of them"
                yield _lost(item, ("spec", "servers", number, "hosts", place), SAME_SERVER, said, older, hint)
