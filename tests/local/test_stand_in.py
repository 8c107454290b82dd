"""The stand-in over real sockets: what it says, and that it stays correct HTTP/1.1 whatever the client does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import h11
import pytest
from legation.local.stand_in import StandIn, Workload


@pytest.fixture
async def stand_in() -> AsyncIterator[StandIn]:
    async with await StandIn.start(
        Workload("reviews-v1", {"version": "v1", "app": "reviews"}), stands_for=9080
    ) as started:
        yield started


class Client:
    """One connection: raw bytes out, answers in, with h11 as the judge of what comes back."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.rest = b""

    @classmethod
    async def to(cls, stand_in: StandIn) -> Client:
        return cls(*await asyncio.open_connection("127.0.0.1", stand_in.port))

    def send(self, text: str) -> None:
        self.writer.write(text.encode())

    async def answer(self, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        """The next answer on the connection; what follows it stays for the next call."""
        http = h11.Connection(h11.CLIENT)
        http.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        http.send(h11.EndOfMessage())
        if self.rest:  # an empty piece would mean the end
            http.receive_data(self.rest)
        response, body = None, b""
        while not isinstance(event := http.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                http.receive_data(await asyncio.wait_for(self.reader.read(65536), 10))
            elif isinstance(event, h11.InformationalResponse):
                body = b""
            elif isinstance(event, h11.Response):
                response = event
            elif isinstance(event, h11.Data):
                body += event.data
        assert response is not None
        self.rest = http.trailing_data[0]
        return response.status_code, {k.decode(): v.decode() for k, v in response.headers}, body

    async def ask(self, text: str) -> dict[str, Any]:
        self.send(text)
        status, _, body = await self.answer()
        assert status == 200
        return dict(json.loads(body))


async def test_it_says_who_was_asked_for_what(stand_in: StandIn) -> None:
    client = await Client.to(stand_in)
    client.send("GET /reviews/0?full=1 HTTP/1.1\r\nHost: reviews:9080\r\nX-A: 1\r\nx-a: 2\r\n\r\n")
    status, headers, body = await client.answer()
    assert (status, headers["content-type"]) == (200, "application/json")
    assert body.endswith(b"}\n")
    assert json.loads(body) == {
        "workload": "reviews-v1",
        "version": "v1",
        "labels": {"app": "reviews", "version": "v1"},
        "port": 9080,
        "method": "GET",
        "path": "/reviews/0?full=1",
        "headers": {"host": "reviews:9080", "x-a": "1, 2"},
    }


async def test_it_names_its_real_port_if_it_stands_for_none() -> None:
    async with await StandIn.start(Workload("a")) as stand_in:
        client = await Client.to(stand_in)
        said = await client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert said["port"] == stand_in.port
        assert said["version"] == ""


async def test_one_connection_serves_many_requests_also_when_they_come_at_once(stand_in: StandIn) -> None:
    client = await Client.to(stand_in)
    for n in range(3):
        assert (await client.ask(f"GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n"))["path"] == f"/{n}"
    client.send("".join(f"GET /p{n} HTTP/1.1\r\nHost: a\r\n\r\n" for n in range(3)))
    assert [json.loads((await client.answer())[2])["path"] for _ in range(3)] == ["/p0", "/p1", "/p2"]


@pytest.mark.parametrize(
    "body",
    [
        "Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\nX-Trailer: 1\r\n\r\n",
    ],
)
async def test_bodies_are_read_to_their_end_before_the_next_request(stand_in: StandIn, body: str) -> None:
    client = await Client.to(stand_in)
    client.send(f"POST /first HTTP/1.1\r\nHost: a\r\n{body}GET /second HTTP/1.1\r\nHost: a\r\n\r\n")
    first, second = [json.loads((await client.answer())[2]) for _ in range(2)]
    assert (first["method"], first["path"]) == ("POST", "/first")
    assert (second["method"], second["path"]) == ("GET", "/second")


async def test_head_gets_the_length_and_no_body(stand_in: StandIn) -> None:
    client = await Client.to(stand_in)
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    status, headers, body = await client.answer("HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 0
    assert (await client.ask("GET /after HTTP/1.1\r\nHost: a\r\n\r\n"))["path"] == "/after"


async def test_a_client_that_waits_for_100_continue_is_told_to(stand_in: StandIn) -> None:
    client = await Client.to(stand_in)
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    line = await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), 10)
    assert line.startswith(b"HTTP/1.1 100 ")
    assert (await client.ask("hi"))["method"] == "POST"


@pytest.mark.parametrize("status", [201, 204, 304, 404, 503])
async def test_it_answers_with_the_status_that_it_is_asked_for(stand_in: StandIn, status: int) -> None:
    client = await Client.to(stand_in)
    client.send(f"GET / HTTP/1.1\r\nHost: a\r\nx-stand-in-status: {status}\r\n\r\n")
    got, _, body = await client.answer()
    assert got == status
    assert (body == b"") == (status in (204, 304))
    assert (await client.ask("GET /after HTTP/1.1\r\nHost: a\r\n\r\n"))["path"] == "/after"


async def test_a_delayed_answer_keeps_its_place_and_delays_nobody_else(stand_in: StandIn) -> None:
    slow, quick = await Client.to(stand_in), await Client.to(stand_in)
    slow.send("GET /slow HTTP/1.1\r\nHost: a\r\nx-stand-in-delay: 0.2\r\n\r\nGET /behind HTTP/1.1\r\nHost: a\r\n\r\n")
    first = asyncio.create_task(slow.answer())
    assert (await quick.ask("GET /quick HTTP/1.1\r\nHost: a\r\n\r\n"))["path"] == "/quick"
    assert json.loads((await first)[2])["path"] == "/slow"
    assert json.loads((await slow.answer())[2])["path"] == "/behind"


@pytest.mark.parametrize(
    "header", ["x-stand-in-status: 999", "x-stand-in-status: ok", "x-stand-in-delay: -1", "x-stand-in-delay: nan"]
)
async def test_a_wish_that_cannot_be_granted_is_a_400_that_says_why(stand_in: StandIn, header: str) -> None:
    client = await Client.to(stand_in)
    client.send(f"GET / HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n")
    status, _, body = await client.answer()
    assert status == 400
    assert "is not a number from" in json.loads(body)["error"]


async def test_connection_close_and_http_1_0_are_honoured(stand_in: StandIn) -> None:
    for request in ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"):
        client = await Client.to(stand_in)
        await client.ask(request)
        assert await asyncio.wait_for(client.reader.read(), 10) == b""


@pytest.mark.parametrize(
    "request_", ["nonsense\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"]
)
async def test_what_is_no_request_for_it_is_refused(stand_in: StandIn, request_: str) -> None:
    client = await Client.to(stand_in)
    client.send(request_)
    status, _, _ = await client.answer()
    assert status in (400, 405)


async def test_a_large_body_and_large_headers_pass(stand_in: StandIn) -> None:
    client = await Client.to(stand_in)
    said = await client.ask(
        f"POST / HTTP/1.1\r\nHost: a\r\nX-Large: {'x' * 50_000}\r\nContent-Length: 1000000\r\n\r\n{'y' * 1_000_000}"
    )
    assert len(said["headers"]["x-large"]) == 50_000


async def test_stopping_closes_the_connections_and_frees_the_port() -> None:
    stand_in = await StandIn.start(Workload("a"))
    client = await Client.to(stand_in)
    await client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    await stand_in.stop()
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(client.reader.read(), 10) == b""
    async with await StandIn.start(Workload("b"), port=stand_in.port) as again:
        assert again.port == stand_in.port


async def test_the_command_line_serves_until_sigterm() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "legation.local.stand_in", "--workload", "reviews-v2", "--label", "version=v2",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
        assert line.startswith("reviews-v2 listens on 127.0.0.1:")
        reader, writer = await asyncio.open_connection("127.0.0.1", int(line.rpartition(":")[2]))
        said = await Client(reader, writer).ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (said["workload"], said["version"]) == ("reviews-v2", "v2")
    finally:
        os.kill(process.pid, signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0


async def test_the_command_line_says_what_is_wrong() -> None:
    async with await StandIn.start(Workload("a")) as taken:
        for arguments, said in (
            (("--label", "version"), "is not KEY=VALUE"),
            (("--port", str(taken.port)), "cannot listen on 127.0.0.1:"),
        ):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "legation.local.stand_in", "--workload", "b", *arguments,
                stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            _, err = await asyncio.wait_for(process.communicate(), 30)
            assert process.returncode in (1, 2)
            assert said in err.decode()
