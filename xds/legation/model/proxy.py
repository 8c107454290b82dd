"""Who is asking (Proxy), and the only part of it that rendering may see (Scope).

Istio's node id and metadata are understood as they are, so its bootstraps fit:
`router~10.0.0.7~web-1.default~default.svc.cluster.local` with NAMESPACE, LABELS, INTERCEPTION_MODE and so on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple


class Role(StrEnum):
    """What a proxy does: stands at the edge, or beside a workload."""

    GATEWAY = "gateway"
    SIDECAR = "sidecar"


class Capture(StrEnum):
    """How a sidecar's traffic reaches it: real listeners on loopback, or redirection by the kernel."""

    NONE = "none"
    REDIRECT = "redirect"


class Channel(StrEnum):
    """What a client's connection runs over, and so who else can read what is sent on it."""

    SOCKET = "a Unix socket"
    LOOPBACK = "plaintext on loopback"
    OPEN = "plaintext"
    TLS = "TLS"


class Client(StrEnum):
    """The kind of xDS client: Envoy, or a gRPC library without a proxy."""

    ENVOY = "envoy"
    GRPC = "grpc"


Labels = tuple[tuple[str, str], ...]
"""Labels as a sorted, hashable value."""

GATEWAY_LABELS = {"istio": "ingressgateway"}
"""The labels of a gateway that names none."""

_ROLE_OF_NODE_TYPE = {"router": Role.GATEWAY, "sidecar": Role.SIDECAR}
NODE_TYPE_OF_ROLE = {role: node_type for node_type, role in _ROLE_OF_NODE_TYPE.items()}


class Locality(NamedTuple):
    """Where a proxy or an endpoint runs: `region/zone/subzone`, any tail of it empty."""

    region: str = ""
    zone: str = ""
    subzone: str = ""

    @staticmethod
    def parse(text: str) -> Locality:
        """`eu/eu-1/rack7`; missing parts are empty, further ones are left out."""
        return Locality(*[*text.split("/"), "", "", ""][:3])

    def __str__(self) -> str:
        return "/".join((self.region, self.zone, self.subzone)).rstrip("/")


NOWHERE = Locality()
"""Where something runs of which nobody says where."""

TOPOLOGY = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone")
"""The labels that stand for the parts of a locality."""


def topology(of: Locality) -> dict[str, str]:
    """A locality as labels: everything that runs somewhere has these, written or not."""
    return {key: part for key, part in zip(TOPOLOGY, (of.region, of.zone, of.subzone), strict=True) if part}


