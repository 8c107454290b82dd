"""What a port speaks, and how documents say so.

Source: Istio's "Protocol Selection" page.
"""

from __future__ import annotations

from enum import StrEnum


class Protocol(StrEnum):
    """What a port speaks. AUTO: nobody said."""

    HTTP = "HTTP"
    HTTP2 = "HTTP2"
    GRPC = "GRPC"
    GRPC_WEB = "GRPC-Web"
    HTTPS = "HTTPS"
    TLS = "TLS"
    TCP = "TCP"
    MONGO = "Mongo"
    REDIS = "Redis"
    MYSQL = "MySQL"
    UDP = "UDP"
    AUTO = ""

    @property
    def is_http(self) -> bool:
        """Requests can be routed by their content (an undeclared port is taken to carry HTTP)."""
        return self in _HTTP

    @property
    def is_http2(self) -> bool:
        """The service is spoken to in HTTP/2 with prior knowledge."""
        return self in (Protocol.HTTP2, Protocol.GRPC, Protocol.GRPC_WEB)


_HTTP = frozenset((Protocol.HTTP, Protocol.HTTP2, Protocol.GRPC, Protocol.GRPC_WEB, Protocol.AUTO))
_BY_NAME = {
    **{protocol.value.lower(): protocol for protocol in Protocol if protocol is not Protocol.AUTO},
    "http_proxy": Protocol.HTTP,
    "kubernetes.io/h2c": Protocol.HTTP2,
    "kubernetes.io/ws": Protocol.HTTP,
    "kubernetes.io/wss": Protocol.HTTPS,
}
_WELL_KNOWN_TCP = frozenset((25, 53, 3306, 27017))


def of_name(name: str, number: int = 0) -> Protocol:
    """The protocol that a Kubernetes port declares by its appProtocol or name: `http-web` is HTTP, `web-http` nothing."""
    name = name.lower()
    if name.startswith("grpc-web"):
        return Protocol.GRPC_WEB
    found = _BY_NAME.get(name) or _BY_NAME.get(name.partition("-")[0])
    return found or (Protocol.TCP if number in _WELL_KNOWN_TCP else Protocol.AUTO)


def of_field(text: str) -> Protocol:
    """The protocol that a ServiceEntry's or Gateway's port states."""
    return _BY_NAME.get(text.lower(), Protocol.AUTO)
