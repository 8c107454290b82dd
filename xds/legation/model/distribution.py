"""Where a service itself wants its callers to look first: Kubernetes' `trafficDistribution`, or Istio's annotation.

Source: Kubernetes' Service; istiod's `GetTrafficDistribution`, which makes a list of labels of it, as `failoverPriority` is.
"""

from __future__ import annotations

from typing import Final

from legation.model.meta import Object
from legation.model.proxy import TOPOLOGY

ANNOTATION: Final = "networking.istio.io/traffic-distribution"
NODE: Final = "kubernetes.io/hostname"
"""The label that says on which machine something runs, where anybody writes it."""

_REGION, _ZONE, _SUBZONE = TOPOLOGY
_IN_ZONE: Final = (_REGION, _ZONE)
MEANT: Final = {
    "prefersamezone": _IN_ZONE,
    "preferclose": _IN_ZONE,
    "prefersamenode": (_REGION, _ZONE, _SUBZONE, NODE),
}
"""By what is written, the labels that endpoints should share with a caller, in order."""


def preferred(item: Object) -> tuple[str, ...]:
    """What a Service or a ServiceEntry asks for; nothing if it does not matter where callers run."""
    written = item.spec.spec.traffic_distribution if item.key.kind == "Service" else None
    return MEANT.get((written or item.meta.annotations.get(ANNOTATION, "")).lower(), ())
