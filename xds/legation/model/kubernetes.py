"""Kubernetes' own kinds, as far as traffic depends on them. Pods and what makes them are in `workloads.py`.

Service, EndpointSlice and Endpoints are read strictly, since a typo in them moves traffic. Of workloads, Secrets and the
rest we read what matters here and pass over what is Kubernetes' business.

Source: https://kubernetes.io/docs/reference/kubernetes-api/
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from legation.model import certificates
from legation.model.base import (
    EMPTY,
    Finding,
    Idle,
    Lenient,
    Model,
    NotYet,
    Opaque,
    Raw,
    Unique,
    given,
    inner,
    items,
    number,
)
from legation.model.values import (
    Address,
    Base64,
    Bool,
    Labels,
    Map,
    PassedOver,
    PortNumber,
    PortOrZero,
    Str,
    is_ip,
    is_label,
    shown,
    wrong,
)

_OWN: Final = Idle("Kubernetes' own business")
_OWN_NAME: Final = Idle("single endpoints have no names here")
_OF_SERVICE: Final = Idle("the Service says it")

# --- Service ------------------------------------------------------------------------------------------------------


def _int_or_name(value: Any) -> int | str:
    if type(value) is int:
        if not 1 <= value <= 65535:
            raise wrong(f"{value} is no port", "write a number from 1 to 65535, or the name of a container's port")
        return value
    if isinstance(value, str):
        if value.isdigit():
            raise wrong(f'"{value}" is read as the name of a port', "write the number without quotes")
        if not value or len(value) > 63 or not is_label(value):
            raise wrong("this is no name of a port", "use letters, digits and '-', at most 15, or write a number")
        return value
    raise wrong("a port's number or name is needed here", "write a number from 1 to 65535, or the name of a port")


IntOrName = Annotated[
    int | str,
    PlainValidator(_int_or_name),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 65535}, {"type": "string"}]}),
]
Transport = Literal["TCP", "UDP", "SCTP"]


class ServicePort(Model):
    """A port of a Service."""

    example = "{name: http, port: 80, targetPort: 8080}"

    name: Str = ""
    """Its name; what is before its first `-` says what is spoken there: `http-web`, `grpc`, `tcp-db`."""
    protocol: Transport = "TCP"
    """What it is carried by."""
    app_protocol: Str | None = None
    """What is spoken there, if the name does not say it."""
    port: PortNumber
    """The port that clients call."""
    target_port: IntOrName | None = None
    """The port of the endpoints, by number or name; `port` if left out."""
    node_port: Annotated[PortOrZero, _OWN] = 0
    """The port on every node."""


def _several_ports(raw: Raw) -> Iterator[Finding]:
    ports = items(raw, "ports")
    if len(ports) > 1:
        for index, port in ports:
            if not given(port, "name") or port["name"] == "":
                said = "of several ports each needs a name"
                yield Finding(("ports", index), said, "add `name`, such as http", at_key=True)
    seen: set[tuple[Any, ...]] = set()
    for index, port in ports:
        where, transport = number(port, "port"), port.get("protocol", "TCP")
        if where is not None and isinstance(transport, str):
            if (where, transport) in seen:
                said = f"port {where} is here twice"
                yield Finding(("ports", index, "port"), said, "remove one of them")
            seen.add((where, transport))


def _type(raw: Raw) -> Iterator[Finding]:
    external = raw.get("type") == "ExternalName"
    if external and (not given(raw, "externalName") or raw["externalName"] == ""):
        yield Finding(
            (), "a Service of type ExternalName needs `externalName`", "add the name it stands for", at_key=True
        )
    if not external and not given(raw, "ports") and raw.get("clusterIP") != "None":
        yield Finding((), "`ports` is missing", "add the ports that clients call", at_key=True)


def _cluster_ip(text: str) -> str:
    if text not in ("", "None") and not is_ip(text):
        raise wrong(f'"{shown(text)}" is no IP address', "write an address such as 10.0.0.7, or None for no address")
    return text


ClusterIP = Annotated[Str, AfterValidator(_cluster_ip)]


class ServiceSpec(Model):
    """What a Service is."""

    rules = (Unique("ports", by="name"), _several_ports, _type)

    ports: tuple[ServicePort, ...] = ()
    """Its ports."""
    selector: Labels = EMPTY
    """Labels of the workloads that are its endpoints."""
    cluster_ip: Annotated[ClusterIP, Field(alias="clusterIP")] = ""
    """Its virtual address; `None` for a Service whose endpoints are called directly."""
    cluster_ips: Annotated[tuple[ClusterIP, ...], Field(alias="clusterIPs")] = ()
    """Its virtual addresses."""
    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    """Who reaches it."""
    external_name: Str = ""
    """The name that it stands for, with type ExternalName."""
    publish_not_ready_addresses: Bool = False
    """Whether endpoints count that are not ready."""
    internal_traffic_policy: Annotated[
        Literal["Cluster", "Local"] | None,
        NotYet("proxies do not say on which node they run, so endpoints on all are used", values=frozenset({"Local"})),
        Idle("all endpoints are used anyway"),
    ] = None
    """Whether only endpoints on the caller's node are used."""
    traffic_distribution: Literal["PreferClose", "PreferSameZone", "PreferSameNode"] | None = None
    """Which endpoints are preferred: those in the caller's zone, or on its node, as far as labels tell (those of the
    topology, and `kubernetes.io/hostname`); then those in its region.
    """
    external_ips: Annotated[tuple[Str, ...], Field(alias="externalIPs"), _OWN] = ()
    """Addresses outside the cluster."""
    load_balancer_ip: Annotated[Str, Field(alias="loadBalancerIP"), _OWN] = ""
    """The address of its load balancer."""
    load_balancer_source_ranges: Annotated[tuple[Str, ...], _OWN] = ()
    """Who may call its load balancer."""
    load_balancer_class: Annotated[Str | None, _OWN] = None
    """Who makes its load balancer."""
    allocate_load_balancer_node_ports: Annotated[Bool | None, _OWN] = None
    """Whether its load balancer gets ports on every node."""
    external_traffic_policy: Annotated[Literal["", "Cluster", "Local"], _OWN] = ""
    """Whether calls from outside stay on the node they reach."""
    health_check_node_port: Annotated[PortOrZero, _OWN] = 0
    """The port on which nodes are asked whether they have endpoints."""
    session_affinity: Annotated[Literal["", "None", "ClientIP"], Idle("a DestinationRule says it")] = ""
    """Whether a client keeps its endpoint."""
    session_affinity_config: PassedOver = None
    """How long."""
    ip_families: Annotated[tuple[Literal["IPv4", "IPv6"], ...], _OWN] = ()
    """Its address families."""
    ip_family_policy: Annotated[Literal["SingleStack", "PreferDualStack", "RequireDualStack"] | None, _OWN] = None
    """How many of them."""

    @property
    def headless(self) -> bool:
        """Whether its endpoints are called directly."""
        return self.cluster_ip == "None"


