"""MeshConfig `pathNormalization`, and `defaultConfig`: what stands in front of gateways, and which headers proxies add.

Envoy: fields of HttpConnectionManager, Router, VirtualHost and Listener that no route decides.
"""

from __future__ import annotations

from typing import Final

from envoy.config.core.v3 import extension_pb2, protocol_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.listener.proxy_protocol.v3 import proxy_protocol_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from envoy.extensions.http.header_formatters.preserve_case.v3 import preserve_case_pb2
from google.protobuf.message import Message

from legation.model import mesh
from legation.model.proxy import Role, Scope
from legation.model.proxy_defaults import ProxyHeaders, Topology
from legation.model.recall import Reader
from legation.render import wire
from legation.render.draft import ClusterDraft

_Manager = hcm_pb2.HttpConnectionManager
_ORDINARY: Final = ProxyHeaders()
_DETAILS: Final = {
    "SANITIZE": _Manager.SANITIZE,
    "FORWARD_ONLY": _Manager.FORWARD_ONLY,
    "APPEND_FORWARD": _Manager.APPEND_FORWARD,
    "SANITIZE_SET": _Manager.SANITIZE_SET,
    "ALWAYS_FORWARD_ONLY": _Manager.ALWAYS_FORWARD_ONLY,
}


def to_manager(made: hcm_pb2.HttpConnectionManager, reader: Reader, scope: Scope) -> None:
    """How a connection manager treats paths, clients' addresses and headers."""
    _paths(made, reader)
    headers = _headers(reader)
    topology: Topology | None = reader.ask(mesh.proxy_default, "gateway_topology")
    if topology is not None and scope.role is Role.GATEWAY:
        made.xff_num_trusted_hops = topology.num_trusted_proxies
        if topology.forward_client_cert_details != "UNDEFINED":
            made.forward_client_cert_details = _DETAILS[topology.forward_client_cert_details]
    if headers.server is not None and headers.server.disabled:
        made.server_name = ""
        made.server_header_transformation = _Manager.PASS_THROUGH
    elif headers.server is not None and headers.server.value:
        made.server_name = headers.server.value
    if headers.request_id is not None and headers.request_id.disabled:
        made.generate_request_id.value = False
    if headers.x_forwarded_port is not None and headers.x_forwarded_port.enabled:
        made.append_x_forwarded_port = True
    if headers.preserve_http1_header_case:
        _keep_case(made.http_protocol_options)


def to_inbound(made: hcm_pb2.HttpConnectionManager, reader: Reader) -> None:
    """What a workload is told of its callers' certificates."""
    headers = _headers(reader)
    if headers.forwarded_client_cert != "UNDEFINED":
        made.forward_client_cert_details = _DETAILS[headers.forwarded_client_cert]
    if (said := headers.set_current_client_cert_details) is not None:
        made.ClearField("set_current_client_cert_details")
        details = made.set_current_client_cert_details
        details.subject.value = bool(said.subject)
        details.cert, details.chain = bool(said.cert), bool(said.chain)
        details.dns, details.uri = bool(said.dns), bool(said.uri)


def _paths(made: hcm_pb2.HttpConnectionManager, reader: Reader) -> None:
    written = reader.ask(mesh.setting, "path_normalization")
    how = written.normalization if written is not None else "DEFAULT"
    made.normalize_path.value = how != "NONE"
    made.merge_slashes = how in ("MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES")
    decodes = how == "DECODE_AND_MERGE_SLASHES"
    made.path_with_escaped_slashes_action = _Manager.UNESCAPE_AND_FORWARD if decodes else _Manager.KEEP_UNCHANGED


def of_filter(config: Message, reader: Reader) -> Message:
    """An HTTP filter's configuration; of the router's, whether it says how a request fared."""
    switch = _headers(reader).envoy_debug_headers
    if isinstance(config, router_pb2.Router) and switch is not None and switch.disabled:
        made = router_pb2.Router(suppress_envoy_headers=True)
        made.MergeFrom(config)
        return made
    return config


def to_listener(made: listener_pb2.Listener, reader: Reader, scope: Scope) -> None:
    """A PROXY header in front of every connection to a gateway."""
    topology: Topology | None = reader.ask(mesh.proxy_default, "gateway_topology")
    if scope.role is Role.GATEWAY and topology is not None and topology.proxy_protocol is not None:
        packed = wire.pack(proxy_protocol_pb2.ProxyProtocol())
        made.listener_filters.add(name="envoy.filters.listener.proxy_protocol").typed_config.CopyFrom(packed)


def counts_attempts(reader: Reader) -> bool:
    """Whether services are told which try a request is."""
    switch = _headers(reader).attempt_count
    return not (switch is not None and switch.disabled)


def says_host(reader: Reader) -> bool:
    """Whether services are told the host of a request whose host is rewritten."""
    header = _headers(reader).x_forwarded_host
    return header is not None and bool(header.enabled)


def to_cluster(draft: ClusterDraft, reader: Reader) -> None:
    """Whether the names of HTTP/1.1 headers keep their capitals on the way to a service."""
    if not _headers(reader).preserve_http1_header_case or not draft.port.protocol.is_http or draft.speaks_http2:
        return
    as_called = draft.http.WhichOneof("upstream_protocol_options") == "use_downstream_protocol_config"
    versions = draft.http.use_downstream_protocol_config if as_called else draft.http.explicit_http_config
    _keep_case(versions.http_protocol_options)


def _keep_case(made: protocol_pb2.Http1ProtocolOptions) -> None:
    formatter = made.header_key_format.stateful_formatter
    formatter.CopyFrom(
        extension_pb2.TypedExtensionConfig(
            name="envoy.http.stateful_header_formatters.preserve_case",
            typed_config=wire.pack(preserve_case_pb2.PreserveCaseFormatterConfig()),
        )
    )


def _headers(reader: Reader) -> ProxyHeaders:
    return reader.ask(mesh.proxy_default, "proxy_headers") or _ORDINARY
