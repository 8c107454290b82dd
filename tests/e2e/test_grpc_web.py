"""Calls as browsers make them reach services that speak gRPC, through a gateway and through a sidecar."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
from collections.abc import AsyncIterator

import grpc
import pytest

from .mesh import Mesh, Place, document, eventually, gateway, rule, service

pytestmark = pytest.mark.envoy

ANSWERED = (200, b"\x00\x00\x00\x00\x06served", b"grpc-status:0")


@contextlib.asynccontextmanager
async def till() -> AsyncIterator[int]:
    """A gRPC server, and its port."""
    server = grpc.aio.server()

    async def ring(request: bytes, _context: object) -> bytes:
        assert request == b"one"
        return b"served"

    handler = grpc.unary_unary_rpc_method_handler(ring)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Till", {"Ring": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


def call(place: Place, host: str) -> tuple[int, bytes, bytes]:
    """A call over HTTP/1.1: its status, the frame of the answer, and how the frame after it begins, which is how it went."""
    connection = http.client.HTTPConnection(place.address, place.port, timeout=20)
    try:
        headers = {"host": host, "content-type": "application/grpc-web+proto", "x-grpc-web": "1"}
        connection.request("POST", "/shop.Till/Ring", b"\x00\x00\x00\x00\x03one", headers)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, body[:11], body[16:29]
    finally:
        connection.close()


async def calls(place: Place, host: str) -> tuple[int, bytes, bytes]:
    try:
        return await asyncio.to_thread(call, place, host)
    except (OSError, http.client.HTTPException):
        return 0, b"", b""


async def test_a_gateway_translates_what_browsers_speak(mesh: Mesh) -> None:
    async with till() as port:
        behind = service("till", port)
        behind["spec"]["ports"][0]["protocol"] = "GRPC"
        front = gateway()
        (server,) = front["spec"]["servers"]
        mesh.write("mesh.yaml", front, behind, rule("till", "till"))
        await mesh.serve()
        place = (await mesh.gateway()).at()
        assert (await calls(place, "till.example"))[1:] != ANSWERED[1:]
        server["port"]["protocol"] = "GRPC-Web"
        mesh.write("mesh.yaml", front, behind, rule("till", "till"))
        await eventually(lambda: calls(place, "till.example"), lambda found: found == ANSWERED)


async def test_a_sidecar_translates_for_a_service_that_is_called_with_it(single: Mesh) -> None:
    async with till() as port:
        spec = {
            "hosts": ["till.test"],
            "ports": [{"number": 80, "name": "http", "protocol": "GRPC-Web"}],
            "resolution": "STATIC",
            "endpoints": [{"address": "127.0.0.1", "ports": {"http": port}}],
        }
        single.write("mesh.yaml", document("ServiceEntry", "till", spec))
        await single.serve()
        place = (await single.sidecar(80)).at(80)
        await eventually(lambda: calls(place, "till.test"), lambda found: found == ANSWERED)
