"""DestinationRule: what happens on the way to a service after routing: its subsets, balancing, connections, TLS.

Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from legation.model.base import (
    EMPTY,
    AnyOf,
    Deprecated,
    Finding,
    Model,
    NotYet,
    OneOf,
    Raw,
    Unique,
    given,
    inner,
    number,
)
from legation.model.traffic import ExportTo, MatchLabels, PortSelector, Visibility
from legation.model.values import (
    Bool,
    Count,
    Duration,
    DurationOrZero,
    Filled,
    Float,
    Host,
    Int,
    Label,
    Labels,
    Map,
    PortNumber,
    Str,
    Uint32,
    Uint64,
    shown,
    wrong,
)
from legation.problems import Severity

# --- balancing ----------------------------------------------------------------------------------------------------


class RingHash(Model):
    """Consistent hashing on a ring."""

    minimum_ring_size: Annotated[Uint64, Field(le=8388608)] = 0
    """The least number of places on it; 1024 if left out."""


_LARGEST_TABLE: Final = 5000011


def _prime(size: int) -> int:
    if size < 2 or any(size % divisor == 0 for divisor in range(2, int(size**0.5) + 1)):
        raise wrong(f"{size} is no prime number", "write a prime, such as 65537")
    return size


class MagLev(Model):
    """Consistent hashing by table."""

    table_size: Annotated[Uint64, Field(lt=_LARGEST_TABLE), AfterValidator(_prime)] | None = None
    """The size of the table, a prime; 65537 if left out."""


class CookieAttribute(Model):
    """An attribute of a cookie."""

    name: Filled
    """Its name, such as `SameSite`."""
    value: Str = ""
    """Its value."""


class HTTPCookie(Model):
    """A cookie whose value decides."""

    rules = (Unique("attributes", by="name"),)
    example = "{name: session, ttl: 0s}"

    name: Filled
    """Its name."""
    path: Str = ""
    """The path that it is set for."""
    ttl: DurationOrZero | None = None
    """How long it lives if the proxy makes it; 0s for a session. Left out, the proxy makes none."""
    attributes: tuple[CookieAttribute, ...] = ()
    """Further attributes."""


def _ring_size(raw: Raw) -> Iterator[Finding]:
    if given(raw, "minimumRingSize"):
        for field in ("ringHash", "maglev"):
            if given(raw, field):
                said = f"`minimumRingSize` and `{field}` exclude each other"
                yield Finding(("minimumRingSize",), said, "write it under `ringHash`", at_key=True)


class ConsistentHashLB(Model):
    """Requests that are alike go to the same endpoint."""

    rules = (
        OneOf(("httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName")),
        OneOf(("ringHash", "maglev")),
        _ring_size,
    )
    example = "{httpHeaderName: x-user}"

    http_header_name: Filled | None = None
    """Alike by a header."""
    http_cookie: HTTPCookie | None = None
    """Alike by a cookie."""
    use_source_ip: Bool | None = None
    """Alike by the caller's address."""
    http_query_parameter_name: Filled | None = None
    """Alike by a query parameter."""
    ring_hash: RingHash | None = None
    """By ring, which is how it is done if left out."""
    maglev: MagLev | None = None
    """By table."""
    minimum_ring_size: Annotated[
        Annotated[Uint64, Field(le=8388608)] | None, Deprecated("ringHash.minimumRingSize")
    ] = None
    """The least number of places on the ring."""


def _shares(raw: Raw) -> Iterator[Finding]:
    shares = list(inner(raw, "to").values())
    if shares and all(type(share) is int for share in shares) and sum(shares) != 100:
        yield Finding(("to",), f"the shares sum to {sum(shares)}, not to 100", "change them to 100 in all", at_key=True)


class Distribute(Model):
    """How traffic from one locality is spread."""

    rules = (_shares,)

    from_: Filled
    """Where it comes from: `region/zone/subzone`, `*` for any tail."""
    to: Map[Filled, Annotated[Uint32, Field(ge=1, le=100)]]
    """Where it goes: localities with their shares, 100 in all."""


