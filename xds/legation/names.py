"""What documents are called, and every name of an Envoy resource, built and parsed here: Istio's names, so that its tools
and dashboards fit.

Reference: Istio's `pilot/pkg/model` (BuildSubsetKey) and `networking/core`; see docs/architecture.md.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

BLACK_HOLE_CLUSTER = "BlackHoleCluster"
PASSTHROUGH_CLUSTER = "PassthroughCluster"
INBOUND_PASSTHROUGH_CLUSTER = "InboundPassthroughCluster"
"""Where calls to a workload go that no service and no Sidecar names."""
VIRTUAL_INBOUND = "virtualInbound"
"""The listener to which calls to a workload are redirected."""
BY_HOST_CLUSTER = "allow_any_dynamic_dns"
"""Calls to hosts that nobody knows: the host of each is looked up."""
VIRTUAL_OUTBOUND = "virtualOutbound"
"""The listener to which the kernel redirects what a workload calls."""
HTTP_PROXY_ROUTE = "http_proxy"
"""The RouteConfiguration of the mesh's forward proxy: every service, on every port."""
ALLOW_ANY = "allow_any"
BLOCK_ALL = "block_all"
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


def inbound(port: int) -> str:
    """The cluster of a port that a workload is called on: `inbound|8080||`."""
    return f"inbound|{port}||"


def inbound_virtual_host(port: int) -> str:
    """The virtual host of all calls to a workload's port, by the port of its service."""
    return f"inbound|http|{port}"


def sni_cluster(host: str, port: int, subset: str = "") -> str:
    """The same as `outbound_.80_.v1_.reviews.default.svc.cluster.local`: a name that fits into TLS's SNI, and the cluster to
    which a gateway passes what asks for it, unread.
    """
    return f"outbound_.{port}_.{subset}_.{host}"


def is_sni_cluster(name: str) -> bool:
    """Whether a cluster takes what is encrypted already."""
    return name.startswith("outbound_.")


@lru_cache(maxsize=1 << 17)
def parse_cluster(name: str) -> ClusterName | None:
    """The parts of a cluster's name in either form, or None for a name of neither."""
    parts = name.split("_.", 3) if is_sni_cluster(name) else name.split("|")
    if len(parts) != 4 or not parts[1].isdigit():
        return None
    return ClusterName(parts[0], int(parts[1]), parts[2], parts[3])


def listener(bind: str, port: int) -> str:
    """`0.0.0.0_8080`."""
    return f"{bind}_{port}"


def parse_listener(name: str) -> tuple[str, int] | None:
    """The address and port of such a name, or None for another one."""
    bind, _, port = name.rpartition("_")
    return (bind, int(port)) if bind and port.isdigit() else None


def gateway_http_route(port: int, bind: str = "") -> str:
    """The RouteConfiguration of all HTTP servers on a gateway's listening port: `http.8080`."""
    return f"http.{port}.{bind}" if bind else f"http.{port}"


def gateway_https_route(port: int, port_name: str, gateway: str, bind: str = "") -> str:
    """The RouteConfiguration of one HTTPS server, by the port as it is written: `https.443.web.front.default`."""
    namespace, _, name = gateway.partition("/")
    return ".".join(filter(None, ("https", str(port), port_name, name, namespace, bind)))


def sidecar_http_route(port: int) -> str:
    """The RouteConfiguration of all HTTP services of a port: `9080`."""
    return str(port)


def sniffed_http_route(host: str, port: int) -> str:
    """The RouteConfiguration of one service whose port may carry HTTP: `reviews.default.svc.cluster.local:8080`."""
    return f"{host}:{port}"


