"""What rules do to requests, seen from both ends: by the caller, and by the service that is called through a real Envoy."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from .mesh import Answer, Mesh, Place, binomial, document, eventually, free_port, gateway, rule, service

pytestmark = pytest.mark.envoy

TICK = 0.01
"""Envoy's timers count milliseconds."""


def ruled(*rules: dict[str, Any], name: str = "red", **more: Any) -> dict[str, Any]:
    """A VirtualService for the host `red.example` at the gateway."""
    spec = {"hosts": [f"{name}.example"], "gateways": ["front"], "http": list(rules), **more}
    return document("VirtualService", name, spec)


def to(name: str, **more: Any) -> dict[str, Any]:
    """A rule that sends everything to a service."""
    return {**more, "route": [{"destination": {"host": f"{name}.test"}}]}


def under(prefix: str) -> list[dict[str, Any]]:
    return [{"uri": {"prefix": prefix}}]


# --- a service that takes notes -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it arrived."""

    line: str
    headers: dict[str, str]

    @property
    def path(self) -> str:
        return self.line.split()[1]

    @property
    def attempt(self) -> int:
        return int(self.headers["x-envoy-attempt-count"])


@dataclass(slots=True)
class Noted:
    """An HTTP/1.1 service: every request is noted, then answered by `answer`: a status, or None for never."""

    answer: Callable[[Request], int | None]
    port: int = field(default_factory=free_port)
    seen: list[Request] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                line, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
                request = Request(line, {name.lower(): value for name, value in (each.split(": ", 1) for each in rest)})
                self.seen.append(request)
                if (status := self.answer(request)) is None:
                    await reader.read()
                    break
                body = str(len(self.seen)).encode()
                writer.write(f"HTTP/1.1 {status} -\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        writer.close()

    def at(self, path: str) -> list[Request]:
        """The requests for a path."""
        return [request for request in self.seen if request.path == path]

    async def noted(self, path: str, count: int = 1) -> list[Request]:
        """Returns once so many requests for a path have come."""

        async def now() -> list[Request]:
            return self.at(path)

        return await eventually(now, lambda found: len(found) >= count)


@contextlib.asynccontextmanager
async def noting(answer: Callable[[Request], int | None] = lambda request: 200) -> AsyncIterator[Noted]:
    made = Noted(answer)
    server = await asyncio.start_server(made.serve, "127.0.0.1", made.port)
    try:
        yield made
    finally:
        server.close()


# --- again --------------------------------------------------------------------------------------------------------


async def test_a_failed_request_is_tried_again_as_often_as_is_written(single: Mesh) -> None:
    async with noting(lambda request: 503 if request.attempt < 3 else 200) as noted:
        rules = [
            to("noted", match=under("/thrice"), retries={"attempts": 2, "retryOn": "5xx", "backoff": "1ms"}),
            to("noted", match=under("/twice"), retries={"attempts": 1, "retryOn": "503", "backoff": "1ms"}),
            to("noted", match=under("/other"), retries={"attempts": 5, "retryOn": "502,reset"}),
            to("noted", match=under("/never"), retries={"attempts": 0}),
            to("noted"),
        ]
        single.write("all.yaml", gateway(), service("noted", noted.port), ruled(*rules))
        await single.serve()
        place = (await single.gateway()).at()
        await place.status(200, "/thrice/first", "red.example")
        for path, status, attempts in (
            ("/thrice", 200, [1, 2, 3]), ("/twice", 503, [1, 2]), ("/other", 503, [1]), ("/never", 503, [1]), ("/", 503, [1]),
        ):  # fmt: skip
            assert (await place.ask(path, "red.example")).status == status, path
            assert [request.attempt for request in noted.at(path)] == attempts, path


async def test_nobody_listening_is_tried_again_without_being_asked_for(single: Mesh) -> None:
    """Istio's default: what was certainly not processed, twice, on another endpoint."""
    alive = await single.stand_in("alive")
    single.write("all.yaml", gateway(), service("half", alive, free_port()), rule("red", "half"))
    single.write("off.yaml", ruled(to("half", retries={"attempts": 0}), name="off"))
    await single.serve()
    place = (await single.gateway()).at()
    await place.workload("alive", host="red.example")
    assert await place.tally(30, lambda answer: answer.status, host="red.example") == {200: 30}
    assert 503 in await place.tally(30, lambda answer: answer.status, host="off.example")


async def test_each_try_has_its_time_and_all_of_them_theirs(single: Mesh) -> None:
    async with noting(lambda request: None if request.attempt == 1 or "forever" in request.path else 200) as noted:
        tries = {"attempts": 3, "perTryTimeout": "200ms", "retryOn": "gateway-error", "backoff": "1ms"}
        rules = [
            to("noted", match=under("/once"), retries=tries),
            to("noted", match=under("/forever/tries"), retries=tries),
            to("noted", match=under("/forever"), timeout="300ms", retries=tries),
        ]
        single.write("all.yaml", gateway(), service("noted", noted.port), ruled(*rules))
        await single.serve()
        place = (await single.gateway()).at()
        await place.status(200, "/once/first", "red.example")
        answer = await place.ask("/once", "red.example")
        assert (answer.status, [request.attempt for request in noted.at("/once")]) == (200, [1, 2])
        assert answer.seconds >= 0.2 - TICK
        answer = await place.ask("/forever/tries", "red.example")
        assert (answer.status, len(noted.at("/forever/tries"))) == (504, 4)
        assert answer.seconds >= 0.8 - TICK
        answer = await place.ask("/forever", "red.example")
        assert (answer.status, len(noted.at("/forever"))) == (504, 2)
        assert 0.3 - TICK <= answer.seconds < 0.8


# --- copies -------------------------------------------------------------------------------------------------------


async def test_copies_arrive_elsewhere_and_nobody_waits_for_them(single: Mesh) -> None:
    async with noting() as real, noting(lambda request: None) as copy, noting() as other:
        rules = [
            to("real", match=under("/all"), mirror={"host": "copy.test"}),
            to("real", match=under("/none"), mirror={"host": "copy.test"}, mirrorPercentage={"value": 0}),
            to(
                "real", match=under("/two"), headers={"request": {"set": {"x-set": "1"}}}, rewrite={"uri": "/changed"},
                mirrors=[{"destination": {"host": "copy.test"}}, {"destination": {"host": "other.test"}}],
            ),
            to("real", match=under("/share"), mirror={"host": "other.test"}, mirrorPercentage={"value": 25}),
            to("real"),
        ]  # fmt: skip
        services = [service(name, of.port) for name, of in {"real": real, "copy": copy, "other": other}.items()]
        single.write("all.yaml", gateway(), *services, ruled(*rules))
        await single.serve()
        place = (await single.gateway()).at()
        await place.status(200, "/", "red.example")
        assert (await place.ask("/all?a=b", "red.example", x_own="1")).status == 200
        (seen,) = await copy.noted("/all?a=b")
        assert (seen.headers["host"], seen.headers["x-own"]) == ("red.example", "1")
        assert len(real.at("/all?a=b")) == 1
        assert (await place.ask("/two", "red.example")).status == 200
        for of in (copy, other):
            (seen,) = await of.noted("/changed")
            assert seen.headers["x-set"] == "1"
        assert await place.tally(200, lambda answer: answer.status, "/share", "red.example") == {200: 200}
        assert (await place.ask("/none", "red.example")).status == 200
        await place.ask("/all?last", "red.example")
        await copy.noted("/all?last")
        assert not copy.at("/none")
        assert len(other.at("/share")) in binomial(200, 1 / 4)


# --- pages of other origins ---------------------------------------------------------------------------------------


async def preflight(place: Place, path: str, origin: str) -> Answer:
    asked = {"origin": origin, "access_control_request_method": "PUT"}
    return await place.ask(path, "red.example", method="OPTIONS", **asked)


async def test_preflights_are_answered_for_origins_that_fit(single: Mesh) -> None:
    policy = {
        "allowOrigins": [{"exact": "https://shop.example"}, {"regex": "https://[a-z]+\\.dev\\.example"}],
        "allowMethods": ["GET", "PUT"],
        "allowHeaders": ["x-token"],
        "exposeHeaders": ["x-count"],
        "maxAge": "24h",
        "allowCredentials": True,
    }
    rules = [
        to("one", match=under("/ignore"), corsPolicy={**policy, "unmatchedPreflights": "IGNORE"}),
        to("one", match=under("/plain")),
        {"match": under("/fixed"), "corsPolicy": policy, "directResponse": {"status": 200}},
        to("one", corsPolicy=policy),
    ]
    single.write("all.yaml", gateway(), service("one", await single.stand_in("one")), ruled(*rules))
    await single.serve()
    place = (await single.gateway()).at()
    await place.workload("one", host="red.example")
    for origin in ("https://shop.example", "https://next.dev.example"):
        answer = await preflight(place, "/", origin)
        told = {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}
        assert (answer.status, answer.body) == (200, b"")
        assert told == {
            "access-control-allow-origin": origin, "access-control-allow-methods": "GET,PUT",
            "access-control-allow-headers": "x-token", "access-control-expose-headers": "x-count",
            "access-control-max-age": "86400", "access-control-allow-credentials": "true",
        }  # fmt: skip
    answer = await place.ask("/", "red.example", origin="https://shop.example")
    assert (answer.workload, answer.headers["access-control-allow-origin"]) == ("one", "https://shop.example")
    assert answer.headers["access-control-expose-headers"] == "x-count"
    for origin in ("https://evil.example", "https://shop.example.evil", "https://a1.dev.example"):
        answer = await preflight(place, "/", origin)
        assert (answer.json["method"], "access-control-allow-origin" in answer.headers) == ("OPTIONS", False), origin
        answer = await preflight(place, "/ignore", origin)
        assert (answer.status, answer.body, "access-control-allow-origin" in answer.headers) == (200, b"", False), (
            origin
        )
    assert (
        "access-control-allow-origin"
        not in (await place.ask("/plain", "red.example", origin="https://shop.example")).headers
    )
    answer = await place.ask("/fixed", "red.example", origin="https://shop.example")
    assert "access-control-allow-origin" not in answer.headers  # Envoy asks routes to services only


# --- delegates ----------------------------------------------------------------------------------------------------


async def test_a_team_changes_its_own_rules_behind_a_host_that_is_not_its_own(mesh: Mesh) -> None:
    ports = {name: await mesh.stand_in(name) for name in ("one", "two")}
    root = ruled(
        {"match": under("/team"), "delegate": {"name": "team", "namespace": "theirs"}, "timeout": "300ms"}, to("one")
    )
    mesh.write("root.yaml", gateway(), *[service(name, port) for name, port in ports.items()], root)

    def team(*rules: dict[str, Any], **more: Any) -> dict[str, Any]:
        return document("VirtualService", "team", {"http": list(rules), **more}, namespace="theirs")

    mesh.write("team.yaml", team(to("two", match=under("/team/b"))))
    await mesh.serve()
    place = (await mesh.gateway()).at()
    await place.workload("two", "/team/b", "red.example")
    assert (await place.ask("/team/a", "red.example")).workload == "one"
    assert (await place.ask("/team/b", "red.example", x_stand_in_delay="2")).status == 504
    mesh.write(
        "team.yaml", team(to("two", match=[{"uri": {"exact": "/team/a"}}]), to("one", match=under("/elsewhere")))
    )
    await place.workload("two", "/team/a", "red.example")
    assert (await place.ask("/team/b", "red.example")).workload == "one"
    assert (await place.ask("/elsewhere", "red.example")).workload == "one"
    async with place.under_load("/", "red.example") as load:
        mesh.write("team.yaml", team(to("two"), exportTo=["."]))
        await place.workload("one", "/team/a", "red.example")
        mesh.write("team.yaml", team(to("two"), exportTo=[".", "default"]))
        await place.workload("two", "/team/a", "red.example")
        (mesh.folder / "team.yaml").unlink()
        await place.workload("one", "/team/a", "red.example")
    assert not load.failures
    told = [found["code"] for found in (await mesh.problems())["problems"]]
    assert told == ["IST0101"]


# --- other things that are seen from outside ----------------------------------------------------------------------


async def test_requests_of_a_match_have_statistics_of_their_own(single: Mesh) -> None:
    rules = [to("one", match=[{"uri": {"prefix": "/a"}, "statPrefix": "letters"}]), to("one")]
    single.write("all.yaml", gateway(), service("one", await single.stand_in("one")), ruled(*rules))
    await single.serve()
    proxy = await single.gateway()
    await proxy.at().workload("one", host="red.example")
    for _ in range(3):
        await proxy.at().ask("/a", "red.example")

    async def counted() -> str:
        return (await proxy.envoy.ask("/stats?filter=route.letters.upstream_rq_completed"))[1].strip()

    assert (await eventually(counted, lambda text: text.endswith(": 3"))).count("\n") == 0


# --- gRPC ---------------------------------------------------------------------------------------------------------


class Echo(grpc.GenericRpcHandler):
    """A service without a schema: `/echo/Once`, `/echo/Often`; the request's bytes come back."""

    def __init__(self) -> None:
        self.attempts: list[str] = []
        self.left: list[float | None] = []

    def service(self, details: Any) -> Any:
        match details.method:
            case "/echo/Once":
                return grpc.unary_unary_rpc_method_handler(self.once)
            case "/echo/Often":
                return grpc.stream_stream_rpc_method_handler(self.often)
        return None

    async def once(self, request: bytes, context: Any) -> bytes:
        told = dict(context.invocation_metadata())
        self.attempts.append(str(told.get("x-envoy-attempt-count")))
        self.left.append(context.time_remaining())
        if request == b"fail once" and told["x-envoy-attempt-count"] == "1":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        if request == b"fail":
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, "so it is", (("x-why", "because"),))
        if request == b"sleep":
            await asyncio.sleep(30)
        context.set_trailing_metadata((("x-trailer", "last"),))
        return request

    async def often(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            if request == b"sleep":
                await asyncio.sleep(30)
            yield request


@contextlib.asynccontextmanager
async def echoing() -> AsyncIterator[tuple[Echo, int]]:
    echo, server = Echo(), grpc.aio.server()
    server.add_generic_rpc_handlers((echo,))
    port = server.add_insecure_port(f"127.0.0.1:{free_port()}")
    await server.start()
    try:
        yield echo, port
    finally:
        await server.stop(0)


def grpc_service(port: int) -> dict[str, Any]:
    made = service("echo", port)
    made["spec"]["ports"] = [{"number": 80, "name": "http", "protocol": "GRPC"}]
    return made


def calls_to(place: Place) -> grpc.aio.Channel:
    options = (("grpc.default_authority", "red.example"), ("grpc.enable_retries", 0))
    return grpc.aio.insecure_channel(f"{place.address}:{place.port}", options)


async def failure(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_grpc_passes_with_trailers_streams_statuses_and_retries(single: Mesh) -> None:
    async with echoing() as (echo, port):
        rules = [
            to(
                "echo", match=[{"headers": {"x-abort": {}}}],
                fault={"abort": {"grpcStatus": "RESOURCE_EXHAUSTED", "percentage": {"value": 100}}},
            ),
            to("echo", match=[{"uri": {"exact": "/echo/Once"}}]),
            to("echo"),
        ]  # fmt: skip
        single.write("all.yaml", gateway(), grpc_service(port), ruled(*rules))
        await single.serve()
        place = (await single.gateway()).at()
        await place.answers(lambda answer: "grpc-status" in answer.headers, "/echo/None", "red.example",
                            content_type="application/grpc", te="trailers")  # fmt: skip
        async with calls_to(place) as channel:
            once = channel.unary_unary("/echo/Once")
            call = once(b"hello", timeout=10)
            assert await call == b"hello"
            assert dict(await call.trailing_metadata())["x-trailer"] == "last"
            refused = await failure(once(b"fail", timeout=10))
            assert (refused.code(), refused.details()) == (grpc.StatusCode.ALREADY_EXISTS, "so it is")
            assert dict(refused.trailing_metadata() or ())["x-why"] == "because"
            echo.attempts.clear()
            assert await once(b"fail once", timeout=10) == b"fail once"
            assert echo.attempts == ["1", "2"]
            aborted = await failure(once(b"hello", timeout=10, metadata=(("x-abort", "1"),)))
            assert aborted.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert echo.attempts == ["1", "2"]
            stream = channel.stream_stream("/echo/Often")(timeout=10)
            for word in (b"one", b"two", b"three"):  # each is back before the next one goes
                await stream.write(word)
                assert await stream.read() == word
            await stream.done_writing()
            assert await stream.read() is grpc.aio.EOF
            assert await stream.code() is grpc.StatusCode.OK


async def test_a_callers_deadline_travels_and_a_rules_timeout_caps_it(single: Mesh) -> None:
    async with echoing() as (echo, port):
        rules = [to("echo", match=[{"headers": {"x-capped": {}}}], timeout="300ms"), to("echo")]
        single.write("all.yaml", gateway(), grpc_service(port), ruled(*rules))
        await single.serve()
        place = (await single.gateway()).at()
        await place.answers(lambda answer: "grpc-status" in answer.headers, "/echo/None", "red.example",
                            content_type="application/grpc", te="trailers")  # fmt: skip
        async with calls_to(place) as channel:
            assert await channel.unary_unary("/echo/Once")(b"hello", timeout=9) == b"hello"
            (left,) = [left for left in echo.left if left is not None]
            assert 5 < left <= 9
            capped = await failure(
                channel.unary_unary("/echo/Once")(b"sleep", timeout=20, metadata=(("x-capped", "1"),))
            )
            assert (capped.code(), capped.details()) == (grpc.StatusCode.UNAVAILABLE, "upstream request timeout")
            stream = channel.stream_stream("/echo/Often")(timeout=20, metadata=(("x-capped", "1"),))
            await stream.write(b"sleep")
            await stream.done_writing()  # a rule's timeout begins when the request is complete
            assert await stream.code() is grpc.StatusCode.UNAVAILABLE
        # A caller that names a deadline and does not keep it itself: the proxy does.
        framed = {"content_type": "application/grpc", "te": "trailers", "grpc_timeout": "300m"}
        answer = await asyncio.wait_for(grpc_over_http1(place, b"sleep", **framed), 10)
        assert answer.headers["grpc-status"] == "4"


async def grpc_over_http1(place: Place, message: bytes, **headers: str) -> Answer:
    body = b"\0" + struct.pack(">I", len(message)) + message
    reader, writer = await asyncio.open_connection(place.address, place.port)
    try:
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        writer.write(
            f"POST /echo/Once HTTP/1.1\r\nhost: red.example\r\ncontent-length: {len(body)}\r\n{head}\r\n".encode()
            + body
        )
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    finally:
        writer.close()
    return Answer(int(status.split()[1]), dict(line.split(": ", 1) for line in lines))


# --- WebSocket ----------------------------------------------------------------------------------------------------


def frame(text: bytes, mask: bytes = b"") -> bytes:
    """A text frame of less than 126 bytes (RFC 6455, 5.2); clients mask."""
    body = bytes(byte ^ mask[place % 4] for place, byte in enumerate(text)) if mask else text
    return bytes((0x81, len(text) | (0x80 if mask else 0))) + mask + body


async def unframe(reader: asyncio.StreamReader) -> bytes:
    _, length = await reader.readexactly(2)
    mask = await reader.readexactly(4) if length & 0x80 else b""
    body = await reader.readexactly(length & 0x7F)
    return bytes(byte ^ mask[place % 4] for place, byte in enumerate(body)) if mask else body


async def echo_frames(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, EOFError):
        _, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        key = next(line.split(": ", 1)[1] for line in lines if line.lower().startswith("sec-websocket-key"))
        proof = base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()
        answer = (
            "HTTP/1.1 101 Switching Protocols",
            "upgrade: websocket",
            "connection: Upgrade",
            f"sec-websocket-accept: {proof}",
        )
        writer.write("\r\n".join((*answer, "", "")).encode())
        while True:
            writer.write(frame(b"echo " + await unframe(reader)))
    writer.close()


async def test_a_websocket_stays_open_through_a_rule(single: Mesh) -> None:
    port = free_port()
    async with await asyncio.start_server(echo_frames, "127.0.0.1", port):
        rules = [to("socket", match=under("/ws"), rewrite={"uri": "/deep"}, timeout="300ms"), to("socket")]
        single.write("all.yaml", gateway(), service("socket", port), ruled(*rules))
        await single.serve()
        place = (await single.gateway()).at()
        for path in ("/", "/ws"):
            reader, writer = await connected(place, path)
            for word in (b"one", b"two"):
                writer.write(frame(word, b"mask"))
                assert await asyncio.wait_for(unframe(reader), 10) == b"echo " + word, path
            if path == "/":
                await asyncio.sleep(0.5)  # nothing may happen for a while, and nothing does
                writer.write(frame(b"three", b"mask"))
                assert await asyncio.wait_for(unframe(reader), 10) == b"echo three"
            writer.close()


async def connected(place: Place, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A WebSocket to the gateway, as soon as it opens."""
    key = base64.b64encode(b"a nonce of 16 by").decode()
    asked = (
        f"GET {path} HTTP/1.1", "host: red.example", "connection: Upgrade", "upgrade: websocket",
        "sec-websocket-version: 13", f"sec-websocket-key: {key}", "", "",
    )  # fmt: skip

    async def once() -> tuple[str, asyncio.StreamReader, asyncio.StreamWriter] | None:
        try:
            reader, writer = await asyncio.open_connection(place.address, place.port)
            writer.write("\r\n".join(asked).encode())
            return (await reader.readuntil(b"\r\n\r\n")).decode(), reader, writer
        except (OSError, EOFError):
            return None

    found = await eventually(once, lambda got: got is not None and got[0].startswith("HTTP/1.1 101"))
    assert found is not None
    return found[1], found[2]
