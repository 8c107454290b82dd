"""ServiceEntry `resolution: DYNAMIC_DNS`: the host of every request is looked up, if a wildcard contains it.

Envoy: the cluster `envoy.clusters.dynamic_forward_proxy` and the HTTP filter that waits for its answers. Both name one
cache, whose settings must be the same in both at any moment: so they are part of its name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from envoy.config.cluster.v3 import cluster_pb2 as config_pb2
from envoy.extensions.clusters.dynamic_forward_proxy.v3 import cluster_pb2
from envoy.extensions.common.dynamic_forward_proxy.v3 import dns_cache_pb2
from envoy.extensions.filters.http.dynamic_forward_proxy.v3 import dynamic_forward_proxy_pb2
from envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3 import sni_dynamic_forward_proxy_pb2 as sni_pb2
from google.protobuf.message import Message

from legation.model import index, mesh
from legation.model.recall import Reader
from legation.render import wire
from legation.render.draft import ClusterDraft

FILTER: Final = "envoy.filters.http.dynamic_forward_proxy"
BY_NAME: Final = "envoy.filters.network.sni_dynamic_forward_proxy"


def to_cluster(draft: ClusterDraft, reader: Reader) -> None:
    """Endpoints by host, instead of those by the address that was called."""
    made = draft.made
    made.ClearField("type")
    made.cluster_type.name = "envoy.clusters.dynamic_forward_proxy"
    made.cluster_type.typed_config.CopyFrom(wire.pack(cluster_pb2.ClusterConfig(dns_cache_config=_cache(reader))))
    # If there is TLS, who is asked for, and must prove it, is the host of each request. Envoy insists on it, TLS or not, as
    # soon as there are any options for HTTP.
    draft.http.upstream_http_protocol_options.auto_sni = True
    draft.http.upstream_http_protocol_options.auto_san_validation = True


def among(filters: Iterable[tuple[str, Message]], reader: Reader, *, always: bool = False) -> list[tuple[str, Message]]:
    """HTTP filters, with the one that waits right before the last of them, the router, if any service
    needs it, or `always`.
    """
    found = list(filters)
    if always or reader.names(index.BY_HOST):
        found.insert(-1, (FILTER, dynamic_forward_proxy_pb2.FilterConfig(dns_cache_config=_cache(reader))))
    return found


def by_name(port: int, reader: Reader) -> sni_pb2.FilterConfig:
    """The network filter that waits for the answers for the names that TLS asks for."""
    return sni_pb2.FilterConfig(dns_cache_config=_cache(reader), port_value=port)


def bare(made: config_pb2.Cluster, reader: Reader) -> None:
    """A cluster of hosts that no service has."""
    made.cluster_type.name = "envoy.clusters.dynamic_forward_proxy"
    made.cluster_type.typed_config.CopyFrom(wire.pack(cluster_pb2.ClusterConfig(dns_cache_config=_cache(reader))))


def _cache(reader: Reader) -> dns_cache_pb2.DnsCacheConfig:
    rate = reader.ask(mesh.setting, "dns_refresh_rate")
    made = dns_cache_pb2.DnsCacheConfig(name=f"by_host_{rate.total_seconds():g}s")
    made.dns_lookup_family = config_pb2.Cluster.V4_PREFERRED
    made.dns_refresh_rate.FromTimedelta(rate)
    return made
