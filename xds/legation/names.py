"""What documents are called, and every name of an Envoy resource, built and parsed here: Istio's names, so that its tools
and dashboards fit.

Reference: Istio's `pilot/pkg/model` (BuildSubsetKey) and `networking/core`; see docs/architecture.md.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

BLACK_HOLE_CLUSTER = "BlackHoleCluster"
PASSTHROUGH_CLUSTER = "PassthroughCluster"
MESH_GATEWAY = "mesh"
"""The word in VirtualService.gateways that means: every sidecar."""

TYPE_PREFIX = "type.googleapis.com/"
LISTENER = TYPE_PREFIX + "envoy.config.listener.v3.Listener"
ROUTE = TYPE_PREFIX + "envoy.config.route.v3.RouteConfiguration"
CLUSTER = TYPE_PREFIX + "envoy.config.cluster.v3.Cluster"
ENDPOINT = TYPE_PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
SECRET = TYPE_PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"

SHORT_TYPE = {LISTENER: "lds", ROUTE: "rds", CLUSTER: "cds", ENDPOINT: "eds", SECRET: "sds"}
"""The type URLs that we serve, by the short name that people use for them."""


class Key(NamedTuple):
    """A document's identity: kind, namespace (empty for cluster-wide kinds), name."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


class ClusterName(NamedTuple):
    """The parts of `outbound|9080|v1|reviews.default.svc.cluster.local`; `port` is the service's port."""

    direction: str
    port: int
    subset: str
    host: str

    def __str__(self) -> str:
        return f"{self.direction}|{self.port}|{self.subset}|{self.host}"


def outbound(host: str, port: int, subset: str = "") -> str:
    """The cluster of a service's port, or of one of its subsets."""
    return f"outbound|{port}|{subset}|{host}"


@lru_cache(maxsize=1 << 17)
def parse_cluster(name: str) -> ClusterName | None:
    """The parts of a cluster's name, or None for a name that is not of this form."""
    parts = name.split("|")
    if len(parts) != 4 or not parts[1].isdigit():
        return None
    return ClusterName(parts[0], int(parts[1]), parts[2], parts[3])


def listener(bind: str, port: int) -> str:
    """`0.0.0.0_8080`."""
    return f"{bind}_{port}"


def gateway_http_route(port: int, bind: str = "") -> str:
    """The RouteConfiguration of all HTTP servers on a gateway's listening port: `http.8080`."""
    return f"http.{port}.{bind}" if bind else f"http.{port}"


def sidecar_http_route(port: int) -> str:
    """The RouteConfiguration of all HTTP services of a port: `9080`."""
    return str(port)


def virtual_host(host: str, port: int) -> str:
    """`reviews.default.svc.cluster.local:9080`, IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# --- secrets ------------------------------------------------------------------------------------------------------

WORKLOAD_CERTIFICATE = "default"
"""The secret with the proxy's own certificate and key."""
MESH_AUTHORITIES = "ROOTCA"
"""The secret with the authorities of the mesh."""


def credential(name: str) -> str:
    """The certificate and key of a Secret."""
    return f"kubernetes://{name}"


def credential_authorities(name: str) -> str:
    """The authorities that belong to a Secret."""
    return f"kubernetes://{name}-cacert"


_CERTIFICATE_FILES, _AUTHORITIES_FILE = "file-cert:", "file-root:"


def certificate_files(certificate: str, key: str) -> str:
    """A certificate and its key in files on the proxy's host."""
    return f"{_CERTIFICATE_FILES}{certificate}~{key}"


def parse_certificate_files(name: str) -> tuple[str, str] | None:
    """The paths of a certificate and its key."""
    certificate, tilde, key = name.removeprefix(_CERTIFICATE_FILES).partition("~")
    return (certificate, key) if name.startswith(_CERTIFICATE_FILES) and tilde else None


def authorities_file(path: str) -> str:
    """Authorities in a file on the proxy's host."""
    return f"{_AUTHORITIES_FILE}{path}"


def parse_authorities_file(name: str) -> str | None:
    """The path of authorities."""
    return name.removeprefix(_AUTHORITIES_FILE) if name.startswith(_AUTHORITIES_FILE) else None
