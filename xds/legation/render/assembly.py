"""A listener from its filter chains.

Envoy: envoy.config.listener.v3.Listener.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from envoy.config.core.v3 import base_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.extensions.filters.listener.http_inspector.v3 import http_inspector_pb2
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2
from google.protobuf.message import Message

from legation.model import mesh
from legation.model.proxy import Role, Scope
from legation.model.recall import Reader
from legation.render import access_logs, wire
from legation.render.chains import Chain, told_apart
from legation.render.features import proxy_defaults
from legation.snapshot.snapshot import Resource

TLS_INSPECTOR = "envoy.filters.listener.tls_inspector"
HTTP_INSPECTOR = "envoy.filters.listener.http_inspector"
SNIFFED = ("http/1.1", "h2c")
"""What the first bytes of a connection show that is taken for HTTP."""


def listener(
    reader: Reader, name: str, scope: Scope, bind: str, port: int, chains: Iterable[Chain], inspected: bool = False
) -> Resource | None:
    """The listener of these chains; None if there are none. `inspected`: the name that a TLS client asks for is read."""
    chains = list(chains)
    made = begun(reader, name, scope, bind, port)
    if scope.role is Role.SIDECAR or not scope.reuse_port:
        made.enable_reuse_port.value = False  # a second proxy on the port must fail, not share it at random
    if scope.role is Role.GATEWAY:
        made.max_connections_to_accept_per_socket_event.value = 1
    if inspected:
        # There as soon as anything speaks TLS, so that the first name that is told from others changes one chain only.
        inspect(made, TLS_INSPECTOR, tls_inspector_pb2.TlsInspector())
    made.filter_chains.extend(told_apart(chains))
    return _finished(made, chains) if made.filter_chains else None


def telling(
    reader: Reader, name: str, scope: Scope, bind: str, port: int, chains: Iterable[Chain], rest: Chain | None,
    *, is_real: bool,
) -> Resource | None:  # fmt: skip
    """The listener of a sidecar that tells connections apart by what they begin with, as far as its chains ask for it.

    What no chain is for is `rest`, or closed; a chain that is for everything is the rest itself. `is_real`: it is opened,
    and not only there for connections that were redirected.
    """
    listed = list(chains)
    told = list(told_apart(listed))
    if not told:
        return None
    made = begun(reader, name, scope, bind, port)
    if is_real:
        made.enable_reuse_port.value = False
    else:
        made.bind_to_port.value = False
    asks = [one.filter_chain_match for one in told]
    by_tls = any(ask.server_names for ask in asks)
    by_http = any(ask.application_protocols for ask in asks)
    if by_tls:
        inspect(made, TLS_INSPECTOR, tls_inspector_pb2.TlsInspector())
    if by_http:
        inspect(made, HTTP_INSPECTOR, http_inspector_pb2.HttpInspector())
    if by_tls or by_http:
        # Whoever says nothing is waited for as long as the mesh's configuration says; without a word, for ever.
        patience = reader.ask(mesh.setting, "protocol_detection_timeout") if by_http else None
        made.listener_filters_timeout.FromTimedelta(patience or timedelta())
        made.continue_on_listener_filters_timeout = True
    for one in told:
        if len(told) > 1 and not one.filter_chain_match.ByteSize():
            made.default_filter_chain.CopyFrom(one)
        else:
            made.filter_chains.append(one)
    if rest is not None and not made.HasField("default_filter_chain") and any(ask.ByteSize() for ask in asks):
        made.default_filter_chain.MergeFromString(rest.body)
        listed.append(rest)
    return _finished(made, listed)


def catching(reader: Reader, name: str, scope: Scope, port: int, chains: Iterable[Chain]) -> Resource:
    """The listener to which the kernel redirects: it hands connections on to the one for where they wanted to go, and
    has chains for those of none. The first is for what called the listener itself.
    """
    listed = list(chains)
    made = begun(reader, name, scope, "0.0.0.0", port)
    made.enable_reuse_port.value = False
    made.use_original_dst.value = True
    made.filter_chains.extend(listener_components_pb2.FilterChain.FromString(one.body) for one in listed)
    made.filter_chains[0].filter_chain_match.destination_port.value = port
    return _finished(made, listed)


def begun(
    reader: Reader,
    name: str,
    scope: Scope,
    bind: str,
    port: int,
    direction: base_pb2.TrafficDirection = base_pb2.OUTBOUND,
) -> listener_pb2.Listener:
    """A listener without filters."""
    made = listener_pb2.Listener(name=name, traffic_direction=direction)
    wire.set_address(made.address, bind, port)
    proxy_defaults.to_listener(made, reader, scope)
    made.access_log.extend(access_logs.of_listener(reader))
    return made


def inspect(made: listener_pb2.Listener, name: str, config: Message) -> listener_components_pb2.ListenerFilter:
    """One more filter of a listener, which looks at connections before any chain is taken."""
    added = made.listener_filters.add(name=name)
    added.typed_config.CopyFrom(wire.pack(config))
    return added


def _finished(made: listener_pb2.Listener, chains: Iterable[Chain]) -> Resource:
    listed = list(chains)
    refs = frozenset(ref for one in listed for ref in one.refs)
    origins = tuple(dict.fromkeys(key for one in listed for key in one.origins))
    return wire.as_resource(made.name, made, refs, origins)