def _regions(raw: Raw) -> Iterator[Finding]:
    for field in ("from", "to"):
        region = raw.get(field)
        if isinstance(region, str) and ("/" in region or "*" in region):
            yield Finding((field,), f'"{shown(region)}" is no region', "name a region alone, without zone or wildcard")
    if raw.get("from") == raw.get("to") and given(raw, "from"):
        yield Finding(("to",), "a region cannot take over from itself", "name another region")


class Failover(Model):
    """Where traffic of a region goes when that region fails."""

    rules = (_regions,)

    from_: Filled
    """The region that fails."""
    to: Filled
    """The region that takes over."""


class LocalityLoadBalancerSetting(Model):
    """How localities share the traffic, or take over from each other."""

    rules = (OneOf(("distribute", "failover")), OneOf(("distribute", "failoverPriority")))

    distribute: tuple[Distribute, ...] = ()
    """How traffic is spread, by where it comes from."""
    failover: tuple[Failover, ...] = ()
    """Which region takes over from which."""
    failover_priority: tuple[Filled, ...] = ()
    """Labels in order: endpoints that share the first ones with the proxy are preferred."""
    enabled: Bool | None = None
    """Whether it is on."""


class ZoneAwareLoadBalancerSetting(Model):
    """Traffic stays in the proxy's zone as long as that zone can carry its share."""

    enabled: Bool | None = None
    """Whether it is on."""
    failover: tuple[Failover, ...] = ()
    """Which region takes over from which."""
    failover_priority: tuple[Filled, ...] = ()
    """Labels in order: endpoints that share the first ones with the proxy are preferred."""
    min_cluster_size: Annotated[Uint64, Field(ge=1)] | None = None
    """With fewer endpoints it is off."""


def _positive(value: float) -> float:
    if value <= 0:
        raise wrong(f"{value:g} is too little", "write a number above 0")
    return value


class WarmupConfiguration(Model):
    """New endpoints get their share little by little."""

    example = "{duration: 30s}"

    duration: Duration
    """How long until they have all of it."""
    minimum_percent: Annotated[Float, Field(ge=0, le=100)] | None = None
    """What they begin with, in percent; 10 if left out."""
    aggression: Annotated[Float, AfterValidator(_positive)] | None = None
    """How the share grows: 1 (if left out) is linear."""


Simple = Literal["UNSPECIFIED", "LEAST_CONN", "RANDOM", "PASSTHROUGH", "ROUND_ROBIN", "LEAST_REQUEST"]


class LoadBalancerSettings(Model):
    """How the endpoint of a request is chosen."""

    rules = (
        OneOf(("simple", "consistentHash")),
        OneOf(("warmupDurationSecs", "warmup")),
        OneOf(("localityLbSetting", "zoneAwareLbSetting")),
    )
    example = "{simple: ROUND_ROBIN}"

    simple: Annotated[Simple | None, Deprecated("LEAST_REQUEST", values=frozenset({"LEAST_CONN"}))] = None
    """By a plain rule; LEAST_REQUEST if left out."""
    consistent_hash: Annotated[ConsistentHashLB | None, NotYet("LEAST_REQUEST is used")] = None
    """Requests that are alike go to the same endpoint."""
    locality_lb_setting: Annotated[LocalityLoadBalancerSetting | None, NotYet()] = None
    """How localities share the traffic, or take over from each other."""
    zone_aware_lb_setting: Annotated[ZoneAwareLoadBalancerSetting | None, NotYet()] = None
    """Traffic stays in the proxy's zone."""
    warmup_duration_secs: Annotated[Duration | None, NotYet(), Deprecated("warmup")] = None
    """How long until new endpoints have all of their share."""
    warmup: Annotated[WarmupConfiguration | None, NotYet()] = None
    """New endpoints get their share little by little."""


# --- connections --------------------------------------------------------------------------------------------------


class TcpKeepalive(Model):
    """How dead connections are found."""

    probes: Uint32 = 0
    """Probes without an answer after which a connection is dead."""
    time: Duration | None = None
    """How long a connection is idle before the first probe."""
    interval: Duration | None = None
    """The time between probes."""


class TCPSettings(Model):
    """Bounds of all connections."""

    max_connections: Count = 0
    """The most connections; without bound if left out."""
    connect_timeout: Duration | None = None
    """How long connecting may take."""
    tcp_keepalive: TcpKeepalive | None = None
    """How dead connections are found."""
    max_connection_duration: Duration | None = None
    """How long a connection may live."""
    idle_timeout: DurationOrZero | None = None
    """How long a connection may be idle; 0s for ever."""


