"""DestinationRule `trafficPolicy.loadBalancer.simple`. Istio's default is LEAST_REQUEST, not Envoy's ROUND_ROBIN."""

from __future__ import annotations

from envoy.config.cluster.v3 import cluster_pb2

from legation.model.rules import Rule, Subset

_POLICY = {
    "ROUND_ROBIN": cluster_pb2.Cluster.ROUND_ROBIN,
    "RANDOM": cluster_pb2.Cluster.RANDOM,
    "LEAST_REQUEST": cluster_pb2.Cluster.LEAST_REQUEST,
    "LEAST_CONN": cluster_pb2.Cluster.LEAST_REQUEST,
}


def apply(cluster: cluster_pb2.Cluster, rule: Rule | None, subset: Subset | None) -> None:
    """A subset's own balancer goes before the rule's."""
    written = None
    for policy in (subset.policy if subset else None, rule.policy if rule else None):
        if policy is not None and policy.load_balancer is not None:
            written = policy.load_balancer.simple
            break
    cluster.lb_policy = _POLICY.get(str(written), cluster_pb2.Cluster.LEAST_REQUEST)
