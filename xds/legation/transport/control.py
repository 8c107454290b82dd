"""What the transport asks of the application, and what it offers in return."""

from __future__ import annotations

from typing import Protocol

from legation.model.access import Peer
from legation.model.proxy import Proxy
from legation.snapshot.snapshot import Change, Snapshot
from legation.status import ProxyStatus
from legation.stream.commands import Accepted, Rejected, Send
from legation.stream.inventory import Holding
from legation.stream.proofs import Proofs


class Session(Protocol):
    """One stream of one client. The application keeps it from `join` to `leave`. Not safe across threads."""

    proxy: Proxy
    peer: Peer
    """Known from the connection itself, not claimed by the client."""
    aggregated: bool
    """All types travel on this stream (ADS)."""
    previous: Snapshot
    """What this client was last served. The application may set it in `join`; it is read right after."""
    proofs: Proofs
    """What is known of the resources that it will be sent. The same."""

    def publish(self, snapshot: Snapshot, change: Change) -> None:
        """The client's scope has a new Snapshot; `change` must name everything that differs from the last one given.

        Cheap and never blocking: what a slow client was not sent yet is merged.
        """

    def close(self, code: str, detail: str) -> None:
        """End the stream with a gRPC status, after the response that is being written."""

    def status(self) -> ProxyStatus:
        """What the client has, now."""

    @property
    def rests(self) -> bool:
        """Whether the client has all that it asked for, and nothing is on its way: quickly asked."""

    def served(self) -> Snapshot:
        """All that the client may have, now: the `previous` for when it comes back. Its cost follows what it has."""

    def inventory(self) -> list[Holding]:
        """What is known of every resource that the client asks for. Its cost follows what that is."""


class Control(Protocol):
    """The application, as seen from a stream. All calls come on the event loop."""

    async def ready(self) -> None:
        """Return once the first load is complete. Until then streams are accepted and not answered."""

    def join(self, proxy: Proxy, session: Session) -> Snapshot:
        """A client has introduced itself: the current Snapshot of its scope.

        From here on the session is told of every newer one. Raises PermissionError to refuse the client, in words.
        """

    def leave(self, session: Session) -> None:
        """The stream of a session that joined is over."""

    def heard(self, session: Session, command: Accepted | Rejected, latency: float) -> None:
        """What the client said to a response, `latency` seconds after that was written."""

    def sent(self, session: Session, command: Send, size: int, wait: float | None) -> None:
        """A response of `size` bytes was written; the first of a stream, `wait` seconds after it was asked for."""

    def stale(self, session: Session, type_url: str) -> None:
        """The client answered a response that was not the last of its type."""

    def stirred(self, session: Session) -> None:
        """What the session's `status` says may have changed. Comes after almost every event of a stream, so it must be
        cheap.
        """
