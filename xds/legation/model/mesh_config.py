"""MeshConfig: what holds for the whole mesh. Istio writes it bare, in a file or in the ConfigMap `istio`; here it may be a
document of its own, too.

Source: https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from legation.model import commands
from legation.model.balancing import ZONES, LocalityLoadBalancerSetting, ZoneAwareLoadBalancerSetting
from legation.model.base import AnyOf, Finding, Idle, Model, NotYet, OneOf, Raw, given
from legation.model.connections import ConnectionPoolSettings, OutlierDetection, TcpKeepalive
from legation.model.gateway import TLSProtocol, limits
from legation.model.http_actions import HTTPRetry
from legation.model.proxy_defaults import ProxyDefaults
from legation.model.traffic import ExportTo
from legation.model.values import (
    Bool,
    Duration,
    DurationOrZero,
    Label,
    Line,
    PassedOver,
    PortNumber,
    PortOrZero,
    Str,
    fault_of_host,
    is_label,
    shown,
    wrong,
)
from legation.problems import Severity

_KUBERNETES: Final = NotYet("it means something inside Kubernetes only")
_NOBODY_ASKS: Final = NotYet("nothing reads it yet")

OfKubernetes = Annotated[PassedOver, _KUBERNETES]
"""What is for Istio's part in a cluster."""


class OutboundTrafficPolicy(Model):
    """What becomes of calls to hosts that nobody knows."""

    mode: Literal["REGISTRY_ONLY", "ALLOW_ANY", "ALLOW_ANY_DYNAMIC_DNS"] = "REGISTRY_ONLY"
    """Whether they go out."""
    egress_proxy: Annotated[PassedOver, NotYet("calls go out on their own")] = None
    """Where they go instead."""
    tls: Annotated[PassedOver, NotYet("calls go out as they come")] = None
    """How they are encrypted."""


class InboundTrafficPolicy(Model):
    """How a sidecar reaches its workload."""

    mode: Literal["PASSTHROUGH", "LOCALHOST"] = "PASSTHROUGH"
    """At the address that was called, or at 127.0.0.1."""


class PathNormalization(Model):
    """What is done to paths before they are matched."""

    normalization: Literal["DEFAULT", "NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"] = "DEFAULT"
    """BASE (if left out) takes out `.` and `..`; MERGE_SLASHES also makes `//` one; the last also decodes `%2F` first."""


_NOT_INBOUND: Final = ("perTryTimeout", "retryRemoteLocalities", "retryIgnorePreviousHosts")


def _of_callers(raw: Raw) -> Iterator[Finding]:
    for field in _NOT_INBOUND:
        if given(raw, field):
            said = f"`{field}` has no effect on calls to a workload"
            yield Finding((field,), said, "remove it", True, Severity.WARNING)


_FOR_CALLERS: Final = Idle("for callers: there is one workload")


class InboundRetry(HTTPRetry):
    """How often a failed call to a workload is tried again, and when."""

    rules = (*HTTPRetry.rules, _of_callers)

    per_try_timeout: Annotated[Duration | None, _FOR_CALLERS] = None
    """How long each try may take."""
    retry_remote_localities: Annotated[Bool | None, _FOR_CALLERS] = None
    """Whether the next try may go to another locality."""
    retry_ignore_previous_hosts: Annotated[Bool | None, _FOR_CALLERS] = None
    """Whether the next try avoids the hosts that failed."""


class TrafficBaseline(Model):
    """What holds for every service, unless a DestinationRule says otherwise, block by block."""

    rules = (AnyOf(("connectionPool", "outlierDetection")),)

    connection_pool: ConnectionPoolSettings | None = None
    """Bounds of the connections."""
    outlier_detection: OutlierDetection | None = None
    """Endpoints that fail are left alone for a while."""


class TLSBaseline(Model):
    """What TLS is at least."""

    rules = (limits,)

    min_protocol_version: TLSProtocol = "TLS_AUTO"
    """The oldest version."""
    cipher_suites: tuple[Str, ...] = ()
    """Cipher suites for TLS before 1.3."""
    ecdh_curves: tuple[Str, ...] = ()
    """Curves for the exchange of keys."""


def _rate(value: timedelta) -> timedelta:
    if value < timedelta(milliseconds=2):
        raise wrong("names cannot be looked up that often", "write 2ms or more")
    return value


def _trust_domain(text: str) -> str:
    if fault := fault_of_host(text, wildcard=False):
        raise wrong(f'"{shown(text)}" {fault}', "write a DNS name, such as cluster.local")
    return text


