"""Services: what a host is, whichever kind of document says so.

Sources: Istio's "Protocol Selection" page, its ServiceEntry reference, and Kubernetes' Service.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum

from legation.model import distribution, hosts, index, mesh, protocols, sidecars
from legation.model.meta import Key, Object
from legation.model.protocols import Protocol
from legation.model.recall import Reader
from legation.model.sidecars import Egress, Viewer


class Resolution(Enum):
    """How the addresses behind a service are found."""

    STATIC = "static"
    DNS = "dns"
    ONE_NAME = "one name"
    BY_HOST = "by host"
    NONE = "none"
    ALIAS = "alias"


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of a service; `target` is the workload's port, by number or by name."""

    number: int
    name: str
    protocol: Protocol
    target: int | str | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """A host of the mesh. `origins` are the documents that define it, the one that rules first.

    `external` says that it is no part of the mesh; `stands_for` is the host that it is another name for;
    `subject_alt_names` are the names that its certificate has; `preferred` the labels that its callers should share with
    the endpoints that they use first.
    """

    host: str
    namespace: str
    name: str
    ports: tuple[ServicePort, ...]
    resolution: Resolution
    kubernetes: bool
    headless: bool = False
    external: bool = False
    stands_for: str = ""
    publishes_unready: bool = False
    addresses: tuple[str, ...] = ()
    selector: tuple[tuple[str, str], ...] = ()
    export_to: tuple[str, ...] = ()
    subject_alt_names: tuple[str, ...] = ()
    preferred: tuple[str, ...] = ()
    origins: tuple[Key, ...] = ()

    @property
    def passes_through(self) -> bool:
        """Whether connections are meant to go to the very address that was called."""
        return self.headless or self.resolution is Resolution.NONE

    def port(self, number: int) -> ServicePort | None:
        """The port with a number; the one that can be proxied if UDP has the same number."""
        found = None
        for port in self.ports:
            if port.number == number:
                if port.protocol is not Protocol.UDP:
                    return port
                found = found or port
        return found


def service(reader: Reader, host: str, client: Viewer) -> Service | None:
    """The service of a host, as a client sees it (a unit).

    Of several definitions a Kubernetes Service goes first, then what the client's own namespace says, then the oldest;
    one that the client does not see, or does not import, hides nothing.
    """
    own = client.namespace
    seen = (one for one in definitions(reader, host, own) if visible(one.export_to, one.namespace, own))
    if client.sidecar is None:
        return next(seen, None)
    return _imported(list(seen), reader.ask(sidecars.egress, client))


def _imported(seen: list[Service], entries: Iterable[Egress]) -> Service | None:
    """The first definition that some entry imports, with the ports that any entry imports of it; a Kubernetes Service
    goes before what an earlier entry imports.
    """
    chosen: Service | None = None
    ports: set[int] = set()
    for entry in entries:
        offered = (one for one in seen if entry.imports(one.namespace, one.host))
        found = next((one for one in offered if _left(one, entry) or not one.ports), None)
        if found is None:
            continue
        if chosen is None or (found.kubernetes and not chosen.kubernetes):
            chosen, ports = found, set()
        if found.namespace == chosen.namespace:
            ports |= set(_left(found, entry))
    if chosen is None:
        return None
    return replace(chosen, ports=tuple(port for port in chosen.ports if port.number in ports))


def _left(of: Service, entry: Egress) -> list[int]:
    """The ports of a service that an entry is for."""
    return [port.number for port in of.ports if entry.takes(port.number)]


def definitions(reader: Reader, host: str, client: str = "") -> Iterator[Service]:
    """Every definition of a host, one per namespace, the one that rules first."""
    found = sorted(
        reader.get(hosts.SERVICE, host), key=lambda item: (item.key.kind != "Service", item.key.namespace != client)
    )
    for namespace in dict.fromkeys(item.key.namespace for item in found):
        defined = reader.ask(definition, host, namespace)
        if defined is not None:
            yield defined


def definition(reader: Reader, host: str, namespace: str) -> Service | None:
    """What a namespace says that a host is (a unit): its Service, else its ServiceEntries together, the oldest ruling."""
    found = [item for item in reader.get(hosts.SERVICE, host) if item.key.namespace == namespace]
    for item in found:
        if item.key.kind == "Service":
            return _from_service(reader, item, host)
    return _from_entries(reader, found, host) if found else None


def visible(export_to: Iterable[str], own: str, client: str) -> bool:
    """Whether something exported like this is seen from a namespace; without exportTo it is seen from everywhere."""
    listed = tuple(export_to)
    return not listed or "*" in listed or client in listed or ("." in listed and client == own)


def resolve(reader: Reader, name: str, namespace: str) -> str:
    """The host that is meant by a name in a document of a namespace: the first reading that is known, else the first."""
    readings = hosts.readings(name, namespace, reader.mesh.domain)
    for reading in readings[1:]:
        if not reader.get(hosts.SERVICE, readings[0]) and reader.get(hosts.SERVICE, reading):
            return reading
    return readings[0]


