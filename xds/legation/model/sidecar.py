"""Sidecar: what a workload's proxy knows of the mesh, and what it opens itself.

Source: https://istio.io/latest/docs/reference/config/networking/sidecar/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from legation.model.base import AnyOf, Deprecated, Finding, Model, NotYet, Raw, given, items
from legation.model.connections import ConnectionPoolSettings
from legation.model.gateway import Protocol, ServerTLSSettings
from legation.model.traffic import Destination, WorkloadSelector
from legation.model.values import Bind, PortNumber, PortOrZero, Str, fault_of_host, is_label, shown, wrong

_NO_CALLS_YET: Final = NotYet("sidecars take no calls yet")
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
    name: Str = ""
    """Its name."""
    target_port: Annotated[PortNumber | None, Deprecated("defaultEndpoint")] = None
    """Never had an effect."""


class IstioIngressListener(Model):
    """A port that the workload is called on."""

    port: SidecarPort
    """What is opened."""
    bind: Bind | None = None
    """The address that is listened on."""
    capture_mode: CaptureMode = "DEFAULT"
    """How traffic gets there."""
    default_endpoint: Str = ""
    """Where the workload really listens: `127.0.0.1:8080`, `unix:///path`."""
    tls: ServerTLSSettings | None = None
    """How the port proves who it is."""
    connection_pool: ConnectionPoolSettings | None = None
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


class OutboundTrafficPolicy(Model):
    """What happens to calls of services that nobody knows."""

    mode: Literal["REGISTRY_ONLY", "ALLOW_ANY"] = "REGISTRY_ONLY"
    """Whether they pass."""
    egress_proxy: Destination | None = None
    """The service that they go through."""


def _catch_all(raw: Raw) -> Iterator[Finding]:
    egress = items(raw, "egress")
    for index, listener in egress[:-1]:
        if not given(listener, "port"):
            yield Finding(
                ("egress", index), "only the last entry may be without `port`", "move it to the end", at_key=True
            )


class Sidecar(Model):
    """What a workload's proxy knows of the mesh, and what it opens itself."""

    rules = (AnyOf(("egress", "ingress", "outboundTrafficPolicy", "inboundConnectionPool")), _catch_all)

    workload_selector: WorkloadSelector | None = None
    """The workloads that it is for; all of the namespace if left out."""
    ingress: Annotated[tuple[IstioIngressListener, ...], _NO_CALLS_YET] = ()
    """Ports that the workload is called on."""
    egress: Annotated[tuple[IstioEgressListener, ...], NotYet("sidecars import the whole mesh")] = ()
    """What the workload may call."""
    inbound_connection_pool: Annotated[ConnectionPoolSettings | None, _NO_CALLS_YET] = None
    """Bounds of the connections to the workload."""
    outbound_traffic_policy: Annotated[
        OutboundTrafficPolicy | None, NotYet("calls to hosts that nobody knows are answered 502")
    ] = None
    """What happens to calls of services that nobody knows."""
