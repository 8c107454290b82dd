"""A script for one stream: say what the client says, publish, let time pass; get what the server sends.

Resources are stand-ins: a name, a content (any text), and what they refer to. `Play` remembers the client's names and the
last nonces, so that one script reads the same in both dialects.
"""

from __future__ import annotations

from collections.abc import Iterable

from legation.names import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from legation.snapshot.snapshot import Ref, Resource, Snapshot, evolve, resource, snapshot
from legation.stream.commands import Accepted, Close, Command, Rejected, Send, Wake
from legation.stream.events import Event, Fault, Published, Requested, Ticked
from legation.stream.machine import Stream, Variant
from legation.stream.proofs import TRUST, Proofs

SOTW, DELTA = Variant.SOTW, Variant.DELTA


def cluster(name: str, content: str = "1", endpoints: bool = True) -> Resource:
    """A cluster that takes its endpoints from the load assignment of its own name."""
    refs = [(ENDPOINT, name)] if endpoints else []
    return resource(CLUSTER, name, f"cluster {name} {content}".encode(), refs)


def endpoints(name: str, content: str = "1") -> Resource:
    return resource(ENDPOINT, name, f"endpoints {name} {content}".encode())


def route(name: str, *clusters: str, content: str = "1") -> Resource:
    body = f"route {name} {' '.join(clusters)} {content}".encode()
    return resource(ROUTE, name, body, [(CLUSTER, cluster) for cluster in clusters])


def listener(name: str, *routes: str, clusters: Iterable[str] = (), content: str = "1") -> Resource:
    to = list(clusters)
    refs = [(ROUTE, route) for route in routes] + [(CLUSTER, cluster) for cluster in to]
    return resource(LISTENER, name, f"listener {name} {routes} {to} {content}".encode(), refs)


def secret(name: str, content: str = "1") -> Resource:
    return resource(SECRET, name, f"secret {name} {content}".encode())


def named(send: Send) -> list[str]:
    return sorted(one.name for one in send.resources)


class Play:
    """One stream under test. Every method that may cause responses returns them, in order."""

    def __init__(
        self, variant: Variant, *resources: Resource, previous: Snapshot | None = None, tag: str = "n",
        proofs: Proofs = TRUST,
    ) -> None:  # fmt: skip
        self.variant = variant
        self.now = 100.0
        self.snapshot = snapshot(resources)
        self.stream = Stream(variant, self.snapshot, tag=tag, previous=previous or Snapshot(), proofs=proofs)
        self.names: dict[str, list[str]] = {}
        self.version: dict[str, str] = {}
        self.open: dict[str, Send] = {}
        self.heard: list[Accepted | Rejected] = []
        self.closed: Close | None = None
        self.wake: float | None = None
        self.reacts = False

    # The client.

    def asks(self, type_url: str, *names: str, **fields: object) -> list[Send]:
        """Add names to the subscription (none: a request without names)."""
        if self.variant is DELTA:
            return self.says(Requested(type_url, subscribe=names, **fields))  # type: ignore[arg-type]
        listed = self.names.setdefault(type_url, [])
        listed += [name for name in names if name not in listed]
        return self._sotw(type_url, **fields)

    def drops(self, type_url: str, *names: str) -> list[Send]:
        """Take names out of it."""
        if self.variant is DELTA:
            return self.says(Requested(type_url, unsubscribe=names))
        self.names[type_url] = [name for name in self.names.get(type_url, []) if name not in names]
        return self._sotw(type_url)

    def acks(self, send: Send) -> list[Send]:
        self.version[send.type_url] = send.version
        return self._answer(send, None)

    def nacks(self, send: Send, message: str = "no", code: int = 13) -> list[Send]:
        return self._answer(send, Fault(code, message))

    def settle(self, sends: list[Send]) -> list[Send]:
        """Acknowledge these and all that follows from it; everything that was sent, in order."""
        done: list[Send] = []
        waiting = list(sends)
        while waiting:
            send = waiting.pop(0)
            done.append(send)
            waiting += self.acks(send)
        return done

    # The server.

    def puts(self, *resources: Resource, removed: Iterable[Ref] = ()) -> list[Send]:
        self.snapshot, change = evolve(self.snapshot, resources, removed)
        return self.says(Published(self.snapshot, change))

    def waits(self, seconds: float) -> list[Send]:
        """Let time pass; ticks come when they were asked for."""
        until, sends = self.now + seconds, list[Send]()
        while self.wake is not None and self.wake <= until:
            self.now = max(self.now, self.wake)
            self.wake = None
            sends += self.says(Ticked())
        self.now = until
        return sends

    def says(self, event: Event) -> list[Send]:
        sends = []
        for command in self.stream.handle(event, self.now):
            self._note(command)
            if isinstance(command, Send):
                sends.append(command)
        return sends

    def only(self, sends: list[Send]) -> Send:
        assert len(sends) == 1, sends
        return sends[0]

    def _note(self, command: Command) -> None:
        match command:
            case Send():
                assert command.nonce not in {send.nonce for send in self.open.values()}
                self.open[command.type_url] = command
            case Accepted() | Rejected():
                self.heard.append(command)
            case Wake():
                self.wake = command.at
            case Close():
                self.closed = command

    def _sotw(self, type_url: str, **fields: object) -> list[Send]:
        fields.setdefault("version_info", self.version.get(type_url, ""))
        return self.says(Requested(type_url, names=tuple(self.names[type_url]), **fields))  # type: ignore[arg-type]

    def _answer(self, send: Send, error: Fault | None) -> list[Send]:
        url = send.type_url
        if self.open.get(url) is send:
            del self.open[url]
        if self.variant is DELTA:
            return self.says(Requested(url, response_nonce=send.nonce, error=error))
        names = tuple(self.names.get(url, ()))
        version = self.version.get(url, "")
        return self.says(Requested(url, names=names, version_info=version, response_nonce=send.nonce, error=error))
