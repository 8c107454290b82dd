"""DestinationRule `localityLbSetting` and `zoneAwareLbSetting`, and what services ask for themselves: what the cluster must
know of them.

Who is preferred stands in the load assignment, as priorities and weights (`model/localities.py`). Envoy:
CommonLbConfig, which says whether localities have shares at all.
"""

from __future__ import annotations

from legation.render.draft import ClusterDraft


def apply(draft: ClusterDraft) -> None:
    """Locality weights count only where shares were asked for; without that every endpoint counts by its own weight."""
    balancer = draft.policy.load_balancer
    by_zone = balancer.zone_aware_lb_setting if balancer is not None else None
    chosen = draft.preference
    if by_zone is not None and (chosen is None or chosen.regions_only):
        setting = draft.made.common_lb_config.zone_aware_lb_config
        setting.SetInParent()
        if by_zone.enabled is False:
            setting.routing_enabled.value = 0
        if by_zone.min_cluster_size is not None:
            setting.min_cluster_size.value = by_zone.min_cluster_size
    elif chosen is not None and chosen.weighted:
        draft.made.common_lb_config.locality_weighted_lb_config.SetInParent()