class ConnectionKeepalive(Model):
    """How dead HTTP/2 connections are found."""

    interval: Duration
    """The time between pings."""
    timeout: Duration
    """How long an answer may take."""


def _upgrade(raw: Raw) -> Iterator[Finding]:
    if raw.get("h2UpgradePolicy") == "UPGRADE" and raw.get("useClientProtocol") is True:
        said = "`useClientProtocol` and `h2UpgradePolicy: UPGRADE` exclude each other"
        yield Finding(("useClientProtocol",), said, "keep one of the two", at_key=True)


class HTTPSettings(Model):
    """Bounds of HTTP connections."""

    rules = (_upgrade,)

    http1_max_pending_requests: Count = 0
    """The most requests that wait for a connection; without bound if left out."""
    http2_max_requests: Count = 0
    """The most requests at a time; without bound if left out."""
    max_requests_per_connection: Count = 0
    """The most requests of one connection; 1 turns keep-alive off."""
    max_retries: Count = 0
    """The most retries at a time; without bound if left out."""
    idle_timeout: Duration | None = None
    """How long a connection may be without requests."""
    h2_upgrade_policy: Literal["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"] = "DEFAULT"
    """Whether HTTP/1.1 becomes HTTP/2 on the way."""
    use_client_protocol: Bool = False
    """Whether the client's version of HTTP is used."""
    max_concurrent_streams: Count = 0
    """The most requests at a time on one HTTP/2 connection."""
    http2_keep_alive: ConnectionKeepalive | None = None
    """How dead HTTP/2 connections are found."""


class ConnectionPoolSettings(Model):
    """Bounds of the connections to a service."""

    rules = (AnyOf(("tcp", "http")),)

    tcp: TCPSettings | None = None
    """Of all connections."""
    http: HTTPSettings | None = None
    """Of HTTP."""


def _local_failures(raw: Raw) -> Iterator[Finding]:
    if (number(raw, "consecutiveLocalOriginFailures") or 0) > 0 and raw.get(
        "splitExternalLocalOriginErrors"
    ) is not True:
        said = "`consecutiveLocalOriginFailures` needs `splitExternalLocalOriginErrors: true`"
        yield Finding(("consecutiveLocalOriginFailures",), said, "set it too, or remove this one", at_key=True)


class OutlierDetection(Model):
    """Endpoints that fail are left alone for a while."""

    rules = (_local_failures,)
    example = "{consecutive5xxErrors: 5}"

    consecutive_errors: Annotated[Int | None, Deprecated("consecutive5xxErrors")] = None
    """Has no effect any more."""
    split_external_local_origin_errors: Bool = False
    """Whether failures to connect are counted apart from the service's errors."""
    consecutive_local_origin_failures: Uint32 | None = None
    """Failures to connect in a row after which an endpoint is left alone."""
    consecutive_gateway_errors: Uint32 | None = None
    """502, 503 and 504 in a row after which an endpoint is left alone; 0 turns it off."""
    consecutive_5xx_errors: Uint32 | None = None
    """Errors in a row after which an endpoint is left alone; 5 if left out, 0 turns it off."""
    interval: Duration | None = None
    """The time between looks; 10s if left out."""
    base_ejection_time: Duration | None = None
    """How long an endpoint is left alone the first time; 30s if left out."""
    max_ejection_percent: Annotated[Int, Field(ge=0, le=100)] = 0
    """The most endpoints that may be left alone, in percent; 10 if left out."""
    min_health_percent: Annotated[Int, Field(ge=0, le=100)] = 0
    """With fewer healthy endpoints, in percent, all are used."""
    outlier_detection_http_error_codes: tuple[Annotated[Uint32, Field(ge=100, le=599)], ...] = ()
    """Which statuses count as errors; 500 to 599 if left out."""


_CLIENT_FILES: Final = ("clientCertificate", "privateKey", "caCertificates", "caCrl")


