"""ServiceEntry: a service that no Kubernetes Service speaks for.

Source: https://istio.io/latest/docs/reference/config/networking/service-entry/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from legation.model.base import (
    FOR_SOME,
    NOT_SUPPORTED,
    Finding,
    Idle,
    Model,
    OneOf,
    Partly,
    Raw,
    Unique,
    given,
    inner,
    items,
    number,
    texts,
)
from legation.model.gateway import HTTP_PROTOCOLS, TLS_PROTOCOLS, protocol
from legation.model.traffic import ExportTo, Visibility, WorkloadSelector
from legation.model.values import Label, PortNumber, Str, Subnet, fault_of_host, is_ip, shown, wrong
from legation.model.workload_entry import WorkloadEntry
from legation.problems import Path, Severity

_DNS = ("DNS", "DNS_ROUND_ROBIN")


def _service_host(text: str) -> str:
    if text == "*":
        raise wrong('"*" is no service', "name the hosts, or a wildcard of a domain: *.example.com")
    if fault := fault_of_host(text):
        hint = (
            "write a DNS name; addresses belong to `addresses` and `endpoints`" if is_ip(text) else "write a DNS name"
        )
        raise wrong(f'"{shown(text)}" {fault}', hint)
    return text


def _port_protocol(text: str) -> str:
    return protocol(text) if text else text


class ServicePort(Model):
    """A port of a service."""

    example = "{number: 80, name: http, protocol: HTTP}"

    number: PortNumber
    """The port that clients call."""
    protocol: Annotated[Str, AfterValidator(_port_protocol), Field(max_length=256)] = ""
    """What is spoken there: HTTP, HTTP2, GRPC, HTTPS, TLS, TCP and so on; found out from the traffic if left out."""
    name: Annotated[Label, Field(max_length=256)]
    """Its name, unique in the ServiceEntry."""
    target_port: PortNumber | None = None
    """The port of the endpoints, if it is another."""


def _resolution(raw: Raw) -> str:
    value = raw.get("resolution", "NONE")
    return value if isinstance(value, str) else ""


def _endpoints(raw: Raw) -> Iterator[Finding]:
    how = _resolution(raw)
    endpoints = items(raw, "endpoints")
    if how == "NONE" and given(raw, "endpoints"):
        said = "endpoints have no effect with `resolution: NONE`" + (
            "" if "resolution" in raw else ", which is the default"
        )
        yield Finding(("endpoints",), said, "write `resolution: STATIC`, or DNS for host names", at_key=True)
    if how == "DNS_ROUND_ROBIN" and len(endpoints) > 1:
        yield Finding(("endpoints",), "`resolution: DNS_ROUND_ROBIN` takes one endpoint", "use DNS", at_key=True)
    if how == "STATIC":
        for index, endpoint in endpoints:
            address = endpoint.get("address")
            if isinstance(address, str) and address and not address.startswith("unix:") and not is_ip(address):
                said = f'"{shown(address)}" is no IP address, and `resolution: STATIC` looks up no names'
                yield Finding(("endpoints", index, "address"), said, "write an IP address, or `resolution: DNS`")
    elif how in _DNS:
        for index, endpoint in endpoints:
            address = endpoint.get("address")
            if isinstance(address, str) and address.startswith("unix:"):
                said = f"a Unix socket is no name, and `resolution: {how}` looks up names"
                yield Finding(("endpoints", index, "address"), said, "write `resolution: STATIC`")
    if how == "NONE" and given(raw, "workloadSelector"):
        said = "`workloadSelector` has no effect with `resolution: NONE`"
        yield Finding(("workloadSelector",), said, "write `resolution: STATIC`", True, Severity.WARNING)


def _endpoint_ports(raw: Raw) -> Iterator[Finding]:
    names = {name for _, port in items(raw, "ports") if isinstance(name := port.get("name"), str)}
    ports = raw.get("ports")
    count = len(ports) if isinstance(ports, list) else 0
    for index, endpoint in items(raw, "endpoints"):
        address = endpoint.get("address")
        if isinstance(address, str) and address.startswith("unix:") and count != 1:
            said = f"a Unix socket serves one port, and there are {count}"
            yield Finding(("endpoints", index, "address"), said, "give the ServiceEntry exactly one port")
        for name in inner(endpoint, "ports"):
            if name not in names:
                said = f'the ServiceEntry has no port named "{shown(name)}"'
                hint = f"it has {', '.join(sorted(names))}" if names else "name it under `ports` of the ServiceEntry"
                yield Finding(("endpoints", index, "ports", name), said, hint, at_key=True)


def _hosts(raw: Raw) -> Iterator[Finding]:
    how = _resolution(raw)
    for index, host in texts(raw, "hosts"):
        where = ("hosts", index)
        wildcard = host.startswith("*")
        if wildcard and not host.startswith("*.") and host != "*":
            said = f'"{shown(host)}": Envoy knows wildcards for whole parts of a name only'
            yield Finding(where, said, f"write *.{host.lstrip('*-')}", severity=Severity.WARNING)
        if wildcard and how in _DNS and not given(raw, "endpoints"):
            said = f'"{shown(host)}" cannot be looked up'
            yield Finding(where, said, "name the host in full, or give `endpoints`")
        if not wildcard and how == "DYNAMIC_DNS":
            yield Finding(where, "`resolution: DYNAMIC_DNS` is for wildcards", "write *.example.com, or use DNS")


def _addresses(raw: Raw) -> Iterator[Finding]:
    how = _resolution(raw)
    for index, address in texts(raw, "addresses"):
        if "/" in address and how not in ("NONE", "STATIC", ""):
            said = f"a block of addresses has no meaning with `resolution: {shown(how)}`"
            yield Finding(("addresses", index), said, "write single addresses, or `resolution: STATIC`")


def _tcp(raw: Raw) -> Iterator[Finding]:
    hosts = raw.get("hosts")
    several = isinstance(hosts, list) and len(hosts) > 1
    for index, port in items(raw, "ports"):
        spoken = port.get("protocol", "")
        if not isinstance(spoken, str) or spoken.upper() not in ("", "TCP", "MONGO", "REDIS", "MYSQL"):
            continue
        if several and spoken and _resolution(raw) not in ("NONE", ""):
            said = f"several hosts cannot be told apart on a port of protocol {spoken.upper()}"
            yield Finding(("ports", index), said, "write a ServiceEntry for each host", at_key=True)
        elif not given(raw, "addresses") and number(port, "number"):
            said = "without `addresses`, this port takes all connections to its number, to any address"
            yield Finding(
                ("ports", index),
                said,
                "add `addresses`, or a `protocol` with names (HTTP, TLS)",
                True,
                Severity.WARNING,
                "IST0134",
            )


def _reached(raw: Raw) -> Iterator[Finding]:
    """What of it can be called at all."""
    if not given(raw, "ports"):
        said = "without `ports` nothing of it can be called"
        yield Finding((), said, "add the ports that clients call", True, Severity.WARNING)
    seen: set[str] = set()
    for index, host in texts(raw, "hosts"):
        if host.lower() in seen:
            yield Finding(("hosts", index), f'"{shown(host)}" is here twice', "remove one", severity=Severity.WARNING)
        seen.add(host.lower())
    by_host = _resolution(raw) == "DYNAMIC_DNS"
    for index, port in items(raw, "ports"):
        spoken = port.get("protocol", "")
        if not isinstance(spoken, str):
            continue
        if spoken.upper() == "UDP":
            said = "UDP is not proxied: this port is left out"
            yield Finding(("ports", index), said, "remove it", True, Severity.WARNING, NOT_SUPPORTED)
        elif by_host and spoken.upper() not in (*HTTP_PROTOCOLS, *TLS_PROTOCOLS):
            said = "`resolution: DYNAMIC_DNS` looks up the host that is asked for, and this port's protocol names none"
            yield Finding(("ports", index), said, "write `protocol: HTTP`, HTTP2, GRPC or TLS", at_key=True)
    if by_host:
        for field in ("endpoints", "workloadSelector", "addresses"):
            if given(raw, field):
                said = f"`{field}` has no effect with `resolution: DYNAMIC_DNS`"
                yield Finding((field,), said, "remove it", True, Severity.WARNING)


Resolution = Literal["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"]


def _passthrough(raw: Raw) -> Iterator[Finding]:
    """Connections that go where they were going need someone who knows where that is."""
    if _resolution(raw) == "NONE":
        by_default = "" if "resolution" in raw else ", which is the default"
        said = f"`resolution: NONE`{by_default} works for sidecars whose traffic is redirected; others answer 503"
        hint = "write `resolution: DNS`, or STATIC with `endpoints`, for gateways and for sidecars without redirection"
        where: Path = ("resolution",) if "resolution" in raw else ()
        yield Finding(where, said, hint, True, Severity.WARNING, FOR_SOME)


class ServiceEntry(Model):
    """A service that no Kubernetes Service speaks for."""

    rules = (
        OneOf(("workloadSelector", "endpoints")),
        Unique("ports", by="number"),
        Unique("ports", by="name"),
        _endpoints,
        _endpoint_ports,
        _hosts,
        _addresses,
        _tcp,
        _passthrough,
        _reached,
        Visibility(nobody=True),
    )

    hosts: tuple[Annotated[Str, AfterValidator(_service_host)], ...] = Field(min_length=1, max_length=256)
    """Its names."""
    addresses: Annotated[tuple[Subnet, ...], Field(max_length=256)] = ()
    """Its virtual addresses."""
    ports: Annotated[tuple[ServicePort, ...], Field(max_length=256)] = ()
    """Its ports."""
    location: Annotated[
        Literal["MESH_EXTERNAL", "MESH_INTERNAL"],
        Idle("automatic mutual TLS depends on it, and there is none yet"),
    ] = "MESH_EXTERNAL"
    """Whether it is part of the mesh."""
    resolution: Annotated[Resolution, Partly("NONE at gateways and beside workloads without redirection")] = "NONE"
    """How endpoints are found: STATIC, as they are written; DNS, by looking up their names, DNS_ROUND_ROBIN one address at a
    time; DYNAMIC_DNS, by looking up the host of each request; NONE, not at all.
    """
    endpoints: Annotated[tuple[WorkloadEntry, ...], Field(max_length=4096)] = ()
    """Its endpoints."""
    workload_selector: WorkloadSelector | None = None
    """The WorkloadEntries and Pods of its namespace that are its endpoints, by labels."""
    export_to: ExportTo = ()
    """The namespaces that see it: `*` all (if left out), `.` its own, or names."""
    subject_alt_names: tuple[Str, ...] = ()
    """Names, one of which its certificate must have."""
