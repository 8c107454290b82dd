"""The small HTTP server: alive, ready, metrics, who has what, what is wrong, and a page for people. It only reads."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address
from typing import Any, Protocol, Self

import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from legation.console.page import STYLE_HASH, page
from legation.problems import Problem
from legation.status import ProxyStatus, TypeStatus


class View(Protocol):
    """What the console asks of the app. Every answer is a value of this moment; none of them waits."""

    @property
    def ready(self) -> bool:
        """The first load is complete."""

    @property
    def revision(self) -> str:
        """The name of the accepted configuration; "" before there is one."""

    def proxies(self) -> Sequence[ProxyStatus]:
        """The clients that are connected, or were of late."""

    def problems(self) -> Sequence[Problem]:
        """All that is wrong in the files now."""

    def held(self) -> Sequence[Problem]:
        """One finding for each document whose last accepted version is served instead."""


class Console:
    """The server, listening. Made by `start`; `async with` stops it at the end."""

    def __init__(self, server: _Server, task: asyncio.Task[None], host: str, port: int) -> None:
        self._server = server
        self._task = task
        self.host = host
        self.port = port
        """The port that it listens on."""

    @classmethod
    async def start(
        cls, view: View, registry: CollectorRegistry, host: str = "127.0.0.1", port: int = 0, names: Sequence[str] = ()
    ) -> Self:
        """Listens on `host`:`port` (0: the system chooses) and serves until `stop`, in this event loop.

        `names` are the host names that it answers to, besides loopback's and the address itself. Raises OSError for
        an address that is in use or not of this machine.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
        config = uvicorn.Config(
            application(view, registry, (host, *names)),
            http="h11", ws="none", lifespan="off", log_config=None, access_log=False, server_header=False,
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        server = _Server(config)
        task = asyncio.create_task(server.serve(sockets=[listening]))
        return cls(server, task, host, int(listening.getsockname()[1]))

    async def stop(self) -> None:
        """Answers what was asked already, for a second at most, and closes the port."""
        self._server.should_exit = True
        await self._task

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals are the app's


def application(view: View, registry: CollectorRegistry, names: Sequence[str] = ()) -> ASGIApp:
    """The console as an ASGI application that answers to loopback, its own address and `names`."""

    async def index(_: Request) -> Response:
        policy = f"default-src 'none'; style-src '{STYLE_HASH}'; frame-ancestors 'none'; base-uri 'none'"
        text = page(view.ready, view.revision, view.proxies(), view.held(), view.problems())
        return HTMLResponse(text, headers={"content-security-policy": policy})

    async def alive(_: Request) -> Response:
        return _json({"status": "alive"})

    async def ready(_: Request) -> Response:
        return _json({"status": "ready"}) if view.ready else _json({"status": "loading"}, 503)

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"content-type": content_type})

    async def proxies(_: Request) -> Response:
        return _json([proxy_as_json(proxy) for proxy in view.proxies()])

    async def problems(_: Request) -> Response:
        return _json(
            {
                "revision": view.revision,
                "held": [problem.as_json() for problem in view.held()],
                "problems": [problem.as_json() for problem in view.problems()],
            }
        )

    paths: dict[str, Callable[[Request], Awaitable[Response]]] = {
        "/": index,
        "/healthz": alive,
        "/readyz": ready,
        "/metrics": metrics,
        "/debug/proxies": proxies,
        "/debug/problems": problems,
    }
    routes = [Route(path, answer, methods=["GET"]) for path, answer in paths.items()]
    return _Guard(Starlette(routes=routes, exception_handlers={HTTPException: _refuse}), names)


def proxy_as_json(proxy: ProxyStatus) -> dict[str, Any]:
    """A proxy as `/debug/proxies` gives it; `status -o json` has the same words, and which revision it has."""
    return {
        "id": proxy.id,
        "role": proxy.role,
        "namespace": proxy.namespace,
        "variant": proxy.variant,
        "peer": proxy.peer,
        "identity": proxy.identity,
        "version": proxy.version,
        "connected": proxy.connected,
        "since": proxy.since,
        "synced": proxy.synced,
        "types": {short_type: _type_as_json(of) for short_type, of in sorted(proxy.types.items())},
    }


def _type_as_json(of: TypeStatus) -> dict[str, Any]:
    told = {"sent": of.sent, "acked": of.acked, "nacked": of.nacked, "error": of.error}
    return {**told, "refused": dict(of.refused)}


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    body = json.dumps(content, ensure_ascii=False, indent=2) + "\n"
    return Response(body, status, headers, media_type="application/json")


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = {404: f"there is nothing at {request.url.path}", 405: "the console only reads: GET and HEAD"}
    return _json({"error": said.get(error.status_code, error.detail)}, error.status_code, dict(error.headers or {}))


class _Guard:
    """Answers only who names this server: a page from elsewhere whose name was rebound to our address is refused."""

    def __init__(self, app: ASGIApp, names: Sequence[str]) -> None:
        self._app = app
        self._names = frozenset(_bare(name) for name in (*names, "localhost"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name: value.decode("latin-1").lower() for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        origin = headers.get(b"origin")
        if not self._is_ours(_bare(_without_port(host)), scope):
            refused = f"{host!r} is not a name of this server"
        elif origin is not None and origin.partition("://")[2] != host:
            refused = f"pages of {origin!r} may not ask this server"
        else:
            await self._app(scope, receive, _with_headers(send))
            return
        await _json({"error": refused}, 403)(scope, receive, _with_headers(send))

    def _is_ours(self, host: str, scope: Scope) -> bool:
        """Also the address that the client connected to, which it cannot have rebound."""
        server = scope.get("server")
        return host in self._names or _is_loopback(host) or (server is not None and host == _bare(server[0]))


def _with_headers(send: Send) -> Send:
    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            more = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return sending


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0][1:]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _bare(host: str) -> str:
    """A host in one spelling: lower case, and an IPv4 address that arrived through an IPv6 socket as IPv4."""
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return host.lower()
    return str(address.ipv4_mapped or address) if isinstance(address, IPv6Address) else str(address)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