class Service(Model):
    """A service of Kubernetes."""

    spec: ServiceSpec
    """What it is."""
    status: PassedOver = None
    """Kubernetes' own notes."""


# --- endpoints ----------------------------------------------------------------------------------------------------


class ObjectReference(Lenient):
    """Another object."""

    kind: Str = ""
    """Its kind."""
    name: Str = ""
    """Its name."""


class EndpointConditions(Model):
    """How an endpoint is; what is not said counts as good."""

    ready: Bool | None = None
    """Whether it takes traffic."""
    serving: Annotated[Bool | None, Idle("`ready` and `terminating` say enough")] = None
    """Whether it answers."""
    terminating: Bool | None = None
    """Whether it is about to go."""


class SliceEndpoint(Model):
    """An endpoint of a slice."""

    addresses: tuple[Str, ...] = Field(min_length=1)
    """Its addresses, which are all the same endpoint."""
    conditions: EndpointConditions = EndpointConditions()
    """How it is."""
    hostname: Annotated[Str | None, _OWN_NAME] = None
    """Its host name."""
    target_ref: ObjectReference | None = None
    """The Pod that it is."""
    node_name: Str | None = None
    """The node that it runs on."""
    zone: Str | None = None
    """The zone that it runs in."""
    hints: PassedOver = None
    """Who should use it."""
    deprecated_topology: PassedOver = None
    """Where it runs, as it was said before."""


