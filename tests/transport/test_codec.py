"""What we write ourselves is what protobuf would have written."""

from __future__ import annotations

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2
from hypothesis import given
from hypothesis import strategies as st
from legation.names import CLUSTER
from legation.stream.commands import Send
from legation.transport import codec

from transport.wire import packed

SENDS = st.builds(
    Send,
    type_url=st.just(CLUSTER),
    version=st.text(min_size=1, max_size=40),
    nonce=st.text(min_size=1, max_size=200),
    resources=st.lists(
        st.builds(packed, st.just(CLUSTER), st.text(min_size=1, max_size=10), st.text(max_size=20_000)), max_size=5
    ).map(tuple),
    removed=st.lists(st.text(min_size=1), max_size=5).map(tuple),
)
PLANE = codec.control_plane("legation")


@given(SENDS)
def test_a_state_of_the_world_response(send: Send) -> None:
    expected = discovery_pb2.DiscoveryResponse(
        version_info=send.version,
        type_url=send.type_url,
        nonce=send.nonce,
        resources=[any_pb2.Any.FromString(one.body) for one in send.resources],
    )
    expected.control_plane.identifier = "legation"
    assert codec.sotw_response(send, PLANE) == expected.SerializeToString(deterministic=True)


@given(SENDS)
def test_an_incremental_response(send: Send) -> None:
    expected = discovery_pb2.DeltaDiscoveryResponse(
        system_version_info=send.version,
        type_url=send.type_url,
        nonce=send.nonce,
        removed_resources=send.removed,
    )
    expected.control_plane.identifier = "legation"
    for one in send.resources:
        entry = expected.resources.add(name=one.name, version=one.version)
        entry.resource.ParseFromString(one.body)
    made = discovery_pb2.DeltaDiscoveryResponse.FromString(codec.delta_response(send, PLANE))
    assert made == expected


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 1 << 21])
def test_lengths_at_every_edge(size: int) -> None:
    send = Send(CLUSTER, "v", "n" * size, ())
    assert discovery_pb2.DiscoveryResponse.FromString(codec.sotw_response(send, PLANE)).nonce == "n" * size


def test_a_long_refusal_is_cut() -> None:
    """Envoy may quote a whole resource in it."""
    request = discovery_pb2.DiscoveryRequest(type_url=CLUSTER)
    request.error_detail.message = "x" * (1 << 20)
    event, node = codec.sotw_request(request.SerializeToString())
    assert node is None
    assert event.error is not None
    assert len(event.error.message) == codec.ERROR_LIMIT
