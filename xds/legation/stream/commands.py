"""What a stream asks of whoever runs it, in the order in which it must be done."""

from __future__ import annotations

from dataclasses import dataclass

from legation.snapshot.snapshot import Resource


@dataclass(frozen=True, slots=True)
class Send:
    """A response. `removed` is empty in state of the world, where leaving out is removing."""

    type_url: str
    version: str
    nonce: str
    resources: tuple[Resource, ...]
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Accepted:
    """The client took a response (ACK). `resources` are those in it that were new to the client or asked for again."""

    type_url: str
    version: str
    nonce: str
    resources: tuple[Resource, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejected:
    """The client refused a response (NACK): `code` and `message` are its own words.

    `resources` are the suspects: those in the response that were new to the client or asked for again. Where there is
    only one it is the guilty one; where there are several in a dialect that allows it, they follow singly.
    """

    type_url: str
    version: str
    nonce: str
    code: int
    message: str
    resources: tuple[Resource, ...] = ()
    removed: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The suspects' names."""
        return tuple(resource.name for resource in self.resources) + self.removed


@dataclass(frozen=True, slots=True)
class Close:
    """End the stream with a gRPC status, by its name (`INVALID_ARGUMENT`)."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Wake:
    """Hand in a Ticked at `at` (seconds, the stream's clock) or later. The newest Wake replaces those before it."""

    at: float


Command = Send | Accepted | Rejected | Close | Wake
