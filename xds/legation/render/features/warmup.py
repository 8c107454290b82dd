"""DestinationRule `loadBalancer.warmup`: new endpoints get their share little by little.

Envoy: Cluster.SlowStartConfig, which only round robin and least request have; with the others it means nothing.
"""

from __future__ import annotations

from envoy.config.cluster.v3 import cluster_pb2

from legation.render.draft import ClusterDraft

_PERCENT, _AGGRESSION = 10.0, 1.0


def apply(draft: ClusterDraft) -> None:
    """`warmup` goes before the older `warmupDurationSecs`, which has a duration only."""
    balancer = draft.policy.load_balancer
    if balancer is None or (balancer.warmup is None and balancer.warmup_duration_secs is None):
        return
    if draft.made.lb_policy == cluster_pb2.Cluster.ROUND_ROBIN:
        slowly = draft.made.round_robin_lb_config.slow_start_config
    elif draft.made.lb_policy == cluster_pb2.Cluster.LEAST_REQUEST:
        slowly = draft.made.least_request_lb_config.slow_start_config
    else:
        return
    written = balancer.warmup
    if written is None:
        if balancer.warmup_duration_secs is not None:
            slowly.slow_start_window.FromTimedelta(balancer.warmup_duration_secs)
        return
    slowly.slow_start_window.FromTimedelta(written.duration)
    slowly.aggression.default_value = _AGGRESSION if written.aggression is None else written.aggression
    slowly.aggression.runtime_key = f"legation.warmup.{draft.parts}"  # Envoy wants one; nobody sets it
    slowly.min_weight_percent.value = _PERCENT if written.minimum_percent is None else written.minimum_percent
