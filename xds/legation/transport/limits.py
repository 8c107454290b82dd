"""What one client may cost the others: how many are let in at a time, and how fast one is read.

Both slow down before they refuse. A client that asks too fast is read at a pace, and what it sends waits on its own side
of the connection; a crowd at the door waits in a line, and only who would wait too long is told to come again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

ENTRANTS: Final = 16
"""Streams that are brought up at once: enough to keep a processor busy, and few enough that others get their turn."""
ENTRANCE: Final = 0.5
"""Seconds after which a stream makes room for the next, although its first response is not written."""
LONG: Final = 0.03
"""Seconds of everybody's time that a request may take (a kind of proxy that was not there before is rendered for; a hundred
thousand names are read) before the next to come in waits as long again, a second at most: the others have their turn.
"""
LINE: Final = 10.0
"""Seconds that a stream waits to be brought up before it is told to come again."""

RATE: Final = 500.0
"""Requests in a second at which one connection is read for ever."""
BURST: Final = 5_000.0
"""Requests that it may have ahead: a client without the aggregated stream asks for every cluster on a stream of its own."""
PIECE: Final = 64 << 10
"""Bytes of a request that cost as much as another request."""

REQUEST: Final = 32 << 20
"""Bytes that a request may have: a client that comes back lists a version for every resource that it has."""
STREAMS: Final = 1 << 14
"""Streams on one connection; HTTP/2 lets a client wait with further ones."""
NODE: Final = 1 << 20
"""Bytes of a node: Envoy lists its extensions in it, some tens of thousands."""
METADATA: Final = 256 << 10
"""Bytes of a node's metadata."""

NEAR: Final = 2 << 20
"""Bytes of a response of which a client of gRPC is told: it takes 4 MiB, unless it was made otherwise."""


class Crowded(Exception):
    """Too many came at once."""


class TooMany(Exception):
    """A request lists more than anybody needs."""


class Entrance:
    """Lets so many in at once, in the order in which they came. `turned_away` is called for each that waited too long."""

    def __init__(self, turned_away: Callable[[], None] = lambda: None) -> None:
        self._places = asyncio.Semaphore(ENTRANTS)
        self._turned_away = turned_away
        self._quiet = 0.0

    async def enter(self) -> Place:
        """Returns when it is one's turn. Raises Crowded if that takes too long."""
        try:
            async with asyncio.timeout(LINE):
                await self._places.acquire()
                place = Place(self._places)
                try:
                    await self._calm()
                except BaseException:
                    place.leave()
                    raise
        except TimeoutError:
            self._turned_away()
            raise Crowded from None
        return place

    def tired(self, took: float) -> None:
        """A request took so many seconds, in which nobody else was heard."""
        if took > LONG:
            self._quiet = asyncio.get_running_loop().time() + min(took, 1.0)

    async def _calm(self) -> None:
        loop = asyncio.get_running_loop()
        while (wait := self._quiet - loop.time()) > 0:  # noqa: ASYNC110 (it may be put off meanwhile)
            await asyncio.sleep(wait)


class Place:
    """A place inside, until it is left; it is left by itself after a while."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places: asyncio.Semaphore | None = places
        self._timer = asyncio.get_running_loop().call_later(ENTRANCE, self.leave)

    def leave(self) -> None:
        """Makes room for the next. Harmless the second time."""
        if self._places is not None:
            self._timer.cancel()
            self._places.release()
            self._places = None


@dataclass(slots=True)
class Pace:
    """How fast a connection is read: `paid` is until when what it asked for is paid for, at RATE."""

    paid: float = 0.0
    streams: int = 0

    def spend(self, size: int, now: float) -> float:
        """A request of so many bytes was read: seconds to wait before the next is."""
        self.paid = max(self.paid, now - BURST / RATE) + (1 + size / PIECE) / RATE
        return max(0.0, self.paid - now)

    def is_rested(self, now: float) -> bool:
        """Is it as good as new?"""
        return self.paid <= now - BURST / RATE


class Paces:
    """The paces of connections, by gRPC's name of the other end. One is remembered until it is as good as new: who hangs
    up and calls again on the same connection goes on where it was.
    """

    def __init__(self) -> None:
        self._paces: dict[str, Pace] = {}

    def begin(self, peer: str) -> Pace:
        """A stream begins. All clients of a Unix socket have one name, so there each stream has a pace of its own."""
        pace = self._paces.setdefault(peer, Pace()) if _tells_connections_apart(peer) else Pace()
        pace.streams += 1
        return pace

    def end(self, peer: str, pace: Pace, now: float) -> None:
        """It ends."""
        pace.streams -= 1
        if pace.streams == 0 and not pace.is_rested(now):
            asyncio.get_running_loop().call_later(pace.paid - now + BURST / RATE + 0.1, self._forget, peer, pace)
        elif pace.streams == 0:
            self._forget(peer, pace)

    def _forget(self, peer: str, pace: Pace) -> None:
        if pace.streams == 0:
            with suppress(KeyError):
                del self._paces[peer]


def _tells_connections_apart(peer: str) -> bool:
    return not peer.startswith("unix")
