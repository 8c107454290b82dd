"""What one client has of one type: by its own word, by what it was sent, and by what it said to that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain

from legation.snapshot.order import Row
from legation.snapshot.snapshot import Ref, Resource
from legation.status import TypeStatus
from legation.stream.proofs import OF_THE_HOST, pause
from legation.stream.subscription import Subscription
from legation.stream.words import named

GONE = ""
"""The version of a resource that is not there; no content has it."""

NEVER = float("inf")

Refs = frozenset[Ref]


@dataclass(slots=True)
class Flight:
    """A response that is not answered yet. `sent` is what in it was new or asked for, `before` what the client had;
    `postponed` are those of which a response that lists everything has not the Snapshot's version but an older one, or none.
    """

    nonce: str
    version: str
    at: float
    sent: dict[str, Resource]
    removed: tuple[str, ...]
    before: dict[str, Resource | None]
    postponed: frozenset[str] = frozenset()

    def __contains__(self, name: str) -> bool:
        return name in self.before

    @property
    def taken(self) -> tuple[Resource, ...]:
        """What an ACK of it says that the client takes."""
        if not self.postponed:
            return tuple(self.sent.values())
        return tuple(new for name, new in self.sent.items() if name not in self.postponed)

    def merged(self, newer: Flight) -> Flight:
        """Both as one, under the newer's nonce: answers come in order, so the older's own would have come first."""
        return Flight(
            nonce=newer.nonce,
            version=newer.version,
            at=self.at,
            sent={name: one for name, one in self.sent.items() if name not in newer.removed} | newer.sent,
            removed=tuple(name for name in self.removed if name not in newer) + newer.removed,
            before={**newer.before, **self.before},
            postponed=newer.postponed | (self.postponed - newer.before.keys()),
        )


@dataclass(frozen=True, slots=True)
class Doubt:
    """A client has something of this name, but not known is which version: one was refused, or it is from before.

    `content` is the likeliest (None: none, or not known), `refs` what any of the candidates refers to (None: not known),
    `present` that it surely has one of them, `version` the one that it says it has.
    """

    content: Resource | None
    refs: Refs | None
    present: bool
    version: str = GONE


@dataclass(slots=True)
class Lingering:
    """A resource that is removed from the Snapshot but not from the client. `free` is since when nothing holds it."""

    content: Resource | None
    free: float | None = None


@dataclass(slots=True)
class Young:
    """A resource that the client had not before: when it was sent, and when it was taken."""

    sent: float
    taken: float | None = None


@dataclass(frozen=True, slots=True)
class Warming:
    """A new version was taken but may not be in force: `dropped` is what only the old one refers to, `awaits` what the
    new one waits for.
    """

    dropped: Refs | None
    awaits: Refs
    since: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """A version (GONE: a removal) that the client refused when it came alone; `words` are its own. `again` is when it is
    tried once more by itself, after so many `tries`.
    """

    version: str
    words: str
    again: float = NEVER
    tries: int = 1


@dataclass(slots=True)
class Track:
    """The bookkeeping of one type on one stream.

    Its size follows what the client holds; the work on it follows what changed. A name stands in `dirty` while the
    Snapshot may differ from what the client has, in `forced` while an answer is owed even if it does not.
    """

    row: Row
    subscription: Subscription = field(default_factory=Subscription)
    held: dict[str, Resource] = field(default_factory=dict)
    doubts: dict[str, Doubt] = field(default_factory=dict)
    dirty: set[str] = field(default_factory=set)
    forced: set[str] = field(default_factory=set)
    owed: bool = False
    flight: Flight | None = None
    late: Flight | None = None
    refused: dict[str, Refusal] = field(default_factory=dict)
    alone: set[str] = field(default_factory=set)
    retried: dict[str, Refusal] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    lingering: dict[str, Lingering] = field(default_factory=dict)
    young: dict[str, Young] = field(default_factory=dict)
    warming: dict[str, Warming] = field(default_factory=dict)
    sent_version: str = ""
    acked_version: str = ""
    nacked_version: str = ""
    error: str = ""

    # What the client has.

    def wants(self, name: str) -> bool:
        """Is it asked for?"""
        return self.subscription.wants(name)

    def may_have(self, name: str) -> bool:
        """Does the client have some version of it, or may it?"""
        return name in self.held or name in self.doubts

    def has(self, name: str) -> bool:
        """Does the client have some version of it, as far as it said so or was sent one and has not refused it?"""
        return name in self.held or (name in self.doubts and self.doubts[name].present)

    def recognise(self, name: str, target: Resource) -> None:
        """If this is the version that the client said it has, then that is what it has."""
        if name in self.doubts and self.doubts[name].version == target.version:
            del self.doubts[name]
            self.held[name] = target

    def is_uncertain(self, name: str) -> bool:
        """Is what it likely has no more than that?"""
        return self.surely(name) is None and self.likely(name) is not None

    def surely(self, name: str) -> Resource | None:
        """The last content that it took, or was sent and has not refused."""
        known = self.held.get(name)
        if known is None and name in self.doubts and self.doubts[name].present:
            return self.doubts[name].content
        return known

    def likely(self, name: str) -> Resource | None:
        """The same, or else what it may have from before."""
        known = self.held.get(name)
        return self.doubts[name].content if known is None and name in self.doubts else known

    def has_all(self, table: Mapping[str, Resource]) -> bool:
        """Is what the client has for sure all of this and nothing else?"""
        settled = not self.refused and next(self.unsettled(), None) is None
        return settled and len(self.held) == len(table) and self.held.keys() == table.keys()

    def served(self) -> dict[str, Resource]:
        """Everything that it may have, in the likeliest version, and with the references of all the others."""
        table = dict(self.held)
        flights = [flight for flight in (self.late, self.flight) if flight]
        for name in set(self.unsettled()):
            before = [content for flight in flights if (content := flight.before.get(name)) is not None]
            content = before[0] if before else self.likely(name)
            if content is not None:
                known = [refs for refs in self.possible(name) if refs is not None]
                table[name] = replace(content, refs=frozenset().union(*known))
        return table

    def waiting(self, name: str) -> bool:
        """Is a response that names it unanswered?"""
        return (self.flight is not None and name in self.flight) or (self.late is not None and name in self.late)

    def unsettled(self) -> Iterator[str]:
        """The names of which the client may have something else than the Snapshot says. Few, as a rule; may repeat."""
        flights = chain(*(flight.before for flight in (self.flight, self.late) if flight))
        return chain(self.dirty, flights, self.doubts, self.lingering, self.warming, self.refused)

    def possible(self, name: str) -> Iterator[Refs | None]:
        """What each version that the client may have in force refers to; None for one that nobody knows."""
        if name in self.held:
            yield self.held[name].refs
        if name in self.doubts:
            yield self.doubts[name].refs
        if name in self.warming:
            yield self.warming[name].dropped
        for flight in (self.flight, self.late):
            before = flight.before.get(name) if flight else None
            if before is not None:
                yield before.refs

    def refuses(self, name: str, version: str) -> bool:
        """Is this the version that it refused last?"""
        return name in self.refused and self.refused[name].version == version

    def told_gone(self, name: str) -> bool:
        """Is the last that it was told of this name that it is gone, and not answered yet?"""
        flights = (self.flight, self.late)
        return name not in self.held and any(flight is not None and name in flight.removed for flight in flights)

    # What happens to it.

    def ask(self, names: Iterable[str]) -> None:
        """These are owed an answer, whatever the client has and whatever it said of them before."""
        for name in names:
            self.forced.add(name)
            self.absent.discard(name)
            if name in self.refused:
                self.retried[name] = self.refused.pop(name)

    def forget(self, name: str) -> None:
        """The client does not ask for it any more, so it drops it and is told nothing more of it."""
        for table in (self.held, self.doubts, self.refused, self.lingering, self.young, self.warming, self.retried):
            table.pop(name, None)
        for names in (self.dirty, self.forced, self.alone, self.absent):
            names.discard(name)

    def narrow(self) -> None:
        """The wildcard is over: forget what is not asked for by name."""
        known = {*self.held, *self.doubts, *self.dirty, *self.forced, *self.lingering, *self.refused, *self.absent}
        for name in known:
            if not self.wants(name):
                self.forget(name)

    def agrees(self, name: str) -> None:
        """The client has what the Snapshot has, so it refuses nothing of this name."""
        self.settled(name)
        self.alone.discard(name)
        self.refused.pop(name, None)
        self.retried.pop(name, None)
        if not self.refused:
            self.error = ""

    def retry_what_may_have_passed(self, now: float) -> float:
        """Tries again what was refused for a passing trouble, if its time has come; when the next time is."""
        for name in [name for name, refusal in self.refused.items() if refusal.again <= now]:
            self.retry(name)
        return min((refusal.again for refusal in self.refused.values()), default=NEVER)

    def retry(self, name: str) -> None:
        """What was refused is tried again, whatever is known of it."""
        self.retried[name] = self.refused.pop(name)
        self.dirty.add(name)

    def settled(self, name: str) -> None:
        """The Snapshot and the client agree on it, and no answer is owed."""
        self.dirty.discard(name)
        self.forced.discard(name)

    def lose(self, name: str) -> None:
        """It is gone, and the client is not told: nothing there refers to it."""
        self.settled(name)
        self.held.pop(name, None)
        self.doubts.pop(name, None)

    def depart(self, flight: Flight) -> None:
        """A response is on its way; until it is refused, the client has what is in it."""
        for name, resource in flight.sent.items():
            if self.row.first and not self.has(name):
                self.young[name] = Young(flight.at)
            self.settled(name)
            self.absent.discard(name)
            self.held[name] = resource
        for name in flight.removed:
            self.settled(name)
            self.held.pop(name, None)
            self.young.pop(name, None)
            if name in self.subscription.names:
                self.absent.add(name)
        self.owed = False
        self.flight = flight
        self.sent_version = flight.version

    def trim(self) -> None:
        """Gives back the room of tables that are empty now: after the first responses it would be the most of a stream."""
        for table in (self.dirty, self.forced, self.young, self.warming, self.doubts):
            if not table:
                table.clear()

    def expire(self) -> None:
        """The answer is overdue: go on, but remember that it may still come."""
        if self.flight is not None:
            self.late = self.late.merged(self.flight) if self.late else self.flight
            self.flight = None

    def answered(self, nonce: str) -> list[Flight]:
        """Take out the response with this nonce and those before it: answers come in order. Empty for no such nonce."""
        if self.flight is not None and nonce == self.flight.nonce:
            found = [flight for flight in (self.late, self.flight) if flight]
            self.flight = self.late = None
            return found
        if self.late is not None and nonce == self.late.nonce:
            found, self.late = [self.late], None
            return found
        return []

    def accept(self, flight: Flight, now: float) -> None:
        """The client took it."""
        for name, resource in flight.sent.items():
            if not self.wants(name):
                continue  # unsubscribed meanwhile
            self._settle_in(name, resource, flight.before[name], now)
            self.doubts.pop(name, None)
            if name not in flight.postponed:
                self.alone.discard(name)
                self.refused.pop(name, None)
                self.retried.pop(name, None)
            if name in self.young:
                self.young[name].taken = now
        for name in flight.removed:
            self.doubts.pop(name, None)
            self.warming.pop(name, None)
            if name not in flight.postponed:
                self.alone.discard(name)
                self.refused.pop(name, None)
                self.retried.pop(name, None)
        self.acked_version = flight.version
        if not self.refused:
            self.error = ""

    def reject(self, flight: Flight, words: str, now: float, *, whole: bool, passing: bool) -> list[str]:
        """The client refused it: nothing of it counts as held, though some of it may be in force; the suspects.

        What was refused in company is owed again, each alone; what was refused alone is refused, and tried once more
        after a pause if its trouble may be `passing`. In a `whole` response neither what the client had already nor what
        is left out is a suspect.
        """
        suspects = []
        for name, before in flight.before.items():
            new = flight.sent.get(name)
            if not self.wants(name):
                continue
            known = whole and new and before and before.version == new.version
            if self.held.get(name) is new and (name in self.doubts or not known):
                self.held.pop(name, None)
                self.young.pop(name, None)
            if known or name in flight.postponed:
                continue  # it is in doubt, if it was
            self.doubts[name] = self._doubt(name, before, new)
            if name in self.lingering:
                self._linger_as(name, self.doubts[name].content, whole)
            if new or not whole:
                suspects.append(name)
        uncertain = {name for name in flight.postponed & flight.sent.keys() if flight.before[name] is None}
        if not suspects:
            for name in named(words, uncertain) or uncertain:
                self._disown(name)
        for name in suspects:
            if len(suspects) > 1 or uncertain:
                self.alone.add(name)
                self.dirty.add(name)
            else:
                self._refuse(name, flight.sent.get(name), words, now, passing)
        self.nacked_version = flight.version
        self.error = words
        return suspects

    @property
    def rests(self) -> bool:
        """Whether the client has all that it is to have, and nothing is on its way or left to do."""
        waiting = self.dirty or self.forced or self.owed or self.doubts or self.lingering
        return not (self.flight or self.late or waiting or self.refused)

    def status(self, current: str, table: Mapping[str, Resource]) -> TypeStatus:
        """For people and the console; `current` is the Snapshot's version, reached when nothing is left to do."""
        refused = {
            name: refusal.words
            for name, refusal in self.refused.items()
            if refusal.version == (table[name].version if name in table else GONE)
        }
        waiting = self.dirty or self.forced or self.owed or self.doubts or self.lingering
        done = not (self.flight or self.late or waiting or refused)
        flights = [flight for flight in (self.late, self.flight) if flight]
        return TypeStatus(
            sent=current if done else self.sent_version,
            acked=current if done else self.acked_version,
            nacked=self.nacked_version,
            error="" if done else self.error,
            pending=len(flights),
            since=flights[0].at if flights else None,
            refused=refused,
        )

    def _refuse(self, name: str, new: Resource | None, words: str, now: float, passing: bool) -> None:
        version, earlier = new.version if new else GONE, self.retried.pop(name, None)
        tries = earlier.tries + 1 if earlier is not None and earlier.version == version else 1
        self.alone.discard(name)
        self.refused[name] = Refusal(version, words, now + pause(tries, OF_THE_HOST) if passing else NEVER, tries)

    def _disown(self, name: str) -> None:
        """It was taken for what the client has, and is not: it is not listed again."""
        if name in self.lingering:
            self._linger_as(name, None, True)
        if name in self.doubts:
            self.doubts[name] = replace(self.doubts[name], content=None)

    def _linger_as(self, name: str, content: Resource | None, whole: bool) -> None:
        """What stays is the version before the refused one; where a response lists it, there must be one."""
        if whole and content is None:
            del self.lingering[name]
            self.dirty.add(name)
        else:
            self.lingering[name].content = content

    def _doubt(self, name: str, before: Resource | None, new: Resource | None) -> Doubt:
        older = self.doubts.get(name)
        candidates = [resource.refs for resource in (before, new) if resource]
        unknown = older is not None and older.refs is None
        if older is not None and older.refs is not None:
            candidates.append(older.refs)
        return Doubt(
            content=before or (older.content if older else None),
            refs=None if unknown else frozenset().union(*candidates),
            present=before is not None or (older is not None and older.present),
        )

    def _settle_in(self, name: str, new: Resource, before: Resource | None, now: float) -> None:
        """An ACK is not yet "in force": a version that warms is acknowledged while the old one still serves."""
        old: list[Refs | None] = [before.refs] if before else []
        old += [self.doubts[name].refs] if name in self.doubts else []
        old += [self.warming[name].dropped] if name in self.warming else []
        awaits = frozenset(ref for ref in new.refs if ref[0] in self.row.warms)
        known = [refs for refs in old if refs is not None]
        dropped = None if len(known) < len(old) else frozenset().union(*known) - new.refs
        if awaits and (dropped is None or dropped):
            self.warming[name] = Warming(dropped, awaits, now)
        else:
            self.warming.pop(name, None)
