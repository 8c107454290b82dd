"""One stream of one client, in asyncio: a reader and a writer around a `legation.stream` machine.

The machine keeps at most one response per type on its way, so what waits here for a client that does not read is bounded
by the number of its types; whatever is published meanwhile is merged there.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import time

import grpc
from envoy.config.core.v3 import base_pb2
from google.protobuf.message import DecodeError

from legation.model.access import Peer
from legation.model.proxy import Client, Proxy
from legation.snapshot.snapshot import Change, Snapshot
from legation.status import ProxyStatus
from legation.stream.commands import Accepted, Close, Command, Rejected, Send, Wake
from legation.stream.events import Event, Published, Requested, Ticked
from legation.stream.inventory import Holding
from legation.stream.machine import WATCHDOG, Stream, Variant
from legation.stream.proofs import TRUST, Proofs
from legation.transport import codec, limits
from legation.transport.access import Access
from legation.transport.control import Control
from legation.transport.identity import Context
from legation.transport.limits import Crowded, Entrance, Pace, Place, TooMany

log = logging.getLogger("legation")

FIRST_REQUEST = 30.0
"""Seconds that a client has for its first request."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a variant is written."""

    variant: Variant
    read: Callable[[bytes, str], tuple[Requested, base_pb2.Node | None]]
    write: Callable[[Send, bytes], bytes]


SOTW = Dialect(Variant.SOTW, codec.sotw_request, codec.sotw_response)
DELTA = Dialect(Variant.DELTA, codec.delta_request, codec.delta_response)


