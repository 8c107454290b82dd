"""Messages as bytes: deterministic at every level, and put together from parts that are bytes already."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from functools import cache
from hashlib import blake2b

from envoy.config.core.v3 import address_pb2, config_source_pb2
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message

from legation import names
from legation.model.meta import Key
from legation.snapshot.delimited import delimited, head
from legation.snapshot.snapshot import Ref, Resource, resource

ADS = config_source_pb2.ConfigSource(
    ads=config_source_pb2.AggregatedConfigSource(),
    resource_api_version=config_source_pb2.ApiVersion.V3,
    initial_fetch_timeout=duration_pb2.Duration(),
)
"""Where Envoy finds endpoints and routes. Its bytes never change: a changed source makes Envoy wait for a resource that
it already has (envoy#32283, envoy#47309)."""

SECRETS = config_source_pb2.ConfigSource(
    ads=config_source_pb2.AggregatedConfigSource(), resource_api_version=config_source_pb2.ApiVersion.V3
)
"""Where Envoy finds secrets. It waits 15 s at most (the default): one that is missing must not keep a listener closed."""

UNLIMITED = 2**32 - 1
UNIX = "unix://"


def pack(message: Message) -> any_pb2.Any:
    """A message as an Any whose bytes depend on nothing but its content."""
    packed = any_pb2.Any()
    packed.Pack(message, deterministic=True)
    return packed


def body(message: Message) -> bytes:
    """The deterministic bytes of a message."""
    return message.SerializeToString(deterministic=True)


def set_duration(made: duration_pb2.Duration, length: timedelta) -> None:
    """A length of time, zero included; protobuf's own way takes several times as long, and every cluster has one."""
    made.seconds, made.nanos = length.days * 86400 + length.seconds, length.microseconds * 1000
    made.SetInParent()


def set_address(made: address_pb2.Address, address: str, port: int) -> None:
    """An IP address or a name with its port, or a Unix socket (`unix:///path`, `unix://@abstract`), which has none."""
    if address.startswith(UNIX):
        made.pipe.path = address.removeprefix(UNIX)
    else:
        made.socket_address.address, made.socket_address.port_value = address, port


def digest(value: bytes) -> bytes:
    """What tells a part from any other: 64 bits of BLAKE2b."""
    return blake2b(value, digest_size=8).digest()


def as_resource(
    name: str,
    message: Message,
    refs: frozenset[Ref] = frozenset(),
    origins: tuple[Key, ...] = (),
    *,
    harmless: bool = False,
) -> Resource:
    """A message as a Resource."""
    type_url, before = _typed(message.DESCRIPTOR.full_name)
    return resource(type_url, name, before + delimited(2, body(message)), refs, origins, harmless=harmless)


@cache
def _typed(message: str) -> tuple[str, bytes]:
    """The type URL of a kind of message, and what its Anys begin with."""
    type_url = names.TYPE_PREFIX + message
    return type_url, delimited(1, type_url.encode())


def of_parts(
    type_url: str,
    name: str,
    parts: Sequence[bytes],
    digests: Iterable[bytes],
    refs: frozenset[Ref],
    origins: Collection[Key],
) -> Resource:
    """The parts of a message as a Resource, joined once and not looked at: its version comes from the parts' `digest`s."""
    before = delimited(1, type_url.encode()) + head(2, sum(map(len, parts)))
    return Resource(type_url, name, b"".join((before, *parts)), digest(b"".join(digests)).hex(), refs, origins)