@dataclass(frozen=True, slots=True)
class Workload:
    """What of a sidecar's own workload the calls to it depend on: the same for all replicas, unless something names one.

    `labels` are those by which services select workloads, `ports` the named ones, of a Pod's containers or (`is_entry`) of
    a WorkloadEntry. `address` is empty unless something looks at it.
    """

    labels: Labels = ()
    ports: tuple[tuple[str, int], ...] = ()
    is_entry: bool = False
    address: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """Every property of a proxy that some renderer reads. Proxies of equal scope share one Snapshot.

    `labels` are only those that some selector looks at; `locality` is empty where nothing depends on it. `bind` is the
    address of a sidecar's own listeners in capture mode NONE; `port_map` says which written port is served on which real
    one; without `reuse_port` a second proxy on the same port fails loudly. `secrets`: nobody else can read what it is
    sent, so it may be sent keys. `workload` is what a sidecar stands beside, as far as calls to it depend on that.
    """

    role: Role
    namespace: str
    labels: Labels = ()
    capture: Capture = Capture.NONE
    bind: str = "127.0.0.1"
    port_map: tuple[tuple[int, int], ...] = ()
    reuse_port: bool = True
    client: Client = Client.ENVOY
    locality: Locality = Locality()
    secrets: bool = False
    workload: Workload | None = None
    hash: int = field(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        # A scope is part of thousands of questions; it is hashed once.
        parts = (self.role, self.namespace, self.labels, self.capture, self.bind, self.port_map, self.reuse_port)
        object.__setattr__(self, "hash", hash((*parts, self.client, self.locality, self.secrets, self.workload)))

    def __hash__(self) -> int:
        return self.hash

    @property
    def anywhere(self) -> Scope:
        """The same, wherever it runs: listeners and routes do not depend on that."""
        return replace(self, locality=Locality()) if self.locality != Locality() else self

    @property
    def outward(self) -> Scope:
        """The same, beside whatever workload: the calls that it makes do not depend on what calls it takes."""
        return replace(self, workload=None) if self.workload is not None else self

    def real_port(self, written: int) -> int:
        """The port to listen on for a port as it is written."""
        return dict(self.port_map).get(written, written)


@dataclass(frozen=True, slots=True)
class Proxy:
    """A client as it introduced itself. Everything here is a claim until the channel has verified it."""

    id: str
    role: Role
    namespace: str
    name: str
    ip: str = ""
    labels: Labels = ()
    locality: Locality = Locality()
    capture: Capture = Capture.REDIRECT
    bind: str = "127.0.0.1"
    port_map: tuple[tuple[int, int], ...] = ()
    reuse_port: bool = True
    client: Client = Client.ENVOY
    version: str = ""
    deployment: str = ""
    """What made its workload, if it says that."""

    def scope(self, label_keys: frozenset[str]) -> Scope:
        """The projection that rendering sees; `label_keys` are the labels that some selector looks at, LOCALITY among
        them if something depends on where proxies run.
        """
        return Scope(
            role=self.role,
            namespace=self.namespace,
            labels=tuple((key, value) for key, value in self.labels if key in label_keys),
            capture=self.capture,
            bind=self.bind,
            port_map=self.port_map,
            reuse_port=self.reuse_port,
            client=self.client,
            locality=self._place if LOCALITY in label_keys else Locality(),
        )

    @property
    def _place(self) -> Locality:
        """Where it runs, as its labels say, else as Envoy does."""
        own = dict(self.labels)
        if any(key in own for key in TOPOLOGY):
            return Locality(*(own.get(key, "") for key in TOPOLOGY))
        written = own.get("topology.istio.io/locality") or own.get("istio-locality")
        return Locality.parse(written.replace(".", "/")) if written else self.locality


LOCALITY = "locality"
"""Stands among the keys of labels for where a proxy runs."""


def labels(of: Mapping[str, Any]) -> Labels:
    """Labels as a sorted tuple; values that are not strings are written as strings."""
    return tuple(sorted((str(key), str(value)) for key, value in of.items()))


def introduce(
    node_id: str,
    metadata: Mapping[str, Any],
    locality: Locality = Locality(),
    user_agent: str = "",
    user_agent_version: str = "",
) -> Proxy:
    """The Proxy behind an xDS node.

    A plain id is a gateway in namespace `default` with the labels of its metadata. A gRPC library calls the mesh as a
    sidecar does, whatever its id, and opens nothing. Raises ValueError for an empty id, and for one in Istio's form whose
    type we do not serve.
    """
    if not node_id:
        raise ValueError("the node has no id")
    role, ip, name, namespace = Role.GATEWAY, "", node_id, "default"
    parts = node_id.split("~")
    if len(parts) == 4:
        if parts[0] not in _ROLE_OF_NODE_TYPE:
            known = " or ".join(_ROLE_OF_NODE_TYPE)
            raise ValueError(f"node type {parts[0]!r} is not served; it must be {known}")
        role, ip, name = _ROLE_OF_NODE_TYPE[parts[0]], parts[1], parts[2].partition(".")[0]
        namespace = parts[3].partition(".")[0] or "default"
    written = metadata.get("LABELS")
    own = labels(written) if isinstance(written, Mapping) else ()
    if metadata.get("GENERATOR") == "grpc" or user_agent.lower().startswith("grpc"):
        return Proxy(
            id=node_id, role=Role.SIDECAR, namespace=str(metadata.get("NAMESPACE") or namespace), name=name, ip=ip,
            labels=own, locality=locality, capture=Capture.NONE, client=Client.GRPC, version=user_agent_version,
        )  # fmt: skip
    return Proxy(
        id=node_id,
        role=role,
        namespace=str(metadata.get("NAMESPACE") or namespace),
        name=name,
        ip=ip,
        labels=own,
        locality=locality,
        capture=Capture.NONE if metadata.get("INTERCEPTION_MODE") == "NONE" else Capture.REDIRECT,
        bind=str(metadata.get("LEGATION_BIND") or "127.0.0.1"),
        port_map=_port_map(metadata.get("LEGATION_PORT_MAP")),
        reuse_port=str(metadata.get("LEGATION_REUSE_PORT", "true")).lower() != "false",
        version=user_agent_version,
        deployment=str(metadata.get("WORKLOAD_NAME") or ""),
    )


def _port_map(written: Any) -> tuple[tuple[int, int], ...]:
    """`{"80": 8080}`; entries that are not ports are no one's and are left out."""
    if not isinstance(written, Mapping):
        return ()
    pairs = ((str(key), str(value).removesuffix(".0")) for key, value in written.items())
    return tuple(sorted((int(key), int(value)) for key, value in pairs if key.isdigit() and value.isdigit()))