def virtual_host(host: str, port: int) -> str:
    """`reviews.default.svc.cluster.local:9080`, IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# --- gRPC without a proxy -------------------------------------------------------------------------------------------

_PLACE = "#"


def grpc_target(name: str) -> tuple[str, int]:
    """The name and the port of a listener for calls to `reviews:9080`."""
    written, _, port = name.rpartition(":")
    return written, int(port)


def grpc_part(cluster: str, place: str) -> str:
    """The part of a cluster that is one name to look up, with its port: `outbound|80||a.example#one.example:80`."""
    return f"{cluster}{_PLACE}{place}"


def parse_grpc_part(name: str) -> tuple[str, str]:
    """The cluster, and the place if the name is that of a part."""
    cluster, _, place = name.partition(_PLACE)
    return cluster, place


_GRPC_SERVERS = ("xds.istio.io/grpc/lds/inbound/", "grpc/server?xds.resource.listening_address=")
"""What the names of the listeners begin with that servers ask for: Istio's, and that of gRPC's own examples."""


def grpc_server(name: str) -> tuple[str, int] | None:
    """The address and port on which a gRPC server listens that asks for a listener of this name; None for other names."""
    for prefix in _GRPC_SERVERS:
        if name.startswith(prefix):
            address, _, port = name.removeprefix(prefix).rpartition(":")
            if port.isascii() and port.isdigit() and 0 < int(port) < 65536:
                return address.removeprefix("[").removesuffix("]"), int(port)
    return None


# --- secrets ------------------------------------------------------------------------------------------------------

WORKLOAD_CERTIFICATE = "default"
"""The certificate that says who a proxy is in the mesh."""
MESH_AUTHORITIES = "ROOTCA"
"""The authorities that the mesh's certificates come from."""

_KUBERNETES = "kubernetes://"
_CERTIFICATE_FILES = "file-cert:"
_AUTHORITY_FILES = "file-root:"
_CONFIG_MAP = "configmap://"
AUTHORITIES = "-cacert"
"""What the name of a Secret ends in that holds the authorities for another one."""
NO_PATH = "~"
"""What no path of a certificate may hold, since it stands between two."""


def credential(name: str) -> str:
    """The certificate of a `credentialName`: `kubernetes://shop`. What has a scheme already keeps it."""
    return name if "://" in name else _KUBERNETES + name


def credential_authorities(name: str) -> str:
    """The authorities of a `credentialName`: `kubernetes://shop-cacert`. A ConfigMap has nothing else in it."""
    return name if name.startswith(_CONFIG_MAP) else credential(name).removesuffix(AUTHORITIES) + AUTHORITIES


def certificate_files(certificate: str, key: str) -> str:
    """A certificate and its key by their paths on the proxy's host: `file-cert:/etc/tls.crt~/etc/tls.key`."""
    return f"{_CERTIFICATE_FILES}{certificate}{NO_PATH}{key}"


def authorities_file(authorities: str, revoked: str = "") -> str:
    """Authorities, and perhaps what they revoked, by their paths on the proxy's host: `file-root:/etc/ca.crt`."""
    return _AUTHORITY_FILES + (f"{authorities}{NO_PATH}{revoked}" if revoked else authorities)


class SecretName(NamedTuple):
    """The parts of a secret's name. Either `name` (and perhaps `namespace`) is a Secret's or a ConfigMap's, or `files`
    are paths.
    """

    authorities: bool
    namespace: str = ""
    name: str = ""
    files: tuple[str, ...] = ()
    config_map: bool = False


def parse_secret(name: str) -> SecretName | None:
    """The parts of a secret's name, or None for one that means nothing here."""
    if name in (WORKLOAD_CERTIFICATE, MESH_AUTHORITIES):
        return SecretName(name == MESH_AUTHORITIES, name=WORKLOAD_CERTIFICATE)
    if name.startswith(_KUBERNETES):
        namespace, _, bare = name.removeprefix(_KUBERNETES).rpartition("/")
        authorities = bare.endswith(AUTHORITIES)
        return SecretName(authorities, namespace, bare.removesuffix(AUTHORITIES))
    if name.startswith(_CONFIG_MAP):
        namespace, _, bare = name.removeprefix(_CONFIG_MAP).rpartition("/")
        return SecretName(True, namespace, bare, config_map=True)
    for prefix in (_CERTIFICATE_FILES, _AUTHORITY_FILES):
        if name.startswith(prefix):
            files = tuple(name.removeprefix(prefix).split(NO_PATH))
            return SecretName(prefix == _AUTHORITY_FILES, files=files)
    return None
