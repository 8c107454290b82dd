"""A stand-in for a service that is not here: answers every HTTP request with JSON that says who was asked for what.

`python -m legation.local.stand_in --workload reviews-v1 --label version=v1 --port 9080`
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import click
import h11

STATUS_HEADER = b"x-stand-in-status"
"""A request with it is answered with this status, 200 to 599."""

DELAY_HEADER = b"x-stand-in-delay"
"""A request with it is answered after this many seconds, at most MAX_DELAY."""

MAX_DELAY = 300.0

_MAX_HEAD = 128 * 1024
"""Bytes of a request's line and headers: more than Envoy passes on."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Who a stand-in says it is. `version` is "" for "what its label `version` says"."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    version: str = ""


class StandIn:
    """One replica of a workload, listening. Made by `start`; `async with` stops it at the end."""

    def __init__(self, server: asyncio.Server, connections: set[_Connection], port: int) -> None:
        self._server = server
        self._connections = connections
        self.port = port
        """The port that it listens on."""

    @classmethod
    async def start(
        cls,
        workload: Workload,
        host: str = "127.0.0.1",
        port: int = 0,
        stands_for: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> Self:
        """Listens on `host`:`port` (0: the system chooses). Answers name the port `stands_for`, or else the real one.

        Raises OSError for an address that is in use or not of this machine.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=1024)
        real = int(listening.getsockname()[1])
        identity = {
            "workload": workload.name,
            "version": workload.version or workload.labels.get("version", ""),
            "labels": dict(sorted(workload.labels.items())),
            "port": stands_for or real,
        }
        connections: set[_Connection] = set()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(identity, connections), sock=listening, ssl=tls)
        return cls(server, connections, real)

    async def stop(self) -> None:
        """Closes the port and every connection, at once."""
        self._server.close()
        for connection in tuple(self._connections):
            connection.abort()
        await self._server.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


class _Connection(asyncio.Protocol):
    """One client: requests one after the other, each answered when its body is complete."""

    def __init__(self, identity: Mapping[str, object], connections: set[_Connection]) -> None:
        self._identity = identity
        self._connections = connections
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD)
        self._request: h11.Request | None = None
        self._later: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        if self._later:
            self._later.cancel()

    def abort(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._http.receive_data(data)
        self._go_on()

    def eof_received(self) -> bool:
        self._http.receive_data(b"")
        self._go_on()
        return self._later is not None  # a client may close its half while it waits for the answer

    def pause_writing(self) -> None:
        self._transport.pause_reading()  # who does not read answers asks no more

    def resume_writing(self) -> None:
        if self._later is None:
            self._transport.resume_reading()

    def _go_on(self) -> None:
        try:
            while not self._transport.is_closing():
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    if self._http.they_are_waiting_for_100_continue:
                        self._send(h11.InformationalResponse(status_code=100, headers=[]))
                    return
                if event is h11.PAUSED:
                    return
                if isinstance(event, h11.Request):
                    self._request = event
                elif isinstance(event, h11.EndOfMessage):
                    self._answer()
                elif isinstance(event, h11.ConnectionClosed):
                    self._transport.close()
        except h11.RemoteProtocolError as error:
            if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                self._respond(error.error_status_hint, {"error": str(error)})
            self._transport.close()

    def _answer(self) -> None:
        """Answers the request that is complete now; a delay holds back those behind it, as order demands."""
        assert self._request is not None
        if self._request.method == b"CONNECT":
            self._respond(405, {"error": "a stand-in is no proxy"})
            return
        headers: dict[bytes, bytes] = {}
        for name, value in self._request.headers:
            headers[name] = headers[name] + b", " + value if name in headers else value
        try:
            status = _number(headers.get(STATUS_HEADER, b"200"), 200, 599)
            delay = _number(headers.get(DELAY_HEADER, b"0"), 0, MAX_DELAY)
        except ValueError as error:
            self._respond(400, {"error": str(error)})
            return
        content = {
            **self._identity,
            "method": self._request.method.decode(),
            "path": self._request.target.decode("latin-1"),
            "headers": {name.decode(): value.decode("latin-1") for name, value in headers.items()},
        }
        if delay:
            self._transport.pause_reading()
            self._later = asyncio.get_running_loop().call_later(delay, self._respond_late, int(status), content)
        else:
            self._respond(int(status), content)

    def _respond_late(self, status: int, content: Mapping[str, object]) -> None:
        self._later = None
        self._transport.resume_reading()
        self._respond(status, content)
        self._go_on()

    def _respond(self, status: int, content: Mapping[str, object]) -> None:
        body = json.dumps(content, ensure_ascii=False).encode() + b"\n"
        bare = status in (204, 304)
        headers = [] if bare else [("content-type", "application/json"), ("content-length", str(len(body)))]
        head_only = self._request is not None and self._request.method == b"HEAD"
        parts = [h11.Response(status_code=status, headers=headers)]
        self._send(*parts, *(() if bare or head_only else (h11.Data(data=body),)), h11.EndOfMessage())
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        else:
            self._transport.close()

    def _send(self, *events: h11.Event) -> None:
        self._transport.write(b"".join(self._http.send(event) or b"" for event in events))


def _number(written: bytes, lowest: float, highest: float) -> float:
    """Raises ValueError, in words for the client."""
    try:
        number = float(written)
    except ValueError:
        number = float("nan")
    if not lowest <= number <= highest:
        raise ValueError(f"{written.decode('latin-1')!r} is not a number from {lowest:g} to {highest:g}")
    return number


@click.command()
@click.option("--workload", required=True, help="The name of the workload that it stands for.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label of the workload.")
@click.option("--version", "version", default="", help="What it gives as its version; the label `version` by default.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The port to listen on; 0: the system chooses.")
def main(workload: str, labels: tuple[str, ...], version: str, host: str, port: int) -> None:
    """Stands in for a service: answers every HTTP request with JSON that says who was asked for what."""
    pairs = [label.partition("=") for label in labels]
    if wrong := [label for label, (key, sign, _) in zip(labels, pairs, strict=True) if not key or not sign]:
        raise click.BadParameter(f"{wrong[0]!r} is not KEY=VALUE", param_hint="--label")
    try:
        asyncio.run(_serve(Workload(workload, {key: value for key, _, value in pairs}, version), host, port))
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror or error}") from error


async def _serve(workload: Workload, host: str, port: int) -> None:
    told_to_stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # the first process of a container has no handlers of its own
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    async with await StandIn.start(workload, host, port) as stand_in:
        click.echo(f"{workload.name} listens on {host}:{stand_in.port}")
        await told_to_stop.wait()


if __name__ == "__main__":
    main()
