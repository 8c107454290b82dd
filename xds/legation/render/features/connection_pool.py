"""DestinationRule `connectionPool`: bounds of connections and requests, and which HTTP is spoken.

Envoy: Cluster's connect_timeout, circuit_breakers and upstream_connection_options, and HttpProtocolOptions.
"""

from __future__ import annotations

from datetime import timedelta

from envoy.config.cluster.v3 import cluster_pb2

from legation.model.connections import HTTPSettings, TCPSettings
from legation.render import wire
from legation.render.draft import ClusterDraft

CONNECT_TIMEOUT = timedelta(seconds=10)
"""MeshConfig.connectTimeout's default."""

_ORDINARY = HTTPSettings()


def apply(draft: ClusterDraft) -> None:
    """Istio sets every bound that nobody asked for to the highest number; Envoy's own (1024 requests, 3 retries) never
    apply.
    """
    pool = draft.policy.connection_pool
    if pool is None:
        draft.made.MergeFrom(_UNBOUNDED)  # copied: most clusters are like this
        _protocol(draft, _ORDINARY)
        return
    tcp, http = pool.tcp, pool.http or _ORDINARY
    _bound(draft.made, tcp, http)
    if tcp is not None:
        _keepalive(draft, tcp)
        _lifetime(draft, tcp)
    _protocol(draft, http)


def _bound(made: cluster_pb2.Cluster, tcp: TCPSettings | None, http: HTTPSettings) -> None:
    timeout = tcp.connect_timeout if tcp is not None else None
    wire.set_duration(made.connect_timeout, timeout or CONNECT_TIMEOUT)
    bounds = made.circuit_breakers.thresholds.add()
    bounds.max_connections.value = (tcp.max_connections if tcp is not None else 0) or wire.UNLIMITED
    bounds.max_pending_requests.value = http.http1_max_pending_requests or wire.UNLIMITED
    bounds.max_requests.value = http.http2_max_requests or wire.UNLIMITED
    bounds.max_retries.value = http.max_retries or wire.UNLIMITED


_UNBOUNDED = cluster_pb2.Cluster()
_bound(_UNBOUNDED, None, _ORDINARY)


def _keepalive(draft: ClusterDraft, tcp: TCPSettings) -> None:
    """An empty block turns probes on, as the system has them. Sockets count whole seconds, and refuse none at all."""
    written = tcp.tcp_keepalive
    if written is None:
        return
    made = draft.made.upstream_connection_options.tcp_keepalive
    made.SetInParent()
    if written.probes:
        made.keepalive_probes.value = written.probes
    if written.time is not None:
        made.keepalive_time.value = max(1, int(written.time.total_seconds()))
    if written.interval is not None:
        made.keepalive_interval.value = max(1, int(written.interval.total_seconds()))


def _lifetime(draft: ClusterDraft, tcp: TCPSettings) -> None:
    common = draft.http.common_http_protocol_options
    if tcp.max_connection_duration is not None:
        common.max_connection_duration.FromTimedelta(tcp.max_connection_duration)
    if tcp.idle_timeout is not None:
        common.idle_timeout.FromTimedelta(tcp.idle_timeout)


def _protocol(draft: ClusterDraft, http: HTTPSettings) -> None:
    """HTTP/2 where the port's protocol is it, or it is asked for; the caller's version goes before both."""
    if http.max_requests_per_connection:
        draft.http.common_http_protocol_options.max_requests_per_connection.value = http.max_requests_per_connection
    if http.idle_timeout is not None:
        draft.http.common_http_protocol_options.idle_timeout.FromTimedelta(http.idle_timeout)
    if http.use_client_protocol:
        draft.http.use_downstream_protocol_config.http_protocol_options.SetInParent()
        options = draft.http.use_downstream_protocol_config.http2_protocol_options
        options.SetInParent()
    elif draft.port.protocol.is_http2 or http.h2_upgrade_policy == "UPGRADE":
        options = draft.http.explicit_http_config.http2_protocol_options
        options.SetInParent()
    else:
        return
    if http.max_concurrent_streams:
        options.max_concurrent_streams.value = http.max_concurrent_streams
    if http.http2_keep_alive is not None:
        options.connection_keepalive.interval.FromTimedelta(http.http2_keep_alive.interval)
        options.connection_keepalive.timeout.FromTimedelta(http.http2_keep_alive.timeout)