def _from_service(reader: Reader, item: Object, host: str) -> Service:
    spec = item.spec.spec
    ports = tuple(
        ServicePort(
            port.port,
            port.name or "",
            Protocol.UDP
            if port.protocol == "UDP"
            else protocols.of_name(port.app_protocol or port.name or "", port.port),
            port.target_port if port.target_port is not None else port.port,
        )
        for port in spec.ports
    )
    stands_for = spec.external_name.lower().rstrip(".") if spec.type == "ExternalName" else ""
    resolution = Resolution.STATIC
    if stands_for:
        resolution = Resolution.ALIAS if known(reader, stands_for) else Resolution.DNS
    cluster_ips = [ip for ip in dict.fromkeys([spec.cluster_ip or "", *(spec.cluster_ips or ())]) if ip]
    exported = item.meta.annotations.get("networking.istio.io/exportTo", "")
    return Service(
        host=host,
        namespace=item.key.namespace,
        name=item.key.name,
        ports=ports,
        resolution=resolution,
        kubernetes=True,
        headless=spec.cluster_ip == "None" and not stands_for,
        external=bool(stands_for),
        stands_for=stands_for,
        publishes_unready=spec.publish_not_ready_addresses,
        addresses=tuple(hosts.address(ip) for ip in cluster_ips if ip != "None"),
        selector=tuple(sorted((spec.selector or {}).items())),
        export_to=mesh.exported(reader, tuple(part.strip() for part in exported.split(",") if part.strip()), "service"),
        preferred=distribution.preferred(item),
        origins=(item.key,),
    )


_RESOLUTIONS = {
    "NONE": Resolution.NONE,
    "STATIC": Resolution.STATIC,
    "DNS": Resolution.DNS,
    "DNS_ROUND_ROBIN": Resolution.ONE_NAME,
    "DYNAMIC_DNS": Resolution.BY_HOST,
}


def _from_entries(reader: Reader, entries: list[Object], host: str) -> Service:
    first = entries[0].spec
    ports: dict[int, ServicePort] = {}
    for entry in entries:
        for port in entry.spec.ports:
            protocol = protocols.of_field(port.protocol or "")
            ports.setdefault(
                port.number, ServicePort(port.number, port.name, protocol, port.target_port or port.number)
            )
    return Service(
        host=host,
        namespace=entries[0].key.namespace,
        name=entries[0].key.name,
        ports=tuple(ports.values()),
        resolution=_RESOLUTIONS[first.resolution],
        kubernetes=False,
        external=first.location == "MESH_EXTERNAL",
        addresses=tuple(dict.fromkeys(hosts.address(address) for entry in entries for address in entry.spec.addresses)),
        export_to=mesh.exported(reader, first.export_to, "service"),
        subject_alt_names=tuple(dict.fromkeys(name for entry in entries for name in entry.spec.subject_alt_names)),
        preferred=distribution.preferred(entries[0]),
        origins=tuple(entry.key for entry in entries),
    )


def meant(reader: Reader, host: str, client: Viewer) -> str:
    """The host itself, or the one that it is another name for."""
    seen = reader.ask(service, host, client)
    return seen.stands_for if seen is not None and seen.resolution is Resolution.ALIAS else host


def aliases(reader: Reader, host: str, client: Viewer) -> Iterator[Service]:
    """The services that are other names for a host."""
    for item in reader.get(index.STANDS_FOR, host):
        seen = reader.ask(service, index.service_host(item, reader.mesh.domain), client)
        if seen is not None and seen.resolution is Resolution.ALIAS:
            yield seen


def short_names(of: Service, client_namespace: str, domain: str) -> tuple[str, ...]:
    """Every name under which a client of a namespace may ask for a service, the full one first, then addresses.

    Only names below `.svc.<domain>` have short forms; the bare name is for clients of the same namespace.
    """
    names = [of.host]
    suffix = f".svc.{domain}"
    if not hosts.is_wildcard(of.host) and not hosts.is_ip(of.host):
        names.append(of.host + ".")
    if of.host.endswith(suffix) and of.host.removesuffix(suffix).count(".") == 1:
        name, namespace = of.host.removesuffix(suffix).split(".")
        if namespace == client_namespace:
            names.append(name)
        names += [f"{name}.{namespace}.svc", f"{name}.{namespace}"]
        if of.headless:
            names += [f"*.{known}" for known in tuple(names)]
    names += (f"[{ip}]" if ":" in ip else ip for ip in of.addresses if hosts.is_ip(ip) and ip != "0.0.0.0")
    return tuple(dict.fromkeys(names))


def service_entries(reader: Reader, of: Service) -> list[Object]:
    """The ServiceEntries behind a service; their endpoints are taken together."""
    return [
        item for item in reader.get(hosts.SERVICE, of.host) if item.key in of.origins and item.key.kind != "Service"
    ]


def known(reader: Reader, host: str) -> bool:
    """Whether anything defines a host."""
    return bool(reader.get(hosts.SERVICE, host))


def hosts_of(item: Object, domain: str) -> tuple[str, ...]:
    """The hosts that a Service or a ServiceEntry defines."""
    if item.key.kind == "Service":
        return (index.service_host(item, domain),)
    return tuple(host.lower() for host in item.spec.hosts)
