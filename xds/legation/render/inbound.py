"""What a sidecar opens for the calls to its workload, and the clusters that they are passed on to.

Redirected calls all arrive at one listener, which tells ports apart by where they were going; a port of a Sidecar's
`ingress` that nothing is redirected to is a listener of its own. Envoy: envoy.config.listener.v3.Listener.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2
from envoy.config.listener.v3 import listener_components_pb2 as components_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.listener.http_inspector.v3 import http_inspector_pb2
from envoy.extensions.filters.listener.original_dst.v3 import original_dst_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from google.protobuf.message import Message

from legation import names
from legation.model import inbound, mesh
from legation.model.inbound import Inbound
from legation.model.protocols import Protocol
from legation.model.proxy import Capture, Role, Scope
from legation.model.recall import Reader
from legation.model.services import ServicePort
from legation.names import ClusterName
from legation.render import assembly, clusters, http_manager, order, tcp, tls, wire
from legation.render.draft import ClusterDraft
from legation.render.features import arrivals, connection_pool, proxy_defaults
from legation.snapshot.snapshot import Ref, Resource

ORIGINAL_DESTINATION = "envoy.filters.listener.original_dst"
FROM = ("127.0.0.6", "::6")
"""The addresses from which a proxy calls its own workload: those who redirect know by them that they must not."""


def listener_names(reader: Reader, scope: Scope) -> tuple[str, ...]:
    """The names of the listeners for calls to a workload (a unit)."""
    own = tuple(_name(port) for port in reader.ask(inbound.opened, scope).ports if port.bind)
    return (names.VIRTUAL_INBOUND, *own) if _is_redirected(scope) else own


def _name(port: Inbound) -> str:
    return names.listener(port.bind, port.real)


def _is_redirected(scope: Scope) -> bool:
    return scope.role is Role.SIDECAR and scope.capture is Capture.REDIRECT


def listener(reader: Reader, name: str, scope: Scope) -> Resource | None:
    """One of them (a unit)."""
    ports = reader.ask(inbound.opened, scope).ports
    if name == names.VIRTUAL_INBOUND and _is_redirected(scope):
        return _redirected(reader, scope, [port for port in ports if not port.bind])
    return next((_own(reader, scope, port) for port in ports if port.bind and _name(port) == name), None)


def _own(reader: Reader, scope: Scope, port: Inbound) -> Resource:
    """The listener of one port."""
    made = _listener(reader, _name(port), scope, port.bind, port.real)
    _inspected(reader, made, [port])
    made.filter_chains.extend(_chains(reader, scope, port))
    return _resource(made, [port])


def _redirected(reader: Reader, scope: Scope, ports: list[Inbound]) -> Resource:
    """The listener of all redirected calls. Those to its own port would go round for ever."""
    number = inbound.arrival(reader, scope)
    made = _listener(reader, names.VIRTUAL_INBOUND, scope, "0.0.0.0", number)
    assembly.inspect(made, ORIGINAL_DESTINATION, original_dst_pb2.OriginalDst())
    _inspected(reader, made, ports)
    itself = made.filter_chains.add(name=f"{names.VIRTUAL_INBOUND}-blackhole")
    itself.filter_chain_match.destination_port.value = number
    closed = tcp_proxy_pb2.TcpProxy(stat_prefix=names.BLACK_HOLE_CLUSTER, cluster=names.BLACK_HOLE_CLUSTER)
    _add(itself, tcp.FILTER, closed)
    for port in ports:
        for chain in _chains(reader, scope, port):
            chain.filter_chain_match.destination_port.value = port.number
            made.filter_chains.append(chain)
    (others,) = _chains(reader, scope, inbound.elsewhere(reader))
    made.filter_chains.append(others)
    return _resource(made, ports)


def _listener(reader: Reader, name: str, scope: Scope, bind: str, port: int) -> listener_pb2.Listener:
    made = assembly.begun(reader, name, scope, bind, port, base_pb2.INBOUND)
    made.enable_reuse_port.value = False  # a second proxy on the port must fail, not share it at random
    return made


def _inspected(reader: Reader, made: listener_pb2.Listener, ports: list[Inbound]) -> None:
    """First bytes are waited for only on ports of which nobody said what they speak: elsewhere it may be the workload
    that speaks first. By default they are waited for without end, as in Istio.
    """
    waits: timedelta | None = reader.ask(mesh.setting, "protocol_detection_timeout")
    made.listener_filters_timeout.FromTimedelta(waits or timedelta(0))
    made.continue_on_listener_filters_timeout = True
    sniffed = [port for port in ports if port.protocol is Protocol.AUTO]
    if not sniffed:
        return
    inspector = assembly.inspect(made, assembly.HTTP_INSPECTOR, http_inspector_pb2.HttpInspector())
    if sniffed[0].bind:
        return  # it is the listener's only port
    wanted = [_on(port.number) for port in sniffed]
    if len(wanted) == 1:
        inspector.filter_disabled.not_match.CopyFrom(wanted[0])
    else:
        inspector.filter_disabled.not_match.or_match.rules.extend(wanted)


def _on(port: int) -> components_pb2.ListenerFilterChainMatchPredicate:
    made = components_pb2.ListenerFilterChainMatchPredicate()
    made.destination_port_range.start, made.destination_port_range.end = port, port + 1
    return made


def _chains(reader: Reader, scope: Scope, port: Inbound) -> Iterator[components_pb2.FilterChain]:
    """What is done with the calls to a port. Of what nobody declared, HTTP is treated as such."""
    if port.is_http or port.protocol is Protocol.AUTO:
        made = _chain(reader, port)
        filters = (found for feature in order.INBOUND_HTTP for found in feature(reader, scope, port))
        prefix = f"inbound_{_chain_name(port)};"
        manager = http_manager.inbound(reader, scope, prefix, arrivals.routes(reader, port), filters)
        _add(made, http_manager.FILTER, manager)
        if port.protocol is Protocol.AUTO:
            made.filter_chain_match.application_protocols.extend(assembly.SNIFFED)
        yield made
    if not port.is_http:
        made = _chain(reader, port)
        for feature in order.INBOUND_TCP:
            for name, config in feature(reader, scope, port):
                _add(made, name, config)
        yield made


def _chain(reader: Reader, port: Inbound) -> components_pb2.FilterChain:
    made = components_pb2.FilterChain(name=_chain_name(port))
    if port.tls is not None:
        least = reader.ask(mesh.setting, "tls_defaults")
        socket, _ = tls.downstream(port.tls, tls.HTTP if port.is_http else (), least)
        made.transport_socket.CopyFrom(socket)
        made.transport_socket_connect_timeout.FromTimedelta(timedelta(seconds=15))
    return made


def _chain_name(port: Inbound) -> str:
    return names.listener(port.bind or "0.0.0.0", port.number) if port.number else names.VIRTUAL_INBOUND


def _add(made: components_pb2.FilterChain, name: str, config: Message) -> None:
    made.filters.add(name=name).typed_config.CopyFrom(wire.pack(config))


def _resource(made: listener_pb2.Listener, ports: Iterable[Inbound]) -> Resource:
    ports = list(ports)
    refs: set[Ref] = {(names.CLUSTER, port.cluster) for port in ports}
    for port in ports:
        if port.tls is not None:
            refs |= tls.downstream(port.tls)[1]
    origins = dict.fromkeys(key for port in ports for key in port.origins)
    return wire.as_resource(made.name, made, frozenset(refs), tuple(origins))


# --- clusters -----------------------------------------------------------------------------------------------------


def cluster_names(reader: Reader, scope: Scope) -> tuple[str, ...]:
    """The clusters of the ports that a workload is called on (a unit)."""
    own = tuple(port.cluster for port in reader.ask(inbound.opened, scope).ports)
    return (*own, names.INBOUND_PASSTHROUGH_CLUSTER) if _is_redirected(scope) else own


def cluster(reader: Reader, name: str, scope: Scope) -> Resource | None:
    """One of them (a unit)."""
    ports = (*reader.ask(inbound.opened, scope).ports, inbound.elsewhere(reader))
    port = next((port for port in ports if port.cluster == name), None)
    return _cluster(reader, port) if port is not None else None


def _cluster(reader: Reader, port: Inbound) -> Resource:
    of_service = ServicePort(port.service_port, "", port.protocol, port.to)
    draft = ClusterDraft(ClusterName("inbound", port.number, "", ""), of_service, port.policy)
    made = draft.made
    made.name = port.cluster
    made.alt_stat_name = f"{port.cluster};"
    if (instance := port.instance) is not None:
        pattern = str(reader.ask(mesh.setting, "inbound_cluster_stat_name"))
        made.alt_stat_name = clusters.stat_name(reader, port.cluster, pattern, instance.service, instance.port)
    if port.address:
        made.type = cluster_pb2.Cluster.STATIC
        made.load_assignment.cluster_name = made.name
        endpoint = made.load_assignment.endpoints.add().lb_endpoints.add().endpoint
        wire.set_address(endpoint.address, port.address, port.to)
    else:
        made.type = cluster_pb2.Cluster.ORIGINAL_DST
        made.lb_policy = cluster_pb2.Cluster.CLUSTER_PROVIDED
        if port.to != port.number:
            made.original_dst_lb_config.upstream_port_override.value = port.to
        _from_itself(made)
    connection_pool.apply(draft)
    proxy_defaults.to_cluster(draft, reader)
    return wire.as_resource(made.name, draft.finished(), frozenset(draft.refs), port.origins)


def _from_itself(made: cluster_pb2.Cluster) -> None:
    source, other = FROM
    bound = made.upstream_bind_config
    bound.source_address.address, bound.source_address.port_value = source, 0
    more = bound.extra_source_addresses.add().address
    more.address, more.port_value = other, 0
