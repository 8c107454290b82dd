"""DestinationRule `loadBalancer.simple`: how an endpoint is chosen.

Envoy: Cluster.lb_policy. Istio's default is LEAST_REQUEST, not Envoy's ROUND_ROBIN.
"""

from __future__ import annotations

from envoy.config.cluster.v3 import cluster_pb2

from legation.render.draft import ClusterDraft

_POLICY = {
    "ROUND_ROBIN": cluster_pb2.Cluster.ROUND_ROBIN,
    "RANDOM": cluster_pb2.Cluster.RANDOM,
    "LEAST_REQUEST": cluster_pb2.Cluster.LEAST_REQUEST,
    "LEAST_CONN": cluster_pb2.Cluster.LEAST_REQUEST,
    "PASSTHROUGH": cluster_pb2.Cluster.CLUSTER_PROVIDED,
}


def apply(draft: ClusterDraft) -> None:
    """PASSTHROUGH chooses nothing: a connection goes where its caller wanted to go."""
    balancer = draft.policy.load_balancer
    written = balancer.simple if balancer is not None else None
    draft.made.lb_policy = _POLICY.get(str(written), cluster_pb2.Cluster.LEAST_REQUEST)
    if written == "PASSTHROUGH":
        for endpoints in ("load_assignment", "eds_cluster_config", "cluster_type"):
            draft.made.ClearField(endpoints)
        draft.made.type = cluster_pb2.Cluster.ORIGINAL_DST
