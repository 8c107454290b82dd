"""Connections, as a DestinationRule bounds, watches and encrypts them.

Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, Field

from legation.model.base import (
    AnyOf,
    Deprecated,
    Finding,
    Idle,
    Model,
    Raw,
    Rule,
    given,
    number,
)
from legation.model.values import (
    Bool,
    Count,
    Duration,
    DurationOrZero,
    Filled,
    Int,
    Str,
    Uint32,
    shown,
    wrong,
)
from legation.problems import Severity

_LONGEST: Final = 32767


def _probing(wait: timedelta) -> timedelta:
    if wait.total_seconds() > _LONGEST:
        raise wrong(f"{wait.total_seconds():g}s is more than a socket can be told", f"the longest time is {_LONGEST}s")
    return wait


Probing = Annotated[Duration, AfterValidator(_probing)]
"""A time between probes; sockets count it in whole seconds, up to nine hours."""


class TcpKeepalive(Model):
    """How dead connections are found."""

    probes: Annotated[Uint32, Field(le=127)] = 0
    """Probes without an answer after which a connection is dead."""
    time: Probing | None = None
    """How long a connection is idle before the first probe."""
    interval: Probing | None = None
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

    rules: ClassVar[tuple[Rule, ...]] = (_upgrade,)

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

    consecutive_errors: Annotated[
        Int | None, Idle("never counted, in Istio neither"), Deprecated("consecutive5xxErrors")
    ] = None
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
    """The most endpoints that may be left alone, in percent; 10 if left out, so that of fewer than ten none ever is."""
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
    idle: tuple[str, ...] = ()
    if mode == "DISABLE":
        idle = tuple(field for field in written if field != "mode")
    elif mode == "SIMPLE":
        idle = ("clientCertificate", "privateKey")
    elif mode == "ISTIO_MUTUAL":
        idle = (*_CLIENT_FILES, "credentialName", "insecureSkipVerify")
    for field in idle:
        if field in written:
            said = f"`{field}` has no effect in mode {mode}"
            if "mode" not in raw:
                said = f"without `mode` nothing is encrypted, and `{field}` has no effect"
            hint = "say `mode: SIMPLE` or `MUTUAL`" if mode == "DISABLE" else "remove it, or say `mode: MUTUAL`"
            yield Finding((field,), said, hint, True, Severity.WARNING)
    if raw.get("insecureSkipVerify") is True and mode in ("SIMPLE", "MUTUAL"):
        for field in ("caCertificates", "subjectAltNames", *(("credentialName",) if mode == "SIMPLE" else ())):
            if field in written:
                said = f"`{field}` has no effect with `insecureSkipVerify`"
                yield Finding((field,), said, "remove one of the two", at_key=True)


def _server_name(text: str) -> str:
    if len(text.encode()) > 255:
        raise wrong(f'"{shown(text)}" is longer than 255 bytes', "name a host")
    return text


def _path(text: str) -> str:
    if "~" in text:
        raise wrong(f'"{shown(text)}" has a `~`, which nobody expands here', "write the whole path")
    return text


FilePath = Annotated[Str, AfterValidator(_path)]
"""A file on the proxy's host."""


class ClientTLSSettings(Model):
    """How connections to a service are encrypted."""

    rules = (_client_tls,)
    example = "{mode: SIMPLE}"

    mode: Literal["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"] = "DISABLE"
    """Who proves what: SIMPLE the service, MUTUAL both."""
    client_certificate: FilePath = ""
    """The path of the client certificate's chain, on the proxy's host."""
    private_key: FilePath = ""
    """The path of its key."""
    ca_certificates: Str = ""
    """The path of the authorities that the service's certificate comes from; the system's if left out."""
    credential_name: Str = ""
    """The Secret with certificate, key and authorities."""
    subject_alt_names: tuple[Filled, ...] = ()
    """Names, one of which the service's certificate must have."""
    sni: Annotated[Str, AfterValidator(_server_name)] = ""
    """The name that is asked for."""
    insecure_skip_verify: Bool | None = None
    """Whether any certificate of the service is accepted."""
    ca_crl: Str = ""
    """The path of a list of revoked certificates."""
