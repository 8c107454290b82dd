"""Sidecar: what a workload's proxy knows of the mesh, and what it opens itself.

Source: https://istio.io/latest/docs/reference/config/networking/sidecar/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from legation.model.base import (
    NOT_SUPPORTED,
    AnyOf,
    Deprecated,
    Finding,
    Idle,
    Model,
    Raw,
    given,
    inner,
    items,
    number,
)
from legation.model.connections import ConnectionPoolSettings, HTTPSettings
from legation.model.gateway import TLS_PROTOCOLS, TLS_RULES, Protocol, ServerTLSSettings
from legation.model.traffic import Destination, WorkloadSelector
from legation.model.values import (
    Bind,
    Bool,
    Filled,
    PortNumber,
    PortOrZero,
    Str,
    fault_of_host,
    is_ip,
    is_label,
    shown,
    wrong,
)
from legation.model.workload_entry import MAX_SOCKET
from legation.problems import Severity

CaptureMode = Literal["DEFAULT", "IPTABLES", "NONE"]


def _imported(text: str) -> str:
    namespace, slash, host = text.partition("/")
    if not slash:
        raise wrong(f'"{shown(text)}" has no namespace', f"write */{text}, ./{text} or namespace/{text}")
    if namespace not in ("*", ".", "~") and not is_label(namespace.removeprefix("~")):
        raise wrong(f'"{shown(namespace)}" is no namespace', "write a namespace, . or *")
    if fault := fault_of_host(host):
        raise wrong(f'"{shown(host)}" {fault}', "write a full name, *.example.com or *")
    if host != "*" and "*" in host and not host.startswith("*."):
        raise wrong(f'"{shown(host)}": a wildcard stands for whole parts of a name', f"write *.{host.lstrip('*-')}")
    return text


class SidecarPort(Model):
    """A port that is opened."""

    example = "{number: 8080, name: http, protocol: HTTP}"

    number: PortOrZero = 0
    """The port; 0 only for a Unix socket."""
    protocol: Protocol
    """What is spoken there."""
    name: Annotated[Str, Idle("for whoever reads it")] = ""
    """Its name."""
    target_port: Annotated[PortNumber | None, Idle("never had an effect"), Deprecated("defaultEndpoint")] = None
    """Never had an effect."""


def _endpoint(text: str) -> str:
    """What a workload may listen on, seen from its proxy."""
    if text.startswith("unix://"):
        path = text.removeprefix("unix://")
        if not path.startswith(("/", "@")) or path.endswith("/") or len(path.encode()) > MAX_SOCKET:
            raise wrong(
                f'"{shown(text)}" is no Unix socket', f"write unix:///an/absolute/path of {MAX_SOCKET} bytes at most"
            )
        return text
    host, _, port = text.rpartition(":")
    if text and host not in _OWN_ADDRESSES:
        raise wrong(f'"{shown(text)}" is not on this machine', "write 127.0.0.1:PORT, 0.0.0.0:PORT or unix:///a/path")
    if text and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise wrong(f'"{shown(port)}" is no port', "write a number from 1 to 65535")
    return text


_OWN_ADDRESSES: Final = ("127.0.0.1", "[::1]", "0.0.0.0", "[::]")


def _address(text: str) -> str:
    if not is_ip(text):
        raise wrong(f'"{shown(text)}" is no IP address', "write the address of this machine that is called")
    return text


def _called(raw: Raw) -> Iterator[Finding]:
    port, tls = inner(raw, "port"), raw.get("tls")
    spoken = port.get("protocol")
    if port.get("number", 0) == 0:
        yield Finding(("port", "number"), "port 0 is no port to be called on", "write the port, 1 to 65535")
    if isinstance(spoken, str) and spoken.upper() == "UDP":
        said = "UDP is not proxied; this entry has no effect"
        yield Finding(("port", "protocol"), said, "remove the entry", False, Severity.WARNING, NOT_SUPPORTED)
    if not isinstance(tls, dict):
        return
    if isinstance(spoken, str) and spoken.upper() not in TLS_PROTOCOLS:
        said = f"`tls` has no place on protocol {shown(spoken)}: callers speak clear text"
        yield Finding(("tls",), said, "write `protocol: HTTPS`, or TLS for TLS around TCP", at_key=True)


def _of_gateways(raw: Raw) -> Iterator[Finding]:
    if raw.get("mode") in ("ISTIO_MUTUAL", "AUTO_PASSTHROUGH"):
        said = f"mode {raw['mode']} is for gateways"
        yield Finding(("mode",), said, "write SIMPLE or MUTUAL with paths of certificates, or leave `tls` out")
    for field in _OF_GATEWAYS:
        if given(raw, field) and raw[field] not in ("", False):
            yield Finding((field,), f"`{field}` is for gateways", "remove it", at_key=True)


_OF_GATEWAYS: Final = ("credentialName", "credentialNames", "caCertCredentialName", "subjectAltNames", "httpsRedirect")
_FOR_GATEWAYS: Final = Idle("for gateways; an error")


class IngressTLSSettings(ServerTLSSettings):
    """How a port proves who it is, and whether callers must."""

    rules = (*TLS_RULES, _of_gateways)

    https_redirect: Annotated[Bool, _FOR_GATEWAYS] = False
    """Whether requests in clear text are sent to https."""
    credential_name: Annotated[Str, _FOR_GATEWAYS] = ""
    """The Secret with certificate and key."""
    credential_names: Annotated[tuple[Filled, ...] | None, _FOR_GATEWAYS] = None
    """Two Secrets, of an RSA and an ECDSA certificate."""
    ca_cert_credential_name: Annotated[Str, _FOR_GATEWAYS] = ""
    """The Secret with the authorities, if it is another."""
    subject_alt_names: Annotated[tuple[Str, ...], _FOR_GATEWAYS] = ()
    """Names, one of which a client's certificate must have."""


