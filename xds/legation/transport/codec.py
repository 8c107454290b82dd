"""The wire format: discovery requests to events, Send commands to bytes.

Requests go through protobuf. Responses do not: a resource is bytes already, and a protobuf message that lists submessages
is its fields one after the other, so a response is a join of what is there and a few bytes of header.
Source: `envoy/service/discovery/v3/discovery.proto`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sized
from functools import lru_cache
from sys import intern

from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import json_format

from legation.model.proxy import Locality, Proxy, introduce
from legation.snapshot.delimited import delimited, head
from legation.stream.commands import Send
from legation.stream.events import Fault, Requested
from legation.stream.machine import MAX_NAMES
from legation.transport import limits

ERROR_LIMIT = 16 << 10
"""Characters of a client's error text that are kept: Envoy may quote whole resources in it."""

LONGEST_ID = 1024
"""Characters of a node's id. It is told to people, and so has no line breaks."""


# Requests.


def sotw_request(raw: bytes, default_type: str = "") -> tuple[Requested, base_pb2.Node | None]:
    """A DiscoveryRequest and the node in it, if it has one. Raises DecodeError for bytes that are none, and TooMany."""
    message = discovery_pb2.DiscoveryRequest.FromString(raw)
    # A client that names by locator names something: an empty list of names alone would mean everything.
    _bounded(message.resource_names, message.resource_locators)
    listed = message.resource_names or [locator.name for locator in message.resource_locators]
    event = Requested(
        type_url=message.type_url or default_type,
        names=_same(listed),
        version_info=message.version_info,
        response_nonce=message.response_nonce,
        error=_fault(message),
    )
    return event, message.node if message.HasField("node") else None


def delta_request(raw: bytes, default_type: str = "") -> tuple[Requested, base_pb2.Node | None]:
    """A DeltaDiscoveryRequest and the node in it, if it has one. Raises DecodeError for bytes that are none, and TooMany."""
    message = discovery_pb2.DeltaDiscoveryRequest.FromString(raw)
    _bounded(
        message.resource_names_subscribe, message.resource_locators_subscribe, message.initial_resource_versions,
        message.resource_names_unsubscribe, message.resource_locators_unsubscribe,
    )  # fmt: skip
    located = (locator.name for locator in message.resource_locators_subscribe)
    unlocated = (locator.name for locator in message.resource_locators_unsubscribe)
    event = Requested(
        type_url=message.type_url or default_type,
        subscribe=_same((*message.resource_names_subscribe, *located)),
        unsubscribe=(*message.resource_names_unsubscribe, *unlocated),
        initial_resource_versions={intern(name): one for name, one in message.initial_resource_versions.items()},
        response_nonce=message.response_nonce,
        error=_fault(message),
    )
    return event, message.node if message.HasField("node") else None


def proxy(node: base_pb2.Node) -> Proxy:
    """Who a node says it is. Nothing of the message is kept: Envoy lists every extension that it has in it.

    Raises ValueError for a node that does not say it in a form that we serve, or at a length that nobody needs.
    """
    if node.ByteSize() > limits.NODE or node.metadata.ByteSize() > limits.METADATA:
        raise ValueError(f"the node is larger than {limits.NODE} bytes, or its metadata than {limits.METADATA}")
    if len(node.id) > LONGEST_ID or not node.id.isprintable():
        raise ValueError(f"the node's id is longer than {LONGEST_ID} characters, or cannot be printed")
    version = node.user_agent_version
    if node.HasField("user_agent_build_version"):
        build = node.user_agent_build_version.version
        version = f"{build.major_number}.{build.minor_number}.{build.patch}"
    return introduce(
        node.id,
        json_format.MessageToDict(node.metadata),
        Locality(node.locality.region, node.locality.zone, node.locality.sub_zone),
        node.user_agent_name,
        version,
    )


def _bounded(*lists: Sized) -> None:
    """Raises TooMany before each of a million names costs something. The stream counts again what it would remember."""
    if max(map(len, lists)) > MAX_NAMES:
        raise limits.TooMany(f"more than {MAX_NAMES:,} names in one request")


def _same(names: Iterable[str]) -> tuple[str, ...]:
    """Names as they are kept: the same text is there once, however many clients ask for it."""
    return tuple(map(intern, names))


def _fault(message: discovery_pb2.DiscoveryRequest | discovery_pb2.DeltaDiscoveryRequest) -> Fault | None:
    if not message.HasField("error_detail"):
        return None
    return Fault(message.error_detail.code, message.error_detail.message[:ERROR_LIMIT])


# Responses.


def sotw_response(send: Send, identifier: bytes) -> bytes:
    """A DiscoveryResponse. `identifier` is what `control_plane` makes of the server's name."""
    parts = [_text(1, send.version)]
    for resource in send.resources:
        parts += (head(2, len(resource.body)), resource.body)
    parts += (_text(4, send.type_url), _text(5, send.nonce), delimited(6, identifier))
    return b"".join(parts)


def delta_response(send: Send, identifier: bytes) -> bytes:
    """A DeltaDiscoveryResponse. `identifier` is what `control_plane` makes of the server's name."""
    parts = [_text(1, send.version)]
    for resource in send.resources:
        parts += (_entry(resource.name, resource.version, len(resource.body)), resource.body)
    parts += (_text(4, send.type_url), _text(5, send.nonce))
    parts += (_text(6, name) for name in send.removed)
    parts.append(delimited(7, identifier))
    return b"".join(parts)


def control_plane(identifier: str) -> bytes:
    """The body of a `ControlPlane` message."""
    return _text(1, identifier)


@lru_cache(maxsize=1 << 16)
def _entry(name: str, version: str, size: int) -> bytes:
    """What stands before a body of `size` bytes in a delta response: the head of a Resource message, its name (field 3)
    and version (1), and the head of its `resource` (2). Made once for all streams; the body itself is never copied.
    """
    fields = _text(3, name) + _text(1, version) + head(2, size)
    return head(2, len(fields) + size) + fields


def _text(number: int, text: str) -> bytes:
    return delimited(number, text.encode())
