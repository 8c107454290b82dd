"""What the transport measures and tells the application."""

from __future__ import annotations

import pytest
from legation.names import CLUSTER

from transport.wire import DELTA, STREAM, Desk, Wire, packed, serving


@pytest.mark.parametrize("method", [STREAM, DELTA])
async def test_sizes_the_first_wait_and_answers_to_what_was_not_the_last(method: str) -> None:
    """The first response of a stream says how long it took; an old nonce is counted, and harmless."""
    desk = Desk(packed(CLUSTER, "a"))
    async with serving(desk) as address, Wire(address, method) as wire:
        await wire.asks(CLUSTER)
        first = await wire.gets()
        await wire.acks(first)
        await desk.until(lambda: desk.words)
        assert desk.stale_types == []
        desk.puts(packed(CLUSTER, "a", "2"))
        await wire.gets()
        await wire.acks(first)
        await desk.until(lambda: desk.stale_types)
        assert desk.stale_types == [CLUSTER]
        assert [(url, wait is None) for url, _, wait in desk.sends] == [(CLUSTER, False), (CLUSTER, True)]
        assert desk.sends[0][1] == first.ByteSize()
        assert desk.latencies[0] >= 0.0
        assert len(desk.words) == 1
