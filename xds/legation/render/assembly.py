"""A listener from its filter chains.

Envoy: envoy.config.listener.v3.Listener.
"""

from __future__ import annotations

from collections.abc import Iterable

from envoy.config.core.v3 import base_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2

from legation.model.proxy import Role, Scope
from legation.model.recall import Reader
from legation.render import access_logs, wire
from legation.render.chains import Chain, told_apart
from legation.render.features import proxy_defaults
from legation.snapshot.snapshot import Resource

TLS_INSPECTOR = "envoy.filters.listener.tls_inspector"


def listener(
    reader: Reader, name: str, scope: Scope, bind: str, port: int, chains: Iterable[Chain], inspected: bool = False
) -> Resource | None:
    """The listener of these chains; None if there are none. `inspected`: the name that a TLS client asks for is read."""
    chains = list(chains)
    made = listener_pb2.Listener(name=name, traffic_direction=base_pb2.OUTBOUND)
    wire.set_address(made.address, bind, port)
    if scope.role is Role.SIDECAR or not scope.reuse_port:
        made.enable_reuse_port.value = False  # a second proxy on the port must fail, not share it at random
    if scope.role is Role.GATEWAY:
        made.max_connections_to_accept_per_socket_event.value = 1
    proxy_defaults.to_listener(made, reader, scope)
    made.access_log.extend(access_logs.of_listener(reader))
    if inspected:
        # There as soon as anything speaks TLS, so that the first name that is told from others changes one chain only.
        inspector = made.listener_filters.add(name=TLS_INSPECTOR)
        inspector.typed_config.CopyFrom(wire.pack(tls_inspector_pb2.TlsInspector()))
    made.filter_chains.extend(told_apart(chains))
    if not made.filter_chains:
        return None
    refs = frozenset(ref for one in chains for ref in one.refs)
    origins = tuple(dict.fromkeys(key for one in chains for key in one.origins))
    return wire.as_resource(name, made, refs, origins)
