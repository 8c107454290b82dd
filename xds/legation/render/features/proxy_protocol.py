"""DestinationRule `proxyProtocol`: connections begin with a PROXY header.

Envoy: the upstream_proxy_protocol transport socket, around the one that encrypts or does not.
"""

from __future__ import annotations

from envoy.config.core.v3 import base_pb2, proxy_protocol_pb2
from envoy.extensions.transport_sockets.proxy_protocol.v3 import upstream_proxy_protocol_pb2
from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2

from legation.render import wire
from legation.render.draft import ClusterDraft

_NAME = "envoy.transport_sockets.upstream_proxy_protocol"
_VERSION = {"V1": proxy_protocol_pb2.ProxyProtocolConfig.V1, "V2": proxy_protocol_pb2.ProxyProtocolConfig.V2}


def apply(draft: ClusterDraft) -> None:
    """Wraps the socket that is there."""
    written = draft.policy.proxy_protocol
    if written is None:
        return
    inside = base_pb2.TransportSocket()
    if draft.made.HasField("transport_socket"):
        inside.CopyFrom(draft.made.transport_socket)
    else:
        inside.name = "envoy.transport_sockets.raw_buffer"
        inside.typed_config.CopyFrom(wire.pack(raw_buffer_pb2.RawBuffer()))
    around = upstream_proxy_protocol_pb2.ProxyProtocolUpstreamTransport(transport_socket=inside)
    around.config.version = _VERSION[written.version]
    draft.made.transport_socket.name = _NAME
    draft.made.transport_socket.typed_config.CopyFrom(wire.pack(around))