TrustDomain = Annotated[Str, AfterValidator(_trust_domain)]

_STAT_WORDS: Final = frozenset(
    {"SERVICE", "SERVICE_FQDN", "SERVICE_PORT", "SERVICE_PORT_NAME", "TARGET_PORT", "SUBSET_NAME"}
)


def _stat_name(text: str) -> str:
    for number, word in enumerate(text.split("%")):
        if number % 2 and word not in _STAT_WORDS:
            raise wrong(f'"%{shown(word)}%" stands for nothing', f"known: {', '.join(sorted(_STAT_WORDS))}")
    if text.count("%") % 2:
        raise wrong("a lone %", "write a whole word, such as %SERVICE%")
    return text


StatName = Annotated[Line, AfterValidator(_stat_name)]
"""A pattern of names: `%SERVICE%_%SERVICE_PORT%`."""


def _log_format(raw: Raw) -> Iterator[Finding]:
    """Envoy refuses the listeners of every proxy for one command that it does not know."""
    written = raw.get("accessLogFormat")
    if not isinstance(written, str) or not written:
        return
    if fault := commands.fault(written, logged=True):
        yield Finding(("accessLogFormat",), fault[0], fault[1])
    elif raw.get("accessLogEncoding") == "JSON":
        try:
            is_object = isinstance(json.loads(written), dict)
        except ValueError:
            is_object = False
        if not is_object:
            said = "with `accessLogEncoding: JSON` the format is a JSON object, and this is none"
            yield Finding(("accessLogFormat",), said, """write {"path": "%REQ(:PATH)%"}""")
    if not raw.get("accessLogFile"):
        said = "without `accessLogFile` nothing is logged"
        yield Finding(("accessLogFormat",), said, "add `accessLogFile: /dev/stdout`", True, Severity.WARNING)


def _curves(raw: Raw) -> Iterator[Finding]:
    of_mesh = raw.get("meshMTLS")
    if isinstance(of_mesh, dict) and of_mesh.get("ecdhCurves"):
        yield Finding(
            ("meshMTLS", "ecdhCurves"), "curves cannot be chosen for mutual TLS in the mesh", "remove it", True
        )


def _exported(raw: Raw) -> Iterator[Finding]:
    for field in ("defaultServiceExportTo", "defaultVirtualServiceExportTo", "defaultDestinationRuleExportTo"):
        listed = raw.get(field)
        for place, name in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(name, str) and name not in ("*", ".", "~") and not is_label(name):
                said = f'"{shown(name)}" is no namespace'
                yield Finding((field, place), said, "write a namespace, . for an object's own, or * for all")


