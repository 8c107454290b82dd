"""What a client asks for, of one type: everything, names, or nothing. Names are opaque, `*` excepted.

Source: xDS protocol, "How the client specifies what resources to return".
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from functools import lru_cache

WILDCARD = "*"

FEW, MANY = 64, 20_000
"""Sets of names that are smaller need not be shared, and larger ones nobody shares."""


@lru_cache(256)
def _shared(names: frozenset[str]) -> frozenset[str]:
    """The same set for all streams: clients of a kind ask for the same thousands of names."""
    return names


@dataclass(frozen=True, slots=True)
class Asked:
    """How a request changed a subscription.

    `names` are asked for by name, now or again, and so are owed an answer even if the client has them. `dropped` are
    no longer asked for by name. `opened`: everything is asked for now and was not before; `closed`: the reverse.
    """

    names: frozenset[str] = frozenset()
    dropped: frozenset[str] = frozenset()
    opened: bool = False
    closed: bool = False


@dataclass(slots=True)
class Subscription:
    """The current state. `spoken`: names were sent once, so an empty list no longer means everything."""

    wildcard: bool = False
    names: Set[str] = frozenset()
    spoken: bool = False

    def __bool__(self) -> bool:
        return self.wildcard or bool(self.names)

    def wants(self, name: str) -> bool:
        """Is this resource asked for, by name or with everything?"""
        return self.wildcard or name in self.names

    def replace(self, listed: Iterable[str], legacy: bool) -> Asked:
        """State of the world: every request lists all. `legacy`: the type knows the wildcard without a name."""
        names = set(listed)
        # "If the client has ever sent a non-empty list on this stream for this type, an empty one is no wildcard."
        self.spoken = self.spoken or bool(names)
        wildcard = WILDCARD in names or (legacy and not self.spoken)
        names.discard(WILDCARD)
        return self._become(wildcard, names, again=names - self.names)

    def adjust(self, subscribe: Iterable[str], unsubscribe: Iterable[str], legacy: bool) -> Asked:
        """Incremental: requests list what is new and what is over.

        `legacy`: this is the first request, of a type that knows the wildcard without a name.
        """
        come, gone = set(subscribe), set(unsubscribe)
        self.spoken = self.spoken or bool(come or gone)
        # Subscribed first, then unsubscribed: `*` in both means nothing (Istio's ambient clients say it so).
        wildcard = (self.wildcard or WILDCARD in come or (legacy and not self.spoken)) and WILDCARD not in gone
        come.discard(WILDCARD)
        gone.discard(WILDCARD)
        # Who has the wildcard and unsubscribes from a name must be told whether it still gets the resource.
        again = (come - gone) | ((gone & (self.names | come)) if wildcard else set())
        return self._become(wildcard, (self.names | come) - gone, again)

    def _become(self, wildcard: bool, names: Set[str], again: Set[str]) -> Asked:
        asked = Asked(
            names=frozenset(again),
            dropped=frozenset(self.names - names),
            opened=wildcard and not self.wildcard,
            closed=self.wildcard and not wildcard,
        )
        self.wildcard, self.names = wildcard, names
        if FEW <= len(names) <= MANY:
            self.names = _shared(frozenset(names))
        return asked
