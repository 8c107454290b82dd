"""MeshConfig `defaultConfig`: what holds for every proxy. Only what a server says at run time is in force; what an agent
beside the proxy or Envoy's bootstrap would need is known by name.

Source: https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#ProxyConfig
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from legation.model.base import EMPTY, Model, NotYet
from legation.model.values import Bool, Count, Line, Map, PassedOver, Str, Uint32

_BOOTSTRAP: Final = NotYet("it belongs to the proxy's bootstrap, see `legation bootstrap`")
_AGENT: Final = NotYet("it belongs to an agent beside the proxy, and there is none")

AtBootstrap = Annotated[PassedOver, _BOOTSTRAP]
"""What only a start file can say."""
OfAgent = Annotated[PassedOver, _AGENT]
"""What only Istio's agent does."""

ForwardedCertificate = Literal[
    "UNDEFINED", "SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "SANITIZE_SET", "ALWAYS_FORWARD_ONLY"
]


class ProxyProtocol(Model):
    """Connections to a gateway begin with a PROXY header."""


class Topology(Model):
    """What stands in front of gateways."""

    example = "{numTrustedProxies: 1}"

    num_trusted_proxies: Uint32 = 0
    """How many proxies in front are trusted to say who the client is."""
    forward_client_cert_details: ForwardedCertificate = "UNDEFINED"
    """What becomes of X-Forwarded-Client-Cert; SANITIZE_SET at a gateway if left out."""
    proxy_protocol: ProxyProtocol | None = None
    """Connections to a gateway begin with a PROXY header."""


class Switch(Model):
    """Something that can be turned off."""

    example = "{disabled: true}"

    disabled: Bool | None = None
    """Whether it is off."""


class ServerHeader(Model):
    """The header that says who answers."""

    disabled: Bool | None = None
    """Whether it is left as the service sends it."""
    value: Line = ""
    """What it says; istio-envoy if left out."""


class ForwardedHeader(Model):
    """A header about the way that a request came."""

    enabled: Bool | None = None
    """Whether it is added."""


class CertificateDetails(Model):
    """What is told of a client's certificate."""

    subject: Bool | None = None
    """Its subject."""
    cert: Bool | None = None
    """The certificate itself."""
    chain: Bool | None = None
    """All that it comes from."""
    dns: Bool | None = None
    """The DNS names in it."""
    uri: Bool | None = None
    """The URIs in it."""


class MetadataExchange(Model):
    """Headers with which Istio's own proxies introduce themselves."""

    mode: Literal["UNDEFINED", "IN_MESH"] = "UNDEFINED"
    """When."""


class ProxyHeaders(Model):
    """Which headers proxies add."""

    forwarded_client_cert: ForwardedCertificate = "UNDEFINED"
    """What becomes of X-Forwarded-Client-Cert at a sidecar; APPEND_FORWARD if left out."""
    set_current_client_cert_details: CertificateDetails | None = None
    """What a workload is told of a client's certificate; subject, DNS names and URIs if left out."""
    request_id: Switch | None = None
    """X-Request-Id."""
    server: ServerHeader | None = None
    """Server."""
    attempt_count: Switch | None = None
    """X-Envoy-Attempt-Count."""
    envoy_debug_headers: Switch | None = None
    """Envoy's own headers about a request, such as X-Envoy-Upstream-Service-Time."""
    metadata_exchange_headers: Annotated[
        MetadataExchange | None, NotYet("Envoy, other than Istio's build of it, never sends them")
    ] = None
    """Headers with which Istio's own proxies introduce themselves."""
    preserve_http1_header_case: Bool | None = None
    """Whether the names of HTTP/1.1 headers keep their capitals."""
    x_forwarded_host: ForwardedHeader | None = None
    """X-Forwarded-Host, of a request whose host is rewritten."""
    x_forwarded_port: ForwardedHeader | None = None
    """X-Forwarded-Port: the port that the client called."""


class ProxyDefaults(Model):
    """What holds for every proxy."""

    gateway_topology: Topology | None = None
    """What stands in front of gateways."""
    proxy_headers: ProxyHeaders | None = None
    """Which headers proxies add."""
    concurrency: Annotated[Count | None, NotYet("it counts when a proxy starts: `envoy --concurrency`")] = None
    """The number of threads of a proxy; 0 for one per core."""
    tracing: Annotated[PassedOver, NotYet("nothing is traced")] = None
    """Where traces go."""
    connection_settings: Annotated[PassedOver, NotYet("Envoy's own bounds hold")] = None
    """Bounds of clients' connections."""
    private_key_provider: Annotated[PassedOver, NotYet("keys are used as they are")] = None
    """Hardware that keeps private keys."""
    interception_mode: Annotated[
        Literal["REDIRECT", "TPROXY", "NONE"] | None, NotYet("every proxy says for itself: `bootstrap --capture`")
    ] = None
    """How a sidecar's traffic reaches it."""
    proxy_metadata: Annotated[Map[Str, Str], Field(max_length=1024), NotYet("there is no agent to read it")] = EMPTY
    """Environment variables of the agent."""
    discovery_address: AtBootstrap = None
    """Where the server is."""
    proxy_admin_port: AtBootstrap = None
    """The port of Envoy's admin interface."""
    service_cluster: AtBootstrap = None
    """The proxy's cluster in its node."""
    tracing_service_name: AtBootstrap = None
    """The proxy's name in traces."""
    drain_duration: AtBootstrap = None
    """How long connections may last when a listener goes."""
    termination_drain_duration: AtBootstrap = None
    """How long connections may last when the proxy ends."""
    stat_name_length: AtBootstrap = None
    """The longest name of a metric."""
    proxy_stats_matcher: AtBootstrap = None
    """Which metrics there are."""
    extra_stat_tags: AtBootstrap = None
    """More labels of metrics."""
    stats_compression: AtBootstrap = None
    """Whether metrics are compressed."""
    file_flush_interval: AtBootstrap = None
    """How often logs are written."""
    file_flush_min_size_kb: AtBootstrap = None
    """How much is logged before it is written."""
    runtime_values: AtBootstrap = None
    """Switches of Envoy."""
    mesh_id: AtBootstrap = None
    """The name of the mesh."""
    zipkin_address: AtBootstrap = None
    """Where traces go."""
    statsd_udp_address: AtBootstrap = None
    """Where metrics go."""
    envoy_metrics_service: AtBootstrap = None
    """Where metrics go."""
    envoy_metrics_service_address: AtBootstrap = None
    """Where metrics go."""
    envoy_access_log_service: AtBootstrap = None
    """Where logs go."""
    custom_config_file: AtBootstrap = None
    """A start file of one's own."""
    proxy_bootstrap_template_path: AtBootstrap = None
    """The template of the start file."""
    config_path: OfAgent = None
    """Where the agent writes files."""
    binary_path: OfAgent = None
    """Where Envoy is."""
    control_plane_auth_policy: OfAgent = None
    """How the agent trusts the server."""
    status_port: OfAgent = None
    """Where the agent says how it is."""
    readiness_probe: OfAgent = None
    """How the agent finds out how the workload is."""
    hold_application_until_proxy_starts: OfAgent = None
    """Whether the workload waits for the proxy."""
    ca_certificates_pem: OfAgent = None
    """More authorities."""
    image: OfAgent = None
    """The image of the proxy's container."""
