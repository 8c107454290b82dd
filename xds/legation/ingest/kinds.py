"""The kinds that we know: their groups, versions and models, and what we do with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from legation.model.base import Model
from legation.model.destination_rule import DestinationRule
from legation.model.gateway import Gateway
from legation.model.kubernetes import (
    ConfigMap,
    Endpoints,
    EndpointSlice,
    Namespace,
    Node,
    Secret,
    Service,
)
from legation.model.mesh_config import MeshConfig
from legation.model.proxy_config import ProxyConfig
from legation.model.service_entry import ServiceEntry
from legation.model.sidecar import Sidecar
from legation.model.virtual_service import VirtualService
from legation.model.workload_entry import WorkloadEntry
from legation.model.workload_group import WorkloadGroup
from legation.model.workloads import Pod, Workload

GATEWAY_API: Final = "gateway.networking.k8s.io"
NETWORKING: Final = "networking.istio.io"
SECURITY: Final = "security.istio.io"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind that we know.

    `versions` are synonyms, the first is what we write. `model` is the class of `spec`, or, where `beside` is set
    (Kubernetes' own kinds), of all fields beside `metadata`; None for a kind of which we know only the name.
    `supported` says that it has an effect. What `protects` is never passed over in silence. `dns_label` says that a name
    has no dots. What is `secret` is never quoted.
    """

    group: str
    versions: tuple[str, ...]
    name: str
    model: type[Model] | None = None
    supported: bool = False
    namespaced: bool = True
    protects: bool = False
    beside: bool = False
    dns_label: bool = False
    secret: bool = False

    @property
    def identity(self) -> str:
        """What documents of it are called in a Key: the kind; with its group where another kind has the same name."""
        return f"{self.name}.{self.group}" if self.group == GATEWAY_API and self.name == "Gateway" else self.name

    @property
    def api_version(self) -> str:
        """What to write as `apiVersion`."""
        return f"{self.group}/{self.versions[0]}" if self.group else self.versions[0]


_ALL = ("v1", "v1beta1", "v1alpha3")
_SECURITY = ("v1", "v1beta1")
_ROUTES = ("v1", "v1beta1", "v1alpha3", "v1alpha2")

KINDS: Final = (
    Kind(NETWORKING, _ALL, "VirtualService", VirtualService, supported=True),
    Kind(NETWORKING, _ALL, "Gateway", Gateway, supported=True, dns_label=True),
    Kind(NETWORKING, _ALL, "DestinationRule", DestinationRule, supported=True),
    Kind(NETWORKING, _ALL, "ServiceEntry", ServiceEntry, supported=True),
    Kind(NETWORKING, _ALL, "WorkloadEntry", WorkloadEntry, supported=True),
    Kind(NETWORKING, _ALL, "WorkloadGroup", WorkloadGroup, supported=True),
    Kind(NETWORKING, _ALL, "Sidecar", Sidecar, supported=True),
    Kind(NETWORKING, ("v1beta1",), "ProxyConfig", ProxyConfig),
    Kind(NETWORKING, ("v1alpha3",), "EnvoyFilter"),
    Kind("mesh.istio.io", ("v1alpha1",), "MeshConfig", MeshConfig, supported=True, namespaced=False),
    Kind(SECURITY, _SECURITY, "AuthorizationPolicy", protects=True),
    Kind(SECURITY, _SECURITY, "RequestAuthentication", protects=True),
    Kind(SECURITY, _SECURITY, "PeerAuthentication", protects=True),
    Kind("telemetry.istio.io", ("v1", "v1alpha1"), "Telemetry"),
    Kind("extensions.istio.io", ("v1alpha1",), "WasmPlugin"),
    Kind("extensions.istio.io", ("v1alpha1",), "TrafficExtension"),
    Kind("install.istio.io", ("v1alpha1",), "IstioOperator"),
    Kind(GATEWAY_API, ("v1", "v1beta1"), "GatewayClass", namespaced=False),
    Kind(GATEWAY_API, ("v1", "v1beta1"), "Gateway"),
    Kind(GATEWAY_API, ("v1", "v1alpha1"), "ListenerSet"),
    Kind(GATEWAY_API, ("v1", "v1beta1"), "HTTPRoute"),
    Kind(GATEWAY_API, _ROUTES, "GRPCRoute"),
    Kind(GATEWAY_API, _ROUTES, "TLSRoute"),
    Kind(GATEWAY_API, _ROUTES, "TCPRoute"),
    Kind(GATEWAY_API, _ROUTES, "UDPRoute"),
    Kind(GATEWAY_API, _ROUTES, "ReferenceGrant"),
    Kind(GATEWAY_API, _ROUTES, "BackendTLSPolicy"),
    Kind("", ("v1",), "Service", Service, supported=True, beside=True, dns_label=True),
    Kind("discovery.k8s.io", ("v1", "v1beta1"), "EndpointSlice", EndpointSlice, supported=True, beside=True),
    Kind("", ("v1",), "Endpoints", Endpoints, supported=True, beside=True),
    Kind("", ("v1",), "Pod", Pod, supported=True, beside=True),
    Kind("apps", ("v1", "v1beta2", "v1beta1"), "Deployment", Workload, supported=True, beside=True),
    Kind("apps", ("v1", "v1beta2"), "ReplicaSet", Workload, supported=True, beside=True),
    Kind("apps", ("v1", "v1beta2", "v1beta1"), "StatefulSet", Workload, supported=True, beside=True),
    Kind("apps", ("v1", "v1beta2"), "DaemonSet", Workload, supported=True, beside=True),
    Kind("", ("v1",), "Secret", Secret, supported=True, beside=True, secret=True),
    Kind("", ("v1",), "ConfigMap", ConfigMap, supported=True, beside=True),
    Kind("", ("v1",), "Node", Node, supported=True, namespaced=False, beside=True),
    Kind("", ("v1",), "Namespace", Namespace, supported=True, namespaced=False, beside=True),
)
"""Every kind that we know."""

BY_NAME: Final[dict[str, tuple[Kind, ...]]] = {
    name: tuple(kind for kind in KINDS if kind.name == name) for name in dict.fromkeys(kind.name for kind in KINDS)
}
"""By the word after `kind:`. Gateway is two kinds, of two groups."""

GROUPS: Final = tuple(dict.fromkeys(kind.group for kind in KINDS))


def ours(group: str) -> bool:
    """Whether every kind of a group should be known to us: Istio's groups and Gateway API's."""
    return group.endswith("istio.io") or group == GATEWAY_API


def protects(kind: str, written: Any) -> bool:
    """Whether a document of a kind (as a Key calls it) protects: such are never passed over in silence.

    All of some kinds do; a DestinationRule by encrypting, a Gateway by asking its callers who they are.
    """
    if any(known.protects for known in BY_NAME.get(kind, ())):
        return True
    open_modes = _OPEN.get(kind)
    return open_modes is not None and any(mode not in open_modes for mode in _tls_modes(written))


_OPEN: Final = {
    "DestinationRule": (None, "DISABLE"),
    "Gateway": (None, "SIMPLE", "OPTIONAL_MUTUAL", "PASSTHROUGH", "AUTO_PASSTHROUGH"),
}
"""The modes of `tls` that protect nothing that would be open without; a misspelt one may have been meant to."""


def _tls_modes(written: Any) -> Iterator[Any]:
    """The `mode` of every `tls` in a document."""
    for key, value in written.items() if isinstance(written, dict) else ():
        if key == "tls" and isinstance(value, dict):
            yield value.get("mode")
        yield from _tls_modes(value)
    for value in written if isinstance(written, list) else ():
        yield from _tls_modes(value)
