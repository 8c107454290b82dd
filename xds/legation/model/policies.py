"""Which settings count for one port of a service, or of one of its subsets: DestinationRule's own algebra.

Source: istiod's `GetPortLevelTrafficPolicy` and `MergeSubsetTrafficPolicy`. Settings are never mixed below the level of
a block: `connectionPool` is one, with everything in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from legation.model.balancing import ConsistentHashLB, LoadBalancerSettings
from legation.model.connections import ClientTLSSettings, ConnectionPoolSettings, OutlierDetection
from legation.model.destination_rule import (
    DestinationRule,
    PortTrafficPolicy,
    ProxyProtocol,
    RetryBudget,
    TrafficPolicy,
    TunnelSettings,
)
from legation.problems import Path


@dataclass(frozen=True, slots=True)
class Policy:
    """The blocks that count for one cluster; None where nobody said anything."""

    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None
    tunnel: TunnelSettings | None = None
    proxy_protocol: ProxyProtocol | None = None
    retry_budget: RetryBudget | None = None

    @property
    def consistent_hash(self) -> ConsistentHashLB | None:
        """How requests that are alike are told, if they go to one endpoint."""
        return self.load_balancer.consistent_hash if self.load_balancer is not None else None


_OF_PORTS = ("load_balancer", "connection_pool", "outlier_detection", "tls")
_OF_SERVICES = ("tunnel", "proxy_protocol", "retry_budget")


def effective(of_service: TrafficPolicy | None, of_subset: TrafficPolicy | None, port: int) -> Policy:
    """What counts for a port of a service, and of a subset if that has a policy.

    An entry for the port takes the place of the policy around it: nothing is inherited, what it leaves out has its
    default. A subset's policy goes over the service's block by block; its entry for the port sets all four blocks that
    such an entry can have, those that it leaves out to their defaults.
    """
    for_port = _entry(of_service, port)
    base = _blocks(of_service, (*_OF_PORTS, *_OF_SERVICES)) if for_port is None else _blocks(for_port, _OF_PORTS)
    if of_subset is None:
        return base
    for_port = _entry(of_subset, port)
    if for_port is not None:
        return replace(base, **{block: getattr(for_port, block) for block in _OF_PORTS})
    own = {block: getattr(of_subset, block) for block in (*_OF_PORTS, *_OF_SERVICES)}
    return replace(base, **{block: value for block, value in own.items() if value is not None})


def _entry(policy: TrafficPolicy | None, port: int) -> PortTrafficPolicy | None:
    """The first entry for a port."""
    return next((entry for entry in (policy.port_level_settings if policy else ()) if entry.port.number == port), None)


def _blocks(policy: TrafficPolicy | PortTrafficPolicy | None, blocks: tuple[str, ...]) -> Policy:
    return Policy(**{block: getattr(policy, block) for block in blocks}) if policy is not None else Policy()


def written(rule: DestinationRule) -> Iterator[TrafficPolicy | PortTrafficPolicy]:
    """Every policy in a DestinationRule, wherever it holds."""
    for policy in (rule.traffic_policy, *(subset.traffic_policy for subset in rule.subsets)):
        if policy is not None:
            yield policy
            yield from policy.port_level_settings


def encrypted(rule: DestinationRule) -> Iterator[tuple[Path, ClientTLSSettings]]:
    """Every `tls` in a DestinationRule, with its place in `spec`."""
    policies: list[tuple[Path, TrafficPolicy | None]] = [(("trafficPolicy",), rule.traffic_policy)]
    policies += [(("subsets", place, "trafficPolicy"), each.traffic_policy) for place, each in enumerate(rule.subsets)]
    for path, policy in policies:
        if policy is None:
            continue
        if policy.tls is not None:
            yield (*path, "tls"), policy.tls
        for place, entry in enumerate(policy.port_level_settings):
            if entry.tls is not None:
                yield (*path, "portLevelSettings", place, "tls"), entry.tls


def lists(rule: DestinationRule) -> Iterator[str]:
    """The entries of every `failoverPriority` in a DestinationRule: `key` or `key=value`."""
    for policy in written(rule):
        balancer: Any = policy.load_balancer
        for setting in (balancer.locality_lb_setting, balancer.zone_aware_lb_setting) if balancer is not None else ():
            yield from setting.failover_priority if setting is not None else ()