def _not_upgraded(raw: Raw) -> Iterator[Finding]:
    if raw.get("h2UpgradePolicy") == "UPGRADE":
        said = "`h2UpgradePolicy` has no effect on calls to a workload: it is spoken to as its port declares"
        yield Finding(("h2UpgradePolicy",), said, "write `protocol: HTTP2`", True, Severity.WARNING)


class InboundHTTPSettings(HTTPSettings):
    """Bounds of HTTP connections to a workload."""

    rules = (_not_upgraded,)

    h2_upgrade_policy: Annotated[
        Literal["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"], Idle("a workload is spoken to as its port declares")
    ] = "DEFAULT"
    """Whether HTTP/1.1 becomes HTTP/2 on the way."""


class InboundPoolSettings(ConnectionPoolSettings):
    """Bounds of the connections to a workload."""

    http: InboundHTTPSettings | None = None
    """Of HTTP."""


class IstioIngressListener(Model):
    """A port that the workload is called on."""

    rules = (_called,)
    example = "{port: {number: 8080, name: http, protocol: HTTP}, defaultEndpoint: '127.0.0.1:9080'}"

    port: SidecarPort
    """What is opened."""
    bind: Annotated[Str, AfterValidator(_address)] | None = None
    """The address that is listened on."""
    capture_mode: CaptureMode = "DEFAULT"
    """How traffic gets there."""
    default_endpoint: Annotated[Str, AfterValidator(_endpoint)] = ""
    """Where the workload really listens: `127.0.0.1:8080`, `unix:///path`."""
    tls: IngressTLSSettings | None = None
    """How the port proves who it is."""
    connection_pool: InboundPoolSettings | None = None
    """Bounds of the connections to the workload."""


class IstioEgressListener(Model):
    """What the workload may call."""

    port: SidecarPort | None = None
    """Only on this port; on all that no other entry names if left out."""
    bind: Bind | None = None
    """The address that is listened on."""
    capture_mode: CaptureMode = "DEFAULT"
    """How traffic gets there."""
    hosts: tuple[Annotated[Str, AfterValidator(_imported)], ...] = Field(min_length=1)
    """Services, as `namespace/host`."""


def _through(raw: Raw) -> Iterator[Finding]:
    proxy = raw.get("egressProxy")
    if not isinstance(proxy, dict):
        return
    if raw.get("mode") != "ALLOW_ANY":
        yield Finding(("egressProxy",), "nothing goes out, so nothing goes through it", "write `mode: ALLOW_ANY`", True)
    if not isinstance(port := proxy.get("port"), dict) or not port.get("number"):
        yield Finding(("egressProxy",), "`port` is missing", "write {host: ..., port: {number: ...}}", True)


class OutboundTrafficPolicy(Model):
    """What happens to calls of services that nobody knows."""

    rules = (_through,)

    mode: Literal["REGISTRY_ONLY", "ALLOW_ANY"] = "REGISTRY_ONLY"
    """Whether they pass."""
    egress_proxy: Destination | None = None
    """The service that they go through."""


def _once(raw: Raw) -> Iterator[Finding]:
    """Every port, and every socket, is one entry's."""
    seen: dict[object, int] = {}
    for index, listener in items(raw, "egress"):
        port = inner(listener, "port").get("number")
        place = port or listener.get("bind")
        if not place or not isinstance(place, (int, str)) or not given(listener, "port"):
            continue
        if (first := seen.setdefault(place, index)) != index:
            said = f"egress[{first}] is for {shown(str(place))} already"
            yield Finding(("egress", index, "port"), said, "join the two", at_key=True)


def _catch_all(raw: Raw) -> Iterator[Finding]:
    egress = items(raw, "egress")
    for index, listener in egress[:-1]:
        if not given(listener, "port"):
            yield Finding(
                ("egress", index), "only the last entry may be without `port`", "move it to the end", at_key=True
            )


def _different_ports(raw: Raw) -> Iterator[Finding]:
    seen: dict[object, int] = {}
    for index, listener in items(raw, "ingress"):
        port = number(inner(listener, "port"), "number")
        if port is not None and port in seen:
            said = f"port {port} is here twice, first in ingress[{seen[port]}]"
            yield Finding(("ingress", index, "port", "number"), said, "give each entry a port of its own")
        seen.setdefault(port, index)


class Sidecar(Model):
    """What a workload's proxy knows of the mesh, and what it opens itself."""

    rules = (
        AnyOf(("egress", "ingress", "outboundTrafficPolicy", "inboundConnectionPool")),
        _catch_all,
        _once,
        _different_ports,
    )

    workload_selector: WorkloadSelector | None = None
    """The workloads that it is for; all of the namespace if left out."""
    ingress: tuple[IstioIngressListener, ...] = ()
    """Ports that the workload is called on."""
    egress: tuple[IstioEgressListener, ...] = ()
    """What the workload may call."""
    inbound_connection_pool: InboundPoolSettings | None = None
    """Bounds of the connections to the workload."""
    outbound_traffic_policy: OutboundTrafficPolicy | None = None
    """What happens to calls of services that nobody knows."""
