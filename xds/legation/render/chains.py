"""Filter chains of a listener: what happens to a connection, and which connections it is for.

Envoy: envoy.config.listener.v3.FilterChain. Envoy takes the chain whose match is the most specific, by the name that a
TLS client asks for first of all, and refuses a listener in which two chains match the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_network

from envoy.config.core.v3 import base_pb2
from envoy.config.listener.v3 import listener_components_pb2 as listener_pb2
from google.protobuf import duration_pb2
from google.protobuf.message import Message

from legation.model.meta import Key
from legation.render import wire
from legation.snapshot.snapshot import Ref

ANY = "*"
_HANDSHAKE = duration_pb2.Duration(seconds=15)


@dataclass(frozen=True, slots=True)
class Chain:
    """A filter chain without its match, and the connections that it is for.

    `names` are those that TLS clients ask for, `subnets` what they connected to, `protocols` what they offer to speak
    (ALPN); an empty one means any. `plain`: it is for what is not TLS.
    """

    body: bytes
    names: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()
    plain: bool = False
    refs: frozenset[Ref] = frozenset()
    origins: tuple[Key, ...] = ()


def chain(
    name: str,
    config: Message,
    socket: base_pb2.TransportSocket | None = None,
    before: Iterable[tuple[str, Message]] = (),
    called: str = "",
) -> bytes:
    """The body of a Chain with one filter, perhaps others before it, and perhaps TLS around it."""
    made = listener_pb2.FilterChain(name=called)
    for other, its in before:
        made.filters.add(name=other).typed_config.CopyFrom(wire.pack(its))
    made.filters.add(name=name).typed_config.CopyFrom(wire.pack(config))
    if socket is not None:
        made.transport_socket.CopyFrom(socket)
        made.transport_socket_connect_timeout.CopyFrom(_HANDSHAKE)
    return wire.body(made)


def told_apart(chains: Iterable[Chain]) -> Iterator[listener_pb2.FilterChain]:
    """The chains with their matches. Where two would match the same the first has it, and the other what is left."""
    listed = list(chains)
    mixed = any(chain.plain for chain in listed) and not all(chain.plain for chain in listed)
    taken: set[tuple[str, str, tuple[str, ...], bool]] = set()
    for one in listed:
        subnets = tuple(dict.fromkeys(str(ip_network(subnet, strict=False)) for subnet in one.subnets))
        wanted = (ANY,) if ANY in one.names or not one.names else one.names
        # `*boat.example`, of which a service was warned, would cost the whole listener.
        names = dict.fromkeys(name for name in wanted if name == ANY or name.startswith("*.") or "*" not in name)
        free = [
            name
            for name in sorted(names)
            if not any((name, subnet, one.protocols, one.plain) in taken for subnet in subnets or ("",))
        ]
        taken.update((name, subnet, one.protocols, one.plain) for name in free for subnet in subnets or ("",))
        if not free:
            continue
        made = listener_pb2.FilterChain.FromString(one.body)
        if free != [ANY]:
            made.filter_chain_match.server_names.extend(free)
        for subnet in subnets:
            address, _, size = subnet.partition("/")
            made.filter_chain_match.prefix_ranges.add(address_prefix=address).prefix_len.value = int(size)
        if one.protocols:
            made.filter_chain_match.application_protocols.extend(one.protocols)
        if one.plain and (mixed or one.protocols):
            # Else TLS that asks for an unknown name would be taken for clear text, and be passed on as such.
            made.filter_chain_match.transport_protocol = "raw_buffer"
        yield made
