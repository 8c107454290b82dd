"""DestinationRule: what happens on the way to a service after routing: its subsets, balancing, connections, TLS.

Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import Field

from legation.model.balancing import LoadBalancerSettings
from legation.model.base import (
    EMPTY,
    AnyOf,
    Finding,
    Model,
    OneOf,
    Raw,
    Unique,
    given,
    inner,
    items,
    number,
)
from legation.model.connections import ClientTLSSettings, ConnectionPoolSettings, OutlierDetection
from legation.model.traffic import ExportTo, MatchLabels, PortSelector, Visibility
from legation.model.values import (
    DurationOrZero,
    Float,
    Host,
    Label,
    Labels,
    PortNumber,
    Uint32,
)
from legation.problems import Severity


class TunnelSettings(Model):
    """Connections go through an HTTP proxy."""

    protocol: Literal["", "CONNECT", "POST"] = ""
    """How the proxy is asked; CONNECT if left out."""
    target_host: Host
    """Where the proxy connects to."""
    target_port: PortNumber
    """The port there."""


class ProxyProtocol(Model):
    """Connections begin with a PROXY header."""

    version: Literal["V1", "V2"] = "V1"
    """Its version."""


class RetryBudget(Model):
    """Retries are bounded by a share of the requests."""

    percent: Annotated[Float, Field(ge=0, le=100)] | None = None
    """That share; 20 if left out."""
    min_retry_concurrency: Uint32 | None = None
    """So many retries at a time are always allowed; 3 if left out."""
    budget_interval: DurationOrZero | None = None
    """How long a request counts."""


_PER_PORT: Final = ("loadBalancer", "connectionPool", "outlierDetection", "tls")


class PortTrafficPolicy(Model):
    """What holds for one port, instead of the policy around it."""

    rules = (AnyOf(_PER_PORT),)

    port: PortSelector
    """The service's port."""
    load_balancer: LoadBalancerSettings | None = None
    """How the endpoint of a request is chosen."""
    connection_pool: ConnectionPoolSettings | None = None
    """Bounds of the connections."""
    outlier_detection: OutlierDetection | None = None
    """Endpoints that fail are left alone for a while."""
    tls: ClientTLSSettings | None = None
    """How connections are encrypted."""


def _failover_needs_detection(raw: Raw) -> Iterator[Finding]:
    setting = inner(raw, "loadBalancer", "localityLbSetting")
    for field in ("failover", "failoverPriority"):
        if given(setting, field) and not given(raw, "outlierDetection"):
            said = f"`{field}` has no effect without `outlierDetection`: nobody would know what failed"
            where = ("loadBalancer", "localityLbSetting", field)
            yield Finding(where, said, "add `outlierDetection`", True, Severity.WARNING)


def _ports_twice(raw: Raw) -> Iterator[Finding]:
    seen: set[int] = set()
    for index, entry in items(raw, "portLevelSettings"):
        port = number(inner(entry, "port"), "number")
        if port is not None and port in seen:
            said = f"port {port} is here twice, and the first entry counts"
            yield Finding(("portLevelSettings", index, "port"), said, "join the two", severity=Severity.WARNING)
        seen.add(port or 0)


class TrafficPolicy(Model):
    """What happens on the way to a service."""

    rules = (
        AnyOf((*_PER_PORT, "portLevelSettings", "tunnel", "proxyProtocol", "retryBudget")),
        OneOf(("tunnel", "proxyProtocol")),
        _failover_needs_detection,
        _ports_twice,
    )
    example = "{loadBalancer: {simple: ROUND_ROBIN}}"

    load_balancer: LoadBalancerSettings | None = None
    """How the endpoint of a request is chosen."""
    connection_pool: ConnectionPoolSettings | None = None
    """Bounds of the connections."""
    outlier_detection: OutlierDetection | None = None
    """Endpoints that fail are left alone for a while."""
    tls: ClientTLSSettings | None = None
    """How connections are encrypted."""
    port_level_settings: Annotated[tuple[PortTrafficPolicy, ...], Field(max_length=4096)] = ()
    """What holds for single ports."""
    tunnel: TunnelSettings | None = None
    """Connections that are passed on as they are go through an HTTP proxy."""
    proxy_protocol: ProxyProtocol | None = None
    """Connections begin with a PROXY header."""
    retry_budget: RetryBudget | None = None
    """Retries are bounded by a share of the requests."""


class Subset(Model):
    """Some of a service's endpoints, by their labels."""

    name: Label
    """Its name, for `destination.subset`."""
    labels: Labels = EMPTY
    """Labels that an endpoint must have; without any, it has all endpoints."""
    traffic_policy: TrafficPolicy | None = None
    """What holds for this subset, block by block instead of the service's."""


def _private(raw: Raw) -> Iterator[Finding]:
    if given(raw, "workloadSelector"):
        exported = raw.get("exportTo")
        if isinstance(exported, list) and any(name != "." for name in exported):
            said = "with `workloadSelector` it holds in its own namespace only"
            yield Finding(("exportTo",), said, "write [.], or remove it", at_key=True)


class DestinationRule(Model):
    """What happens on the way to a service after routing."""

    rules = (Unique("subsets", by="name"), Visibility(), _private)

    host: Host
    """The service: its name, or a wildcard for several."""
    traffic_policy: TrafficPolicy | None = None
    """What holds for all of its ports and subsets."""
    subsets: tuple[Subset, ...] = ()
    """Parts of its endpoints, by labels."""
    export_to: ExportTo = ()
    """The namespaces that see it: `*` all (if left out), `.` its own, or names."""
    workload_selector: MatchLabels | None = None
    """The calling workloads that it holds for; all if left out."""

    def subset(self, name: str) -> Subset | None:
        """The subset of this name, if it has one."""
        return next((subset for subset in self.subsets if subset.name == name), None)
