"""When a client refuses something: whose word counts, for whom, and which documents it means. Times are passed in.

A refusal holds back the one who refuses at once, by the bookkeeping of its stream. It holds back the documents, for
everybody, only if nobody has taken the content and enough has been heard: one odd or hostile client never holds back a
fleet. The first who takes it lifts that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from legation.model.meta import Key
from legation.snapshot.snapshot import Change, Resource, Snapshot
from legation.stream.proofs import OF_THE_CONTENT, Experience, Known, Refused, pause
from legation.stream.words import is_of_the_host

PATIENCE: Final = 2.0
"""Seconds in which another client may take what one refuses."""
CLIENTS: Final = 1000
CONTENTS: Final = 1000
"""For how many clients, and how many contents of a kind, refusals are remembered, the latest."""
STEPS: Final = 200
PENDING: Final = 20_000
"""How many changes of documents, and contents that nobody has taken yet, are remembered, the latest."""

Kind = tuple[str, str]
"""What clients that refuse the same have in common: their kind (`envoy`, `grpc`) and version."""

K = TypeVar("K")
V = TypeVar("V")


@dataclass(slots=True)
class Case:
    """A content that somebody refused alone, and that nobody of the same kind has taken: `refusers` says of each whether
    it is verified; `seconded`, that the local Envoy, if it `is_asked`, refuses it too; `is_held`, that the documents
    behind it are held back.
    """

    kind: Kind
    resource: Resource
    words: str
    since: float
    refusers: dict[Hashable, bool] = field(default_factory=dict)
    is_asked: bool = False
    seconded: bool = False
    is_held: bool = False

    def is_proven(self, audience: Collection[Hashable], now: float) -> bool:
        """Is it the content's fault? `audience` are the connected clients of this kind that are served it."""
        verified = sum(self.refusers.values())
        everybody = all(who in self.refusers for who in audience)
        if everybody and (len(audience) <= 1 or verified > 1):
            return True
        return now >= self.since + PATIENCE and (verified > 1 or self.seconded)


class Refusals:
    """All that is known of refusals. `proofs` are for streams; `decide` says what must be held back from now on."""

    def __init__(self) -> None:
        self._experiences: dict[Kind, Experience] = {}
        self._own: dict[Hashable, dict[str, Refused]] = {}
        self._cases: dict[tuple[Kind, str], Case] = {}

    def proofs(self, kind: Kind, who: Hashable) -> Known:
        """What counts for a client's stream."""
        return Known(self._experience(kind), self._own, who)

    def refused(
        self, kind: Kind, who: Hashable, resource: Resource, words: str, now: float, *, verified: bool
    ) -> Case | None:
        """A client refused a resource that came alone; the case, unless it is the trouble of the client's own host."""
        if is_of_the_host(words):
            return None
        mine = self._own.pop(who, {})
        mine[resource.version] = _once_more(mine.get(resource.version), resource, words, now)
        self._own[who] = mine
        _bound(mine, CONTENTS)
        _bound(self._own, CLIENTS)
        case = self._cases.setdefault((kind, resource.version), Case(kind, resource, words, now))
        case.refusers[who] = verified
        case.words = words
        _bound(self._cases, CONTENTS)
        return case

    def took(self, kind: Kind, who: Hashable, resources: Iterable[Resource]) -> list[Case]:
        """A client took these; the cases that were held for one of them, and are not any more."""
        experience, lifted = self._experience(kind), []
        for resource in resources:
            experience.took(resource)
            if who in self._own:
                self._own[who].pop(resource.version, None)
            case = self._cases.pop((kind, resource.version), None)
            if case is not None and case.is_held:
                lifted.append(case)
        return lifted

    def decide(self, now: float, audience: Callable[[Case], Collection[Hashable]]) -> list[Case]:
        """The cases whose documents must be held back from now on."""
        decided = []
        for key, case in [(key, case) for key, case in self._cases.items() if not case.is_held]:
            served = audience(case)
            if not served:
                del self._cases[key]  # there is something else by now
                continue
            bad = self._experience(case.kind).bad
            version = case.resource.version
            if version in bad or case.is_proven(served, now):
                case.is_held = True
                bad[version] = _once_more(bad.get(version), case.resource, case.words, now)
                _bound(bad, CONTENTS)
                decided.append(case)
        return decided

    def again_at(self, now: float) -> float | None:
        """When time alone may decide something."""
        due = [case.since + PATIENCE for case in self._cases.values() if not case.is_held]
        return min((at for at in due if at > now), default=None)

    def known_bad(self, kind: Kind, snapshot: Callable[[str, str], Resource | None], now: float) -> Iterator[Case]:
        """What a kind of client is known to refuse among what it is to be served, while it is not to be tried again."""
        for version, refused in self._experience(kind).bad.items():
            resource = snapshot(*refused.ref)
            if resource is not None and resource.version == version and now < refused.again:
                yield self._cases.setdefault((kind, version), Case(kind, resource, refused.words, now))

    def remembered(self) -> dict[Kind, Mapping[str, Refused]]:
        """What is known to be bad, by kind and content: for the next server."""
        return {kind: experience.bad for kind, experience in self._experiences.items() if experience.bad}

    def remember(self, kind: Kind, version: str, refused: Refused) -> None:
        """What an earlier server knew."""
        self._experience(kind).bad[version] = refused

    def _experience(self, kind: Kind) -> Experience:
        known = self._experiences.get(kind)
        if known is None:
            known = self._experiences[kind] = Experience()
        return known


