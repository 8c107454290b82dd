"""ProxyConfig: how proxies are started.

Source: https://istio.io/latest/docs/reference/config/networking/proxy-config/
"""

from __future__ import annotations

from legation.model.base import EMPTY, Model
from legation.model.traffic import MatchLabels
from legation.model.values import Count, Map, Str


class ProxyImage(Model):
    """The image of the proxy's container."""

    image_type: Str = ""
    """Its variant."""


class ProxyConfig(Model):
    """How proxies are started."""

    selector: MatchLabels | None = None
    """The workloads that it is for."""
    concurrency: Count | None = None
    """The number of threads; 0 for one per core."""
    environment_variables: Map[Str, Str] = EMPTY
    """Environment variables of the proxy."""
    image: ProxyImage | None = None
    """The image of the proxy's container."""
