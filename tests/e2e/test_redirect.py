"""Redirected traffic: what a workload calls is caught on its way, by the kernel, and told apart."""

from __future__ import annotations

import asyncio

import pytest

from . import namespace


@pytest.mark.redirected
async def test_connections_are_caught_wherever_they_go() -> None:
    """What the other tests here stand on."""
    namespace.redirect(namespace.OUTBOUND)
    caught = asyncio.Event()
    server = await asyncio.start_server(lambda _, writer: (caught.set(), writer.close()), "0.0.0.0", 15001)
    async with server:
        _, writer = await asyncio.open_connection("10.1.2.3", 80)
        await caught.wait()
        writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("10.1.2.3", 80)
