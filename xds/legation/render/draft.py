"""A cluster while its features are put into it."""

from __future__ import annotations

from dataclasses import dataclass, field

from envoy.config.cluster.v3 import circuit_breaker_pb2, cluster_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2

from legation.model.localities import Preference
from legation.model.mesh_config import TLSBaseline
from legation.model.policies import Policy
from legation.model.services import ServicePort
from legation.names import ClusterName
from legation.render import wire
from legation.snapshot.snapshot import Ref

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


@dataclass(slots=True)
class ClusterDraft:
    """What a cluster's features read, and what they fill in: the message, its options for HTTP, what it refers to.

    `subject_alt_names` are those that the service's certificate must have if no rule says it; `tls_defaults` what the mesh
    says of TLS.
    """

    parts: ClusterName
    port: ServicePort
    policy: Policy
    preference: Preference | None = None
    subject_alt_names: tuple[str, ...] = ()
    ca_bundle: str = ""
    tls_defaults: TLSBaseline | None = None
    made: cluster_pb2.Cluster = field(default_factory=cluster_pb2.Cluster)
    http: http_protocol_options_pb2.HttpProtocolOptions = field(
        default_factory=http_protocol_options_pb2.HttpProtocolOptions
    )
    refs: set[Ref] = field(default_factory=set)

    @property
    def thresholds(self) -> circuit_breaker_pb2.CircuitBreakers.Thresholds:
        """The bounds of ordinary traffic, which every cluster has."""
        return self.made.circuit_breakers.thresholds[0]

    @property
    def speaks_http2(self) -> bool:
        """Whether HTTP/2 is spoken to the service, whatever the caller speaks."""
        return self.http.explicit_http_config.HasField("http2_protocol_options")

    def finished(self) -> cluster_pb2.Cluster:
        """The message, with its options for HTTP if there are any; Envoy wants a version of HTTP in them."""
        if self.http.ByteSize():
            if self.http.WhichOneof("upstream_protocol_options") is None:
                self.http.explicit_http_config.http_protocol_options.SetInParent()
            self.made.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(wire.pack(self.http))
        return self.made
