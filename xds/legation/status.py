"""Who has what: plain frozen values, made by the streams, shown by the console, the command line and the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TypeStatus:
    """What one stream knows of one resource type. Versions are type versions, "" for none yet.

    `sent` is the newest version that was sent, `acked` the newest that the client took, `nacked` the one that it
    refused last and `error` the client's own words for it ("" once it took something newer). `pending` counts the
    responses that are not answered yet, `since` is when the oldest of them was sent (seconds, the stream's clock).
    `refused` are the resources that it refuses, by name, each with its own words.
    """

    sent: str = ""
    acked: str = ""
    nacked: str = ""
    error: str = ""
    pending: int = 0
    since: float | None = None
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def synced(self) -> bool:
        """The client took everything that it was sent."""
        return self.sent == self.acked and not self.error


@dataclass(frozen=True, slots=True)
class ProxyStatus:
    """One connected client: who it says it is, since when (seconds since 1970), and its state per type (by short name:
    `cds`, `eds`, …).

    `identity` is who it is as verified, "" where the channel verifies nobody.
    """

    id: str
    role: str
    namespace: str
    variant: str
    peer: str = ""
    version: str = ""
    connected: bool = True
    types: Mapping[str, TypeStatus] = field(default_factory=dict)
    identity: str = ""
    since: float | None = None

    @property
    def synced(self) -> bool:
        """Every type is."""
        return all(status.synced for status in self.types.values())


@dataclass(frozen=True, slots=True)
class Standing:
    """How one stream stands towards what is in service: `revision` is the newest that the client has in full ("" if
    none is known), `is_newest` that it is the one in service, `lacks` what is missing, in words. `stream` tells it apart
    from others, which may be of the same client.
    """

    stream: int
    proxy: ProxyStatus
    revision: str
    is_newest: bool
    lacks: tuple[str, ...] = ()


@dataclass(slots=True)
class Course:
    """What became of one change of the files: when its first event came, when it was decided on, when the last proxy was
    sent it (monotonic seconds); which proxies answered, whether they took it, when; how many have not when it was over.
    """

    revision: str
    at: float
    decided: float
    published: float = 0.0
    answers: list[tuple[str, bool, float]] = field(default_factory=list)
    unanswered: int = 0
