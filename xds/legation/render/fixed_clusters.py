"""Clusters of no service: calls that go nowhere, calls that go where the caller wanted, calls that go by their host.

Envoy: envoy.config.cluster.v3.Cluster.
"""

from __future__ import annotations

from typing import Final

from envoy.config.cluster.v3 import cluster_pb2

from legation import names
from legation.model import baseline
from legation.model.policies import Policy
from legation.model.protocols import Protocol
from legation.model.recall import Reader
from legation.model.services import ServicePort
from legation.names import ClusterName
from legation.render import wire
from legation.render.draft import ClusterDraft
from legation.render.features import connection_pool, dynamic_dns
from legation.snapshot.snapshot import Resource

NAMES: Final = (names.BLACK_HOLE_CLUSTER, names.PASSTHROUGH_CLUSTER, names.BY_HOST_CLUSTER)


def cluster(reader: Reader, name: str) -> Resource | None:
    """One of NAMES; None for any other."""
    if name not in NAMES:
        return None
    draft = ClusterDraft(ClusterName("outbound", 0, "", ""), ServicePort(0, "", Protocol.AUTO), _policy(reader))
    made = draft.made
    made.name = name
    connection_pool.apply(draft)
    if name == names.BLACK_HOLE_CLUSTER:
        made.type = cluster_pb2.Cluster.STATIC
    elif name == names.PASSTHROUGH_CLUSTER:
        made.type = cluster_pb2.Cluster.ORIGINAL_DST
        made.lb_policy = cluster_pb2.Cluster.CLUSTER_PROVIDED
        draft.http.use_downstream_protocol_config.http_protocol_options.SetInParent()
        draft.http.use_downstream_protocol_config.http2_protocol_options.SetInParent()
    else:
        made.lb_policy = cluster_pb2.Cluster.CLUSTER_PROVIDED
        dynamic_dns.bare(made, reader)
    return wire.as_resource(name, draft.finished())


def _policy(reader: Reader) -> Policy:
    """The bounds that hold for every cluster."""
    return baseline.under(reader.ask(baseline.of_mesh), Policy(), False)