class SlicePort(Model):
    """A port of all endpoints of a slice."""

    name: Str | None = None
    """The name of the Service's port that it is."""
    protocol: Annotated[Transport, _OF_SERVICE] = "TCP"
    """What it is carried by."""
    port: PortNumber | None = None
    """The port of the endpoints."""
    app_protocol: Annotated[Str | None, _OF_SERVICE] = None
    """What is spoken there."""


def _slice_addresses(raw: Raw) -> Iterator[Finding]:
    family = raw.get("addressType")
    for index, endpoint in items(raw, "endpoints"):
        addresses = endpoint.get("addresses")
        for place, address in enumerate(addresses if isinstance(addresses, list) else ()):
            if not isinstance(address, str) or family not in ("IPv4", "IPv6"):
                continue
            if not is_ip(address) or (":" in address) != (family == "IPv6"):
                where = ("endpoints", index, "addresses", place)
                yield Finding(where, f"this is no {family} address", "change it, or `addressType`")


class EndpointSlice(Model):
    """Some endpoints of the Service that the label `kubernetes.io/service-name` names."""

    rules = (_slice_addresses,)

    address_type: Literal["IPv4", "IPv6", "FQDN"]
    """What the addresses are."""
    endpoints: tuple[SliceEndpoint, ...] = ()
    """The endpoints."""
    ports: tuple[SlicePort, ...] = ()
    """The ports of all of them."""


class EndpointAddress(Model):
    """An endpoint."""

    ip: Address
    """Its address."""
    hostname: Annotated[Str, _OWN_NAME] = ""
    """Its host name."""
    node_name: Str | None = None
    """The node that it runs on."""
    target_ref: ObjectReference | None = None
    """The Pod that it is."""


class EndpointPort(Model):
    """A port of endpoints."""

    name: Str = ""
    """The name of the Service's port that it is."""
    port: PortNumber
    """The port of the endpoints."""
    protocol: Annotated[Transport, _OF_SERVICE] = "TCP"
    """What it is carried by."""
    app_protocol: Annotated[Str | None, _OF_SERVICE] = None
    """What is spoken there."""


class EndpointSubset(Model):
    """Endpoints with the same ports."""

    addresses: tuple[EndpointAddress, ...] = ()
    """Those that take traffic."""
    not_ready_addresses: tuple[EndpointAddress, ...] = ()
    """Those that do not."""
    ports: tuple[EndpointPort, ...] = ()
    """The ports of all of them."""


class Endpoints(Model):
    """The endpoints of the Service of the same name."""

    subsets: tuple[EndpointSubset, ...] = ()
    """Endpoints, by their ports."""


# --- the rest -----------------------------------------------------------------------------------------------------


def _certificates(raw: Raw) -> Iterator[Finding]:
    """What Envoy would refuse. An entry that cannot be read has its own finding."""
    where: dict[str, str] = {}
    content: dict[str, bytes] = {}
    for field in ("data", "stringData"):
        for key, text in inner(raw, field).items():
            if isinstance(text, str):
                where[key] = field
                try:
                    content[key] = b64decode("".join(text.split()), validate=True) if field == "data" else text.encode()
                except ValueError:
                    return
    for fault in certificates.faults(content):
        yield Finding((where[fault.key], fault.key), fault.message, fault.hint, code=NO_CERTIFICATE)


NO_CERTIFICATE: Final = "IST0161"


class Secret(Lenient):
    """What must not be seen. It never appears in a message, a log or a dump."""

    rules = (_certificates,)

    type: Annotated[Str, Idle("its keys say what is in it")] = ""
    """What it holds: `kubernetes.io/tls`, `Opaque`."""
    data: Map[Str, Base64] = Field(EMPTY, repr=False)
    """By key, bytes, written in base64."""
    string_data: Map[Str, Str] = Field(EMPTY, repr=False)
    """By key, text; it wins over `data`."""

    @property
    def content(self) -> Mapping[str, bytes]:
        """By key, bytes."""
        return {**self.data, **{key: text.encode() for key, text in self.string_data.items()}}


class ConfigMap(Lenient):
    """Text by key."""

    data: Map[Str, Str] = EMPTY
    """By key, text."""


class Node(Opaque):
    """A machine. Its labels say where it is."""


class Namespace(Opaque):
    """A namespace. Its labels say what holds in it."""