class MeshConfig(Model):
    """What holds for the whole mesh."""

    rules = (
        _log_format,
        _curves,
        _exported,
        OneOf(("localityLbSetting", "zoneAwareLbSetting")),
    )

    # -- names --
    trust_domain: TrustDomain = "cluster.local"
    """What the identities of workloads begin with."""
    trust_domain_aliases: tuple[TrustDomain, ...] = ()
    """Other trust domains whose identities are the same workloads'."""
    root_namespace: Label = "istio-system"
    """The namespace whose rules are everyone's."""
    # -- who sees what --
    default_service_export_to: ExportTo = ()
    """Who sees services that do not say it; `*` if left out."""
    default_virtual_service_export_to: ExportTo = ()
    """Who sees VirtualServices that do not say it; `*` if left out."""
    default_destination_rule_export_to: ExportTo = ()
    """Who sees DestinationRules that do not say it; `*` if left out."""
    # -- calls that leave --
    outbound_traffic_policy: OutboundTrafficPolicy | None = None
    """What becomes of calls to hosts that nobody knows; ALLOW_ANY if left out."""
    connect_timeout: Duration = timedelta(seconds=10)
    """How long connecting to an endpoint may take, unless a DestinationRule says otherwise."""
    tcp_keepalive: TcpKeepalive | None = None
    """How dead connections to endpoints are found, unless a DestinationRule says otherwise."""
    dns_refresh_rate: Annotated[Duration, AfterValidator(_rate)] = timedelta(seconds=60)
    """How often names are looked up, where their answer does not say."""
    h2_upgrade_policy: Literal["DO_NOT_UPGRADE", "UPGRADE"] = "DO_NOT_UPGRADE"
    """Whether HTTP/1.1 becomes HTTP/2 on the way to services, unless a DestinationRule says otherwise."""
    default_traffic_policy: TrafficBaseline | None = None
    """What holds for every service, unless a DestinationRule says otherwise."""
    default_http_retry_policy: HTTPRetry | None = None
    """Retries of rules that do not say; two of what was certainly not processed if left out."""
    locality_lb_setting: LocalityLoadBalancerSetting | None = None
    """How localities share the traffic, where no DestinationRule says it."""
    zone_aware_lb_setting: Annotated[ZoneAwareLoadBalancerSetting | None, ZONES] = None
    """Whether traffic stays in a proxy's zone."""
    outbound_cluster_stat_name: StatName = ""
    """What the metrics of a service's cluster are called."""
    # -- calls that arrive --
    path_normalization: PathNormalization | None = None
    """What is done to paths before they are matched."""
    inbound_traffic_policy: InboundTrafficPolicy | None = None
    """How a sidecar reaches its workload."""
    default_inbound_http_retry_policy: InboundRetry | None = None
    """Retries of calls to a sidecar's workload."""
    inbound_cluster_stat_name: StatName = ""
    """What the metrics of a workload's own cluster are called."""
    # -- logs --
    access_log_file: Line = ""
    """Where every request is logged: /dev/stdout, or a path on the proxy's host. Nowhere if left out."""
    access_log_format: Str = ""
    """How, in Envoy's commands; Istio's own format if left out."""
    access_log_encoding: Literal["TEXT", "JSON"] = "TEXT"
    """Whether a line is plain text or JSON."""
    disable_envoy_listener_log: Bool = False
    """Whether connections that no filter chain takes are left out of the log."""
    enable_envoy_access_log_service: Annotated[Bool, NotYet("logs go to files")] = False
    """Whether logs go to a service."""
    extension_providers: Annotated[
        PassedOver, NotYet("`envoy`, which logs to standard output, is there without it")
    ] = None
    """Services for logs, metrics, traces and authorisation, by name."""
    default_providers: Annotated[PassedOver, _NOBODY_ASKS] = None
    """Which of them are used."""
    enable_tracing: Annotated[PassedOver, NotYet("nothing is traced")] = None
    """Whether requests are traced."""
    # -- encryption --
    tls_defaults: TLSBaseline | None = None
    """What TLS is at least where certificates are not the mesh's own: of servers that do not say it, and on the way out."""
    mesh_mtls: Annotated[TLSBaseline | None, Field(alias="meshMTLS"), _NOBODY_ASKS] = None
    """What mutual TLS in the mesh is at least."""
    enable_auto_mtls: Annotated[Bool | None, _NOBODY_ASKS] = None
    """Whether mutual TLS is used where both sides can."""
    ca_certificates: Annotated[PassedOver, _NOBODY_ASKS] = None
    """More authorities of workloads."""
    # -- proxies --
    default_config: ProxyDefaults | None = None
    """What holds for every proxy."""
    proxy_listen_port: PortNumber = 15001
    """Where redirected calls of a workload arrive."""
    proxy_inbound_listen_port: PortNumber = 15006
    """Where redirected calls to a workload arrive."""
    proxy_http_port: PortOrZero = 0
    """Where a sidecar is an HTTP proxy; nowhere if left out."""
    protocol_detection_timeout: DurationOrZero | None = None
    """How long the first bytes of a connection are waited for."""
    service_settings: Annotated[PassedOver, NotYet("there is one cluster, so nothing is far")] = None
    """Services that stay in their cluster."""
    # -- Kubernetes --
    ingress_class: OfKubernetes = None
    """Which Ingresses are served."""
    ingress_service: OfKubernetes = None
    """The Service of the ingress gateway."""
    ingress_controller_mode: OfKubernetes = None
    """Whether Ingresses are served."""
    ingress_selector: OfKubernetes = None
    """Which gateway serves them."""
    config_sources: OfKubernetes = None
    """Where configuration comes from; here it is files."""
    certificates: OfKubernetes = None
    """Certificates that are made for Services."""
    ca: OfKubernetes = None
    """Who signs certificates."""
    verify_certificate_at_client: OfKubernetes = None
    """Whether the system's authorities are trusted where none are named."""
    enable_prometheus_merge: OfKubernetes = None
    """Whether the agent collects metrics."""
    discovery_selectors: OfKubernetes = None
    """Which namespaces are looked at."""
    service_scope_configs: OfKubernetes = None
    """Which services are seen from other clusters."""


FROM_FLAG: Final = "command-line"
"""What the one is called that `--mesh-config` names: it goes before any other."""
FROM_CONFIG_MAP: Final = "istio.istio-system"
"""What the one in the ConfigMap is called: any other goes before it."""
