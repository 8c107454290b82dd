"""DestinationRule for connections that are passed on as they are: what of it the TCP proxy has to do itself.

Envoy: the tcp_proxy filter. Everything else that a DestinationRule says is in the cluster.
"""

from __future__ import annotations

from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2

from legation.model.policies import Policy


def apply(made: tcp_proxy_pb2.TcpProxy, policy: Policy) -> None:
    """By the policy of the cluster to which the connections go."""
    if policy.tunnel is not None:
        host, port = policy.tunnel.target_host, policy.tunnel.target_port
        made.tunneling_config.hostname = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        made.tunneling_config.use_post = policy.tunnel.protocol == "POST"
    if policy.consistent_hash is not None and policy.consistent_hash.use_source_ip:
        made.hash_policy.add().source_ip.SetInParent()  # of the ways to tell callers apart the only one without HTTP
    tcp = policy.connection_pool.tcp if policy.connection_pool is not None else None
    if tcp is not None and tcp.idle_timeout is not None:
        made.idle_timeout.FromTimedelta(tcp.idle_timeout)
    if tcp is not None and tcp.max_connection_duration is not None:
        made.max_downstream_connection_duration.FromTimedelta(tcp.max_connection_duration)