def _once_more(before: Refused | None, resource: Resource, words: str, now: float) -> Refused:
    tries = before.tries + 1 if before is not None else 1
    return Refused((resource.type_url, resource.name), words, tries, now + pause(tries, OF_THE_CONTENT))


def _bound(table: dict[K, V], most: int) -> None:
    if len(table) > most:
        del table[next(iter(table))]


@dataclass(slots=True)
class _Pending:
    """`origins` are those of every content since one was taken: as they are, since a table of routes has thousands, and
    is joined only when somebody refuses it.
    """

    steps: tuple[int, ...]
    origins: tuple[Collection[Key], ...] = ()


class Ledger(Generic[V]):
    """Which changes of documents are behind a content that nobody has taken yet.

    `V` is a version of a document. A step is one change of documents, with the version of each before it (None: there
    was none).
    """

    def __init__(self) -> None:
        self._steps: dict[int, Mapping[Key, V | None]] = {}
        self._pending: dict[str, _Pending] = {}
        self._last = 0

    def step(self, before: Mapping[Key, V | None]) -> None:
        """Documents change; what follows from it is told next."""
        self._last += 1
        self._steps[self._last] = before
        _bound(self._steps, STEPS)

    def changed(self, earlier: Snapshot, now: Snapshot, change: Change) -> None:
        """Resources have other contents since the last step."""
        for url, names in change.items():
            before, after = earlier.of(url), now.of(url)
            for name in names:
                new = after.get(name)
                if new is not None and not new.harmless:
                    self._changed(before.get(name), new)

    def _changed(self, old: Resource | None, new: Resource) -> None:
        pending = self._pending.get(old.version) if old is not None else None
        steps, origins = (pending.steps, pending.origins) if pending is not None else ((), ())
        if old is not None and not any(old.origins is known for known in origins):
            origins = (*origins, old.origins)
        self._pending[new.version] = _Pending((*steps, self._last)[-STEPS:], origins[-STEPS:])
        _bound(self._pending, PENDING)

    def took(self, resources: Iterable[Resource]) -> None:
        """Somebody took these."""
        for resource in resources:
            self._pending.pop(resource.version, None)

    def suspects(self, resource: Resource) -> dict[Key, V | None]:
        """The documents behind a content that changed since something else of that name was last taken, each with the
        version that it had then. Of a content that is there since before anyone remembers: all that changed.
        """
        pending = self._pending.get(resource.version) or _Pending(tuple(self._steps))
        origins = frozenset(resource.origins).union(*pending.origins)
        found: dict[Key, V | None] = {}
        for number in pending.steps:
            for key in self._steps.get(number, {}).keys() & origins:
                found.setdefault(key, self._steps[number][key])
        return found
