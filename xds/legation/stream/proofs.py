"""What is known of resources before they are sent: which clients took them, and which they refused. By content.

Endpoints, routes and secrets stop a client at the first bad one of a response, in no stable order, and what is beside it
is lost. So one that nobody of the same version has taken yet travels alone.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from legation.snapshot.snapshot import Ref, Resource

REMEMBERED: Final = 100_000
"""How many contents are known as taken, the latest."""
OF_THE_HOST: Final = (1.0, 300.0)
"""Seconds until what was refused for a trouble of the client's host is tried again: doubled each time, and at most."""
OF_THE_CONTENT: Final = (30.0, 3600.0)
"""The same, until what was refused for what it is may be tried again on a new stream."""


class Proofs(Protocol):
    """What a stream asks."""

    def proven(self, resource: Resource) -> bool:
        """May it travel in company?"""

    def refused(self, resource: Resource, now: float) -> str:
        """The words with which it was refused, if it is not to be sent now; "" if it may be."""


class Trust:
    """Nothing is known to be bad, and everything travels together."""

    def proven(self, resource: Resource) -> bool:
        """See Proofs."""
        return True

    def refused(self, resource: Resource, now: float) -> str:
        """See Proofs."""
        return ""


TRUST: Final = Trust()


@dataclass(frozen=True, slots=True)
class Refused:
    """A content that was refused alone: of which resource, with which words, how often, and from when on it may be tried
    again.
    """

    ref: Ref
    words: str
    tries: int
    again: float


def pause(tries: int, bounds: tuple[float, float]) -> float:
    """Seconds between the last of so many refusals and the next try."""
    first, longest = bounds
    return min(first * 2.0 ** min(tries - 1, 30), longest)


@dataclass(slots=True)
class Experience:
    """What clients of one kind and version took, and what holds for all of them because it was found bad."""

    taken: dict[str, None] = field(default_factory=dict)
    bad: dict[str, Refused] = field(default_factory=dict)

    def took(self, resource: Resource) -> None:
        """One of them did."""
        self.bad.pop(resource.version, None)
        if resource.version not in self.taken:
            self.taken[resource.version] = None
            if len(self.taken) > REMEMBERED:
                del self.taken[next(iter(self.taken))]


@dataclass(slots=True)
class Known:
    """What counts for one client: the experience of its kind, and what it refused itself, which stands under its name in
    `refusals`. The Proofs of its streams.
    """

    experience: Experience
    refusals: Mapping[Hashable, Mapping[str, Refused]] = field(default_factory=dict)
    who: Hashable = None

    def proven(self, resource: Resource) -> bool:
        """See Proofs. Harmless is what our own checks prove."""
        return resource.harmless or resource.version in self.experience.taken

    def refused(self, resource: Resource, now: float) -> str:
        """See Proofs."""
        for known in (self.experience.bad, self.refusals.get(self.who)):
            refused = known.get(resource.version) if known else None
            if refused is not None and now < refused.again:
                return refused.words
        return ""