class Conversation:
    """A stream from its first request to its end; the `Session` that the application knows.

    `type_url` is the only type of a per-type service, "" for the aggregated one.
    """

    proxy: Proxy

    def __init__(
        self,
        control: Control,
        access: Access,
        peer: Peer,
        dialect: Dialect,
        type_url: str,
        identifier: bytes,
        context: Context,
        entrance: Entrance,
        pace: Pace,
    ) -> None:
        self.previous = Snapshot()
        self.proofs: Proofs = TRUST
        self.peer = peer
        self.aggregated = not type_url
        self._control = control
        self._access = access
        self._dialect = dialect
        self._type_url = type_url
        self._identifier = identifier
        self._context = context
        self._entrance = entrance
        self._pace = pace
        self._place: Place | None = None
        self._asked = False
        self._warned = False
        self._loop = asyncio.get_running_loop()
        self._stream: Stream | None = None
        self._joined = False
        self._since: float | None = None
        self._sends: deque[Send] = deque()
        self._close: Close | None = None
        self._written: dict[str, tuple[str, float]] = {}
        self._waits: float | None = None
        self._over = False
        self._tick_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._news = asyncio.Event()

    # The application's side.

    def publish(self, snapshot: Snapshot, change: Change) -> None:
        """See `control.Session`."""
        if self._stream is not None:
            self._handle(Published(snapshot, change))

    def status(self) -> ProxyStatus:
        """See `control.Session`."""
        return ProxyStatus(
            id=self.proxy.id,
            role=str(self.proxy.role),
            namespace=self.proxy.namespace,
            variant=str(self._dialect.variant),
            peer=self.peer.address,
            identity=str(self.peer.identity or ""),
            version=self.proxy.version,
            connected=self._joined,
            since=self._since,
            types=self._stream.status() if self._stream else {},
        )

    @property
    def rests(self) -> bool:
        """See `control.Session`."""
        return self._stream is not None and self._stream.rests

    def served(self) -> Snapshot:
        """See `control.Session`."""
        return self._stream.served() if self._stream is not None else self.previous

    def inventory(self) -> list[Holding]:
        """See `control.Session`."""
        return self._stream.inventory() if self._stream is not None else []

    # The server's side.

    async def run(self) -> None:
        """Converse until the client ends the stream or it is closed. The caller's task is the writer."""
        reader = self._loop.create_task(self._read())
        deadline = self._loop.call_later(FIRST_REQUEST, self._silent)
        try:
            await self._write()
            if reader.done():
                reader.result()  # what went wrong there and is nobody's fault but ours goes to the server's log
        except grpc.aio.InternalError:
            pass  # the client is gone, in the middle of a message
        finally:
            deadline.cancel()
            if self._timer is not None:
                self._timer.cancel()
            reader.cancel()
            self._leave()

    def close(self, code: str, detail: str) -> None:
        """End the stream with a status, after the response that is being written."""
        if self._close is None:
            self._close = Close(code, detail)
            self._news.set()

    async def _read(self) -> None:
        """Read on whatever the writer does: a client that is stuck in writing to us would never read from us."""
        try:
            while (raw := await self._context.read()) is not grpc.aio.EOF:
                wait = self._pace.spend(len(raw), self._loop.time())
                await self._hear(raw)
                del raw  # a first request can be large, and the next may be long in coming
                if wait:
                    await asyncio.sleep(wait)
        except Crowded:
            self.close("UNAVAILABLE", "too many clients at once; come again")
        except TooMany as error:
            self.close("RESOURCE_EXHAUSTED", str(error))
        except DecodeError:
            self.close("INVALID_ARGUMENT", "not a discovery request of this method")
        except PermissionError as refusal:
            self.close("PERMISSION_DENIED", str(refusal))
        except ValueError as error:
            self.close("INVALID_ARGUMENT", str(error))
        finally:
            self._leave()
            self._over = True
            self._news.set()

    async def _hear(self, raw: bytes) -> None:
        if not self._asked:
            self._asked = True
            self._waits = self._loop.time()
            await self._control.ready()
            self._place = await self._entrance.enter()
        began = self._loop.time()
        try:
            self._understand(raw)
        finally:
            self._entrance.tired(self._loop.time() - began)

    def _understand(self, raw: bytes) -> None:
        event, node = self._dialect.read(raw, self._type_url)
        if self._type_url not in ("", event.type_url):
            raise ValueError(f"this service has {self._type_url} only, not {event.type_url}")
        if self._stream is None:
            self._join(node)
        nonce, _ = self._written.get(event.type_url, ("", 0.0))
        if event.response_nonce and event.response_nonce != nonce:
            self._control.stale(self, event.type_url)
        self._handle(event)
        if not self._sends:
            self._make_room()

    def _make_room(self) -> None:
        """It is up, as far as it depends on us."""
        if self._place is not None:
            self._place.leave()

    def _join(self, node: base_pb2.Node | None) -> None:
        """The node counts on the first message of a stream, whatever its type; later ones may leave it out."""
        if node is None:
            raise ValueError("the first request has no node")
        self.proxy = codec.proxy(node)
        self._access.admit(self.peer, self.proxy)
        snapshot = self._control.join(self.proxy, self)
        self._joined = True
        self._since = time()
        self._stream = Stream(
            self._dialect.variant, snapshot, tag=f"{secrets.token_hex(4)}-", previous=self.previous, proofs=self.proofs
        )

    def _leave(self) -> None:
        self._make_room()
        if self._joined:
            self._joined = False
            self._control.leave(self)

    def _silent(self) -> None:
        if not self._asked:
            self.close("DEADLINE_EXCEEDED", "no request")

    def _handle(self, event: Event) -> None:
        assert self._stream is not None
        commands = self._stream.handle(event, self._loop.time())
        for command in commands:
            self._do(command)
        # To what is sent because of a publication an answer will come; that is soon enough to look.
        if self._joined and not (isinstance(event, Published) and any(isinstance(one, Send) for one in commands)):
            self._control.stirred(self)

    def _do(self, command: Command) -> None:
        match command:
            case Send():
                self._sends.append(command)
                self._news.set()
            case Accepted() | Rejected():
                nonce, at = self._written.get(command.type_url, ("", 0.0))
                latency = self._loop.time() - at if nonce == command.nonce else WATCHDOG
                self._control.heard(self, command, latency)
            case Wake():
                self._wake(command.at)
            case Close():
                self.close(command.code, command.detail)

    async def _send(self, command: Send) -> None:
        raw = self._dialect.write(command, self._identifier)
        if len(raw) > limits.NEAR and self.proxy.client is Client.GRPC:
            self._warn(command, len(raw))
        self._written[command.type_url] = command.nonce, self._loop.time()
        await self._context.write(raw)
        wait, self._waits = self._waits, None
        if self._joined:
            self._control.sent(self, command, len(raw), self._loop.time() - wait if wait is not None else None)

    def _warn(self, command: Send, size: int) -> None:
        """Once for a stream: else a client that hangs up at each of these is all that the log is about."""
        if not self._warned:
            self._warned = True
            log.warning(
                "%s is sent %d MiB at once (%s); clients of gRPC take 4 MiB and hang up at more, unless they are told",
                self.proxy.id, size >> 20, command.type_url.rpartition(".")[2],
            )  # fmt: skip

    def _wake(self, at: float) -> None:
        """A timer that rings too early is harmless, so only an earlier one replaces it."""
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._tick_due = True
        self._news.set()

    async def _write(self) -> None:
        """Write what there is; time passes for the machine only between writes, so nothing piles up behind one."""
        while True:
            self._news.clear()
            while self._sends and self._close is None:
                await self._send(self._sends.popleft())
                self._make_room()
            if self._close is not None:
                await self._context.abort(grpc.StatusCode[self._close.code], self._close.detail)
            if self._over:
                return
            if self._tick_due and self._stream is not None:
                self._tick_due = False
                self._handle(Ticked())
                continue
            await self._news.wait()