def _client_tls(raw: Raw) -> Iterator[Finding]:
    mode = raw.get("mode", "DISABLE")
    written = [field for field in raw if given(raw, field) and raw[field] != ""]
    secret = "credentialName" in written
    if secret:
        for field in _CLIENT_FILES:
            if field in written:
                said = f"`{field}` and `credentialName` exclude each other"
                yield Finding((field,), said, "take all from the Secret, or all from files", at_key=True)
    if mode == "MUTUAL" and not secret:
        for field in ("clientCertificate", "privateKey"):
            if field not in written:
                said = f"mode MUTUAL needs a certificate: `{field}` is missing"
                yield Finding((), said, "add `clientCertificate` and `privateKey`, or `credentialName`", at_key=True)
    if raw.get("insecureSkipVerify") is True and mode in ("SIMPLE", "MUTUAL"):
        for field in ("caCertificates", "subjectAltNames", *(("credentialName",) if mode == "SIMPLE" else ())):
            if field in written:
                said = f"`{field}` has no effect with `insecureSkipVerify`"
                yield Finding((field,), said, "remove one of the two", at_key=True)


class ClientTLSSettings(Model):
    """How connections to a service are encrypted."""

    rules = (_client_tls,)
    example = "{mode: SIMPLE}"

    mode: Literal["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"] = "DISABLE"
    """Who proves what: SIMPLE the service, MUTUAL both."""
    client_certificate: Str = ""
    """The path of the client certificate's chain, on the proxy's host."""
    private_key: Str = ""
    """The path of its key."""
    ca_certificates: Str = ""
    """The path of the authorities that the service's certificate comes from; the system's if left out."""
    credential_name: Str = ""
    """The Secret with certificate, key and authorities."""
    subject_alt_names: tuple[Str, ...] = ()
    """Names, one of which the service's certificate must have."""
    sni: Str = ""
    """The name that is asked for."""
    insecure_skip_verify: Bool | None = None
    """Whether any certificate of the service is accepted."""
    ca_crl: Str = ""
    """The path of a list of revoked certificates."""


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


_PLAIN: Final = "connections go out as they come in, in clear text or not"


def _failover_needs_detection(raw: Raw) -> Iterator[Finding]:
    setting = inner(raw, "loadBalancer", "localityLbSetting")
    for field in ("failover", "failoverPriority"):
        if given(setting, field) and not given(raw, "outlierDetection"):
            said = f"`{field}` has no effect without `outlierDetection`: nobody would know what failed"
            where = ("loadBalancer", "localityLbSetting", field)
            yield Finding(where, said, "add `outlierDetection`", True, Severity.WARNING)


class TrafficPolicy(Model):
    """What happens on the way to a service."""

    rules = (
        AnyOf((*_PER_PORT, "portLevelSettings", "tunnel", "proxyProtocol", "retryBudget")),
        OneOf(("tunnel", "proxyProtocol")),
        _failover_needs_detection,
    )
    example = "{loadBalancer: {simple: ROUND_ROBIN}}"

    load_balancer: LoadBalancerSettings | None = None
    """How the endpoint of a request is chosen."""
    connection_pool: Annotated[ConnectionPoolSettings | None, NotYet("connections have no bounds")] = None
    """Bounds of the connections."""
    outlier_detection: Annotated[OutlierDetection | None, NotYet("failing endpoints are used")] = None
    """Endpoints that fail are left alone for a while."""
    tls: Annotated[ClientTLSSettings | None, NotYet(_PLAIN)] = None
    """How connections are encrypted."""
    port_level_settings: Annotated[tuple[PortTrafficPolicy, ...], NotYet(), Field(max_length=4096)] = ()
    """What holds for single ports."""
    tunnel: Annotated[TunnelSettings | None, NotYet()] = None
    """Connections go through an HTTP proxy."""
    proxy_protocol: Annotated[ProxyProtocol | None, NotYet()] = None
    """Connections begin with a PROXY header."""
    retry_budget: Annotated[RetryBudget | None, NotYet()] = None
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
    workload_selector: Annotated[MatchLabels | None, NotYet("it holds for all workloads")] = None
    """The calling workloads that it holds for; all if left out."""

    def subset(self, name: str) -> Subset | None:
        """The subset of this name, if it has one."""
        return next((subset for subset in self.subsets if subset.name == name), None)
