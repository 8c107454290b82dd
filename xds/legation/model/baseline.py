"""What holds on the way to every service before its DestinationRules have a word: MeshConfig's part of a Policy.

Blocks are not mixed with those of DestinationRules; within them, only the two settings that MeshConfig has on its own
(`connectTimeout`, `tcpKeepalive`) fill what is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from legation.model import mesh
from legation.model.balancing import LoadBalancerSettings, LocalityLoadBalancerSetting, ZoneAwareLoadBalancerSetting
from legation.model.connections import (
    ConnectionPoolSettings,
    HTTPSettings,
    OutlierDetection,
    TcpKeepalive,
    TCPSettings,
)
from legation.model.mesh_config import MeshConfig, TrafficBaseline
from legation.model.policies import Policy
from legation.model.recall import Reader


@dataclass(frozen=True, slots=True)
class Baseline:
    """What MeshConfig says of every cluster."""

    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tcp: TCPSettings = field(default_factory=TCPSettings)
    upgrade: bool = False
    by_locality: LocalityLoadBalancerSetting | None = None
    by_zone: ZoneAwareLoadBalancerSetting | None = None


_NOTHING = Baseline()


def of_mesh(reader: Reader) -> Baseline:
    """MeshConfig's word on clusters (a unit)."""
    config = reader.ask(mesh.config)
    policy = config.default_traffic_policy or TrafficBaseline.model_construct()
    keepalive: TcpKeepalive | None = config.tcp_keepalive
    timeout = config.connect_timeout if config.connect_timeout != _ORDINARY.connect_timeout else None
    said = Baseline(
        connection_pool=policy.connection_pool,
        outlier_detection=policy.outlier_detection,
        tcp=TCPSettings(connect_timeout=timeout, tcp_keepalive=keepalive),
        upgrade=config.h2_upgrade_policy == "UPGRADE",
        by_locality=config.locality_lb_setting,
        by_zone=config.zone_aware_lb_setting,
    )
    return said if said != _NOTHING else _NOTHING


_ORDINARY = MeshConfig()


def under(below: Baseline, policy: Policy, speaks_http1: bool = False) -> Policy:
    """A policy, its gaps filled; `speaks_http1` says that HTTP/1.1 is what the port is declared to speak."""
    if below is _NOTHING:  # asked for every cluster: to compare models takes longer than all the rest
        return policy
    pool = policy.connection_pool or below.connection_pool
    if below.tcp != _NOTHING.tcp:
        pool = _with_tcp(pool, below.tcp)
    if below.upgrade and speaks_http1:
        pool = _upgraded(pool)
    return replace(
        policy,
        connection_pool=pool,
        outlier_detection=policy.outlier_detection or below.outlier_detection,
        load_balancer=_placed(policy.load_balancer, below),
    )


def _with_tcp(pool: ConnectionPoolSettings | None, below: TCPSettings) -> ConnectionPoolSettings:
    tcp = (pool.tcp if pool is not None else None) or TCPSettings()
    filled = tcp.model_copy(
        update={
            "connect_timeout": tcp.connect_timeout or below.connect_timeout,
            "tcp_keepalive": tcp.tcp_keepalive if tcp.tcp_keepalive is not None else below.tcp_keepalive,
        }
    )
    return (pool or ConnectionPoolSettings()).model_copy(update={"tcp": filled})


def _upgraded(pool: ConnectionPoolSettings | None) -> ConnectionPoolSettings:
    http = (pool.http if pool is not None else None) or HTTPSettings()
    if http.h2_upgrade_policy != "DEFAULT" or http.use_client_protocol:
        return pool or ConnectionPoolSettings()
    upgraded = http.model_copy(update={"h2_upgrade_policy": "UPGRADE"})
    return (pool or ConnectionPoolSettings()).model_copy(update={"http": upgraded})


def _placed(balancer: LoadBalancerSettings | None, below: Baseline) -> LoadBalancerSettings | None:
    """Whoever says anything of localities says all of it."""
    if below.by_locality is None and below.by_zone is None:
        return balancer
    if balancer is not None and (
        balancer.locality_lb_setting is not None or balancer.zone_aware_lb_setting is not None
    ):
        return balancer
    said = {"locality_lb_setting": below.by_locality, "zone_aware_lb_setting": below.by_zone}
    return (balancer or LoadBalancerSettings()).model_copy(update=said)
